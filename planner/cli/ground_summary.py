"""What a plan's ground says to a person: which groups hold which stages, with how many layers and micro-batches."""

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.plan import Plan
    from planner.plan.ground import PlanGround


def gpus_in_use(plan: "Plan", ground: "PlanGround") -> str:
    """``32 x a100-sxm-80gb + 32 x h100-sxm-80gb``."""
    counts: dict[str, int] = {}
    width = plan.parallelism.tp * plan.parallelism.cp
    for row in ground.rows:
        for machine in row.machines:
            name = ground.machines[machine].gpu.name
            counts[name] = counts.get(name, 0) + row.replicas * width
    return " + ".join(f"{count:,} x {name}" for name, count in counts.items())


def ground_lines(plan: "Plan") -> list[str]:
    """A line for each part of each row of pipelines; none where nodes are alike."""
    ground = plan.ground
    if ground is None or ground.kind != "groups":
        return []
    layers = [sum(chunk.layers[1] - chunk.layers[0] for chunk in stage.chunks if chunk.layers) for stage in plan.stages]
    found = []
    for number, row in enumerate(ground.rows):
        pipelines = f"{row.replicas} pipeline{'' if row.replicas == 1 else 's'}"
        share = f"{row.microbatches:,} micro-batches each, step {ground.row_seconds[number]:.4g} s"
        found.append(f"Pipelines      {pipelines} of {share}")
        stage = 0
        for machine, run in groupby(row.machines):
            count = len(list(run))
            own = layers[stage : stage + count]
            each = len(set(own)) == 1 and count > 1
            spread = f"{own[0]} layers each" if each else f"{', '.join(map(str, own))} layers"
            which = f"stage {stage}" if count == 1 else f"stages {stage} to {stage + count - 1}"
            found.append(f"               {which}, {spread}, on {ground.machines[machine].name}")
            stage += count
    return found
