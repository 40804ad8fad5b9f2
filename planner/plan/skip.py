"""The plan's skip schedule: which stages each micro-batch runs, and in which order every stage runs them."""

import re
from typing import Literal

from pydantic import Field, field_validator

from planner.plan.strict import Amount, Degree, Index, Strict

MOST_OPERATIONS = 2**21
_TOKEN = re.compile(r"([FB])(\d+)")


class SkipPath(Strict):
    """The stages that each of ``microbatches`` runs, in the order of its forward pass."""

    stages: tuple[Index, ...]
    microbatches: tuple[Index, ...]


class Skip(Strict):
    """Every micro-batch runs ``path_length`` of the plan's stages, the first and the last among them.

    ``order`` is what each stage runs: ``F3 F5 B3``, forward pass of micro-batch 3, of 5, backward pass of 3; every
    data-parallel replica runs the same. No stage keeps more micro-batches than under the plan's own schedule, so that
    its memory holds. ``full_pipeline_seconds`` is the plan's pipeline with every stage, ``step_seconds`` the step with
    ``makespan_seconds`` in its place. ``lower_bound`` holds for ``bound_over``, on the stated cost model.
    """

    profile: Literal["forced-ends"]
    skip_ratio: float = Field(ge=0.0, lt=1.0)
    path_length: Degree
    paths: tuple[SkipPath, ...]
    order: tuple[str, ...]
    makespan_seconds: Amount
    full_pipeline_seconds: Amount
    step_seconds: Amount
    status: Literal["optimal", "feasible"]
    value: Amount
    lower_bound: Amount
    gap: Amount
    bound_over: str
    method: str
    seed: int

    @field_validator("order")
    @classmethod
    def _of_sane_length(cls, order: tuple[str, ...]) -> tuple[str, ...]:
        if sum(text.count(" ") + 1 for text in order) > MOST_OPERATIONS:
            raise ValueError(f"more than {MOST_OPERATIONS} operations")
        return order

    def path_of(self) -> dict[int, tuple[int, ...]]:
        """Micro-batch to stages; ``ValueError`` for one that has two paths."""
        found: dict[int, tuple[int, ...]] = {}
        for path in self.paths:
            for microbatch in path.microbatches:
                if microbatch in found:
                    raise ValueError(f"micro-batch {microbatch} has two paths")
                found[microbatch] = path.stages
        return found


def write_order(steps: list[tuple[str, int]]) -> str:
    """``F3 F5 B3`` of (operation, micro-batch) pairs."""
    return " ".join(f"{op}{microbatch}" for op, microbatch in steps)


def read_order(text: str) -> list[tuple[str, int]]:
    """Back again; ``ValueError`` for what is no operation."""
    found = []
    for token in text.split():
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValueError(f"{token[:20]!r} is no operation; write F or B and the micro-batch")
        found.append((match[1], int(match[2])))
    return found
