"""What a failure says and which exit code it gets."""

from collections.abc import Sequence


def explain_failure(error: Exception, command: str) -> tuple[str, int]:
    """The message for stderr and the exit code: 1, or 2 for ``validate``, which could not check."""
    return f"error: {_message(error)}", 2 if command == "validate" else 1


def _message(error: Exception) -> str:
    from costmodels.calibration import CalibrationError
    from planner.plan.errors import PlanError
    from planner.readers.published.table import TableError
    from planner.space import IllegalConfiguration
    from planner.specs.errors import SpecError

    if isinstance(error, IllegalConfiguration):
        return _illegal(error.reasons)
    if isinstance(error, SpecError | PlanError | CalibrationError | TableError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    kind = type(error).__name__
    return f"internal error: {kind}: {error}\nThis is a fault of meshwright; PLAN_TRACEBACK=1 shows where."


def _illegal(reasons: Sequence[str]) -> str:
    """Each reason once on a line, the configuration they share once above them."""
    named = {reason.partition(": ")[0] for reason in reasons}
    if len(named) == 1 and all(": " in reason for reason in reasons):
        reasons = [reason.partition(": ")[2] for reason in reasons]
        return f"this configuration does not exist here: {named.pop()}\n" + "\n".join(f"  {r}" for r in reasons)
    return "this configuration does not exist here:\n" + "\n".join(f"  {r}" for r in reasons)
