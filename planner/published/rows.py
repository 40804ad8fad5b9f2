"""Predict every row of a table of published runs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from costmodels.calibration import Calibration
from planner.predict import Prediction, predict
from planner.readers.published_rows import Row, RowRequest
from planner.space import IllegalConfiguration

RESERVED_OVER_ALLOCATED = 1.075
"""What PyTorch's allocator reserves over the peak it hands out where memory does not run short. Measured:
19 published peaks of reserved bytes over allocated ones of the same configurations (vocabulary-parallel
runs on 8 A100), 1.04 to 1.095."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRow:
    """``status`` is ``ok``, ``infeasible`` (priced, but over memory) or ``unsupported: WHY``.

    ``memory`` is in the row's own unit, for its rank and of its reading: most published peaks leave out
    what lies outside the framework's allocator (CUDA context, communicators).
    """

    row: Row
    status: str
    seconds: float | None = None
    memory: float | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why it is unsupported; empty when predicted."""
        return self.status.removeprefix("unsupported: ") if self.seconds is None else ""

    @property
    def time_error(self) -> float | None:
        return _error(self.seconds, self.row.measured_seconds)

    @property
    def memory_error(self) -> float | None:
        return _error(self.memory, self.row.measured_memory)


def _error(predicted: float | None, measured: float | None) -> float | None:
    return predicted / measured - 1 if predicted is not None and measured else None


def predict_rows(rows: Iterable[Row], calibration: Path | None = None) -> Iterator[PredictedRow]:
    """One prediction a row, in order. ``calibration`` replaces figures of the GPU's own."""
    for row in rows:
        if row.request is None:
            yield PredictedRow(row=row, status=f"unsupported: {row.refusal}")
            continue
        try:
            found = best_choice(row.request, calibration)
        except IllegalConfiguration as error:
            yield PredictedRow(row=row, status=f"unsupported: {'; '.join(error.reasons)}")
            continue
        assumptions = row.request.assumptions
        if len(row.request.choices) > 1:
            chosen = found.configuration
            assumptions += (f"mbs={chosen.mbs} vp={chosen.vp} recompute={chosen.recompute}",)
        yield PredictedRow(
            row=row,
            status="ok" if found.feasible else "infeasible",
            seconds=found.step_seconds,
            memory=printed_bytes(found, row) / row.memory_unit_bytes,
            assumptions=assumptions,
        )


def best_choice(request: RowRequest, calibration: Calibration | Path | None = None) -> Prediction:
    """The fastest of the request's configurations that fit, else the one that overflows least.

    Raises ``IllegalConfiguration`` when none of them exists.
    """
    found: list[Prediction] = []
    reasons: dict[str, None] = {}
    for choice in request.choices:
        try:
            found.append(
                predict(
                    request.cluster,
                    request.model,
                    request.job,
                    choice,
                    split=request.split,
                    boundaries=request.boundaries.get(choice),
                    calibration=calibration,
                )
            )
        except IllegalConfiguration as error:
            reasons |= dict.fromkeys(error.reasons)
    if not found:
        raise IllegalConfiguration(reasons or ["no configuration divides"])
    return min(found, key=lambda p: (p.shortfall_bytes, p.step_seconds))


def printed_bytes(found: Prediction, row: Row) -> float:
    """Of the row's rank and kind: allocated; with what the allocator caches, reserved; with what lies
    outside it too, all on the device."""
    stages = [stage.memory for stage in found.price.stages]
    memory = stages[-1] if row.memory_rank == "last" else max(stages, key=lambda stage: stage.allocated_bytes)
    if row.memory_reading == "allocated":
        return memory.allocated_bytes
    reserved = memory.allocated_bytes * RESERVED_OVER_ALLOCATED
    return reserved if row.memory_reading == "reserved" else reserved + memory.runtime_bytes
