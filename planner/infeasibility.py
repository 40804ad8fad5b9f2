"""Why nothing fits, by how much, and the smallest changes that would make it fit."""

from dataclasses import dataclass

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster
from costmodels.price import Memory
from planner.pricing import Pricing
from planner.remedies import MOST_PRICED, Problem, remedies
from planner.space import Space, describe

PARTS = ("weights", "gradients", "optimizer", "activations", "workspace", "runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasibility:
    """``constraint`` fails for every candidate; ``reasons`` says how, in numbers.

    For memory: ``closest`` is the configuration that needs least, ``short_bytes`` over what a GPU
    offers. Each of ``remedies`` was checked to make the job fit, alone.
    """

    constraint: str
    reasons: tuple[str, ...]
    closest: str | None = None
    needed_bytes: float | None = None
    capacity_bytes: float
    short_bytes: float | None = None
    remedies: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The report, a sentence a line."""
        fits = self.remedies or ("none of the changes tried alone (more nodes, larger GPUs, shorter sequences)",)
        return (
            f"infeasible: {self.constraint}",
            *(f"  {reason}" for reason in self.reasons),
            "Would fit, each alone:",
            *(f"  {remedy}" for remedy in fits),
        )


def explain_infeasible(
    cluster: Cluster,
    model: Model,
    job: Job,
    calibration: Calibration,
    space: Space,
    pins: dict[str, int | str],
    forbid: frozenset[str],
    allow: frozenset[str] = frozenset(),
) -> Infeasibility:
    """Report on a job no configuration of which fits."""
    problem = Problem(
        cluster=cluster, model=model, job=job, calibration=calibration, pins=pins, forbid=forbid, allow=allow
    )
    if not len(space.columns):
        return _nothing_legal(problem, space)
    return _too_little_memory(problem, space)


def _nothing_legal(problem: Problem, space: Space) -> Infeasibility:
    demands = [f"{name}={value} pinned" for name, value in problem.pins.items()]
    demands += [f"{name} forbidden" for name in sorted(problem.forbid)]
    under = f" with {', '.join(demands)}" if demands else ""
    rules = sorted(space.pruned.items(), key=lambda item: (-item[1], item[0]))
    return Infeasibility(
        constraint=f"no configuration of {problem.cluster.gpus:,} GPUs is legal{under}",
        reasons=tuple(f"ruled out {count:,}: {rule}" for rule, count in rules),
        capacity_bytes=problem.cluster.capacity_bytes,
        remedies=remedies(problem),
    )


def _too_little_memory(problem: Problem, space: Space) -> Infeasibility:
    cluster, capacity = problem.cluster, problem.cluster.capacity_bytes
    pricing = Pricing(cluster, problem.model, problem.job, problem.calibration, space.columns)
    needed, index = least_memory(pricing)
    closest = space.columns.row(index)
    held = f" ({_gigabytes(cluster.reserve_bytes)} more are in reserve)" if cluster.reserve_bytes else ""
    parts = _parts(pricing, index, needed)
    return Infeasibility(
        constraint=f"memory: none of {len(space.columns):,} configurations fits "
        f"{problem.model.name} on {cluster.gpus:,} x {cluster.gpu.name}",
        reasons=(
            f"a GPU offers {_gigabytes(capacity)}{held}; the least that any configuration needs is "
            f"{_gigabytes(needed)}: {_gigabytes(needed - capacity)} short",
            f"that is {_short(closest)}" + (f": {parts}" if parts else ""),
        ),
        closest=describe(closest),
        needed_bytes=needed,
        capacity_bytes=capacity,
        short_bytes=needed - capacity,
        remedies=remedies(problem),
    )


def least_memory(pricing: Pricing) -> tuple[float, int]:
    """The smallest peak memory a GPU needs over all candidates, and which one needs it.

    Candidates are ranked by a lower bound on their need (all states and one micro-batch's
    activations, evenly over the stages) and cut for least memory in that order, until the bound passes
    the best or ``MOST_PRICED`` have been.
    """
    lower = pricing.memory_bounds()
    order = np.argsort(lower, kind="stable")
    best, chosen = float("inf"), int(order[0])
    for index in (int(i) for i in order[:MOST_PRICED]):
        if lower[index] >= best:
            break
        need = pricing.least_peak_bytes(index)
        if need < best:
            best, chosen = need, index
    return best, chosen


def _parts(pricing: Pricing, index: int, needed: float) -> str:
    """What fills the fullest stage, largest first; empty when a cut of its own needs less than the balanced one."""
    step = pricing.step.take(np.array([index]))
    full: Memory = max(step.memory(0, pricing.best_boundaries(index)), key=lambda memory: memory.peak_bytes)
    if abs(full.peak_bytes - needed) > 0.01 * needed:
        return ""
    sizes = sorted(((getattr(full, f"{name}_bytes"), name) for name in PARTS), reverse=True)
    return ", ".join(f"{name} {_gigabytes(size)}" for size, name in sizes if size >= 0.05e9)


def _short(chosen: Configuration) -> str:
    neutral = Configuration(zero=0)
    shown = [n for n in Configuration.__slots__ if getattr(chosen, n) != getattr(neutral, n) or n in ("tp", "pp", "dp")]
    return " ".join(f"{name}={getattr(chosen, name)}" for name in shown)


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
