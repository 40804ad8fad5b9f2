"""What binds in a plan: where its time goes, and which memory is scarce."""

from typing import TYPE_CHECKING

from planner.cli.output import gigabytes, percent
from planner.cli.summary import busiest, configuration_line, fullest

if TYPE_CHECKING:
    from planner.plan import Plan

MEMORY = ("weights", "gradients", "optimizer", "activations", "workspace", "runtime")
TIMES = ("pipeline", "gradient", "optimizer", "parameter", "overhead")


def what_binds(plan: "Plan") -> str:
    """The stage that sets the pace, the stage that fills its memory, and shares of the step."""
    found, slow, full = plan.prediction, busiest(plan), fullest(plan)
    memory = full.memory
    shares = sorted(((getattr(memory, f"{name}_bytes"), name) for name in MEMORY), reverse=True)
    step = found.step_seconds
    mean = sum(stage.busy_seconds for stage in plan.stages) / len(plan.stages)
    return "\n".join(
        [
            "What binds",
            f"  time    stage {slow.stage} sets the pace: busy {slow.busy_seconds:.4g} s of {step:.4g} s, "
            f"{percent(slow.busy_seconds / mean - 1)} more than the mean stage",
            "          "
            + ", ".join(
                f"{n} {percent(getattr(found, f'{n}_seconds') / step)}"
                for n in TIMES
                if getattr(found, f"{n}_seconds") > 0
            ),
            f"  memory  stage {full.stage} is fullest: {gigabytes(memory.peak_bytes)} of "
            f"{gigabytes(memory.capacity_bytes)} GB, {gigabytes(memory.free_bytes)} GB free",
            "          " + ", ".join(f"{name} {gigabytes(size)} GB" for size, name in shares if size > 0),
        ]
    )


def compare(plan: "Plan", other: "Plan") -> str:
    """Why ``other``, the best plan of a demanded kind, is not chosen: part by part."""
    here, there = plan.prediction, other.prediction
    slower = there.step_seconds / here.step_seconds - 1
    rows = [(f"{n}", getattr(here, f"{n}_seconds"), getattr(there, f"{n}_seconds")) for n in (*TIMES, "step")]
    lines = [
        f"The best of that kind: {configuration_line(other.parallelism)}",
        f"  {percent(slower)} slower: {there.step_seconds:.4g} s against {here.step_seconds:.4g} s"
        if slower > 0
        else f"  as fast: {there.step_seconds:.4g} s",
    ]
    lines += [f"  {name:<10} {a:.4g} s -> {b:.4g} s ({b - a:+.3g} s)" for name, a, b in rows if a or b]
    lines.append(
        f"  bubble     {percent(here.bubble_fraction)} -> {percent(there.bubble_fraction)}; "
        f"peak memory {gigabytes(here.peak_memory_bytes)} -> {gigabytes(there.peak_memory_bytes)} GB"
    )
    return "\n".join(lines)
