"""Where the bubbles of a plan that skips stages are: each stage's idle time in the skip section's schedule."""

from dataclasses import dataclass

from planner.plan import Plan
from planner.plan.skip_result import in_flight
from planner.plan.skip_times import skip_operations


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipUse:
    """Of one stage: the micro-batches it serves, seconds ``busy``, and idle before its first operation (``fill``),
    between operations (``stall``) and after its last until the pipeline ends (``drain``); the most micro-batches
    ``in_flight`` at once."""

    stage: int
    microbatches: int
    busy_seconds: float
    fill_seconds: float
    stall_seconds: float
    drain_seconds: float
    in_flight: int

    @property
    def idle_seconds(self) -> float:
        return self.fill_seconds + self.stall_seconds + self.drain_seconds


def skip_uses(plan: Plan) -> tuple[SkipUse, ...]:
    """Every stage; empty where the plan skips none."""
    if plan.skip is None:
        return ()
    rows = skip_operations(plan, plan.skip)
    makespan = max(row[-1].end for row in rows if row)
    found = []
    for stage, row in enumerate(rows):
        busy = sum(one.end - one.start for one in row)
        begun, ended = (row[0].start, row[-1].end) if row else (makespan, makespan)
        found.append(
            SkipUse(
                stage=stage,
                microbatches=sum(one.op == "F" for one in row),
                busy_seconds=busy,
                fill_seconds=begun,
                stall_seconds=max(0.0, ended - begun - busy),
                drain_seconds=makespan - ended,
                in_flight=max(count for _, count in in_flight(row)),
            )
        )
    return tuple(found)
