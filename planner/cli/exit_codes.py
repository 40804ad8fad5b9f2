"""What the outcome of a search tells the shell."""

EXIT_CODES = {"optimal": 0, "feasible": 3, "infeasible": 4, "unknown": 1}
"""By status: ``unknown`` ended without an answer."""
