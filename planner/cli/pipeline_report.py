"""A plan's pipeline in tables: its cut beside the rules' cuts, its bubbles and what fills its memory."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from planner.cli.output import gigabytes, percent, table

if TYPE_CHECKING:
    from planner.baselines import Baseline
    from planner.plan import Plan
    from planner.skip_use import SkipUse
    from planner.stage_use import StageUse


def cuts_and_stages(plan: "Plan") -> "tuple[tuple[Baseline, ...], tuple[StageUse, ...]]":
    """The baselines of the plan's configuration and the use of its stages, priced from its inputs."""
    from planner.baselines import baselines
    from planner.plan.step import step_of
    from planner.stage_use import stage_uses

    step = step_of(plan)
    return baselines(step, 0), stage_uses(step, 0, plan.boundaries())


def cut_table(plan: "Plan", found: "Sequence[Baseline]") -> str:
    """The plan's pipeline seconds against each rule's."""
    here = plan.prediction
    rows = [("this plan", f"{here.pipeline_seconds:.4g}", f"{here.step_seconds:.4g}", "", "yes", "")]
    for other in found:
        if other.boundaries is None:
            rows.append((other.rule, "-", "-", "-", "-", other.detail))
            continue
        slower = f"{(other.step_seconds / here.step_seconds - 1) * 100:+.2f} %"
        fits = "yes" if other.fits else "no"
        rows.append(
            (other.rule, f"{other.pipeline_seconds:.4g}", f"{other.step_seconds:.4g}", slower, fits, other.detail)
        )
    header = ("cut of the layers", "pipeline s", "step s", "against ours", "fits", "")
    return table(header, rows, text=(0, 5))


def stage_table(plan: "Plan", uses: "Sequence[StageUse]") -> str:
    """Where the bubbles and the memory peaks are, stage by stage."""
    whole = plan.prediction.pipeline_seconds
    rows = [
        (
            use.stage,
            f"{use.busy_seconds:.4g}",
            f"{use.idle_seconds:.3g}",
            percent(use.idle_seconds / whole),
            f"{use.fill_seconds:.3g}",
            f"{use.stall_seconds:.3g}",
            f"{use.drain_seconds:.3g}",
            gigabytes(stage.memory.peak_bytes),
            "; ".join(f"{chunk}: {_runs(alive)}" for chunk, alive in sorted(use.alive.items())),
        )
        for stage, use in zip(plan.stages, uses, strict=True)
    ]
    header = (
        "stage",
        "busy s",
        "idle s",
        "idle",
        "fill s",
        "stall s",
        "drain s",
        "peak GB",
        "chunk: micro-batches alive",
    )
    note = "(fill: before its first pass; drain: after its last; alive: when activations take most)"
    return table(header, rows, text=(0, 8)) + "\n" + note


def skip_table(plan: "Plan", uses: "Sequence[SkipUse]") -> str:
    """Stage by stage what the micro-batches that skip leave it: those it serves, its bubbles."""
    assert plan.skip is not None
    whole = plan.skip.makespan_seconds
    rows = [
        (
            use.stage,
            use.microbatches,
            f"{use.busy_seconds:.4g}",
            f"{use.idle_seconds:.3g}",
            percent(use.idle_seconds / whole),
            f"{use.fill_seconds:.3g}",
            f"{use.stall_seconds:.3g}",
            f"{use.drain_seconds:.3g}",
            use.in_flight,
        )
        for use in uses
    ]
    header = ("skipping", "micro-batches", "busy s", "idle s", "idle", "fill s", "stall s", "drain s", "in flight")
    return table(header, rows) + f"\n(the skip section's schedule, {whole:.4g} s; the tables above: every stage run)"


def _runs(numbers: Sequence[int]) -> str:
    """``0-3,8``: sorted numbers as runs."""
    values = np.sort(np.asarray(numbers))
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
