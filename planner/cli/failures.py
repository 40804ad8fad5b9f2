"""What a failure says and which exit code it gets."""


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
        return "this configuration does not exist here:\n" + "\n".join(f"  {r}" for r in error.reasons)
    if isinstance(error, SpecError | PlanError | CalibrationError | TableError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    kind = type(error).__name__
    return f"internal error: {kind}: {error}\nThis is a fault of meshwright; PLAN_TRACEBACK=1 shows where."
