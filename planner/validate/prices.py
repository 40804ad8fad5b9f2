"""Times and bytes: priced anew from the inputs, and held against formulas that need no pricing."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from costmodels.configuration import Configuration
from costmodels.price import StepPrice
from costmodels.step_price import price_step
from planner.plan import Plan
from planner.plan.compact import expand
from planner.plan.order import order_of
from planner.validate.findings import Report
from planner.validate.ground import price_ground
from planner.validate.parameters import stage_parameters

MOST_OPERATIONS = 2_000_000
"""Micro-batches x chunks that are still simulated; the largest real plans have tens of thousands."""

STEP_FIGURES = tuple(name for name in StepPrice.__slots__ if name != "stages")
PASSES = ("forward_seconds", "input_grad_seconds", "weight_grad_seconds", "recompute_seconds")
MEMORY_ITEMS = ("weights", "gradients", "optimizer", "activations", "workspace", "runtime")


def check_prices(plan: Plan, report: Report) -> None:
    """Price the plan's own cut and compare every figure; the structure must already hold."""
    price = price_again(
        plan,
        plan.configuration(),
        plan.boundaries(),
        "/stages",
        report,
        own=True,
        vocabulary_rows=plan.vocabulary_rows(),
    )
    if price is None:
        return
    total = {name: getattr(price, name) for name in STEP_FIGURES}
    report.same_fields("price.step", "/prediction", plan.prediction.model_dump(), total, "as priced anew")
    for index, (stage, again) in enumerate(zip(plan.stages, price.stages, strict=True)):
        path = f"/stages/{index}"
        report.same("price.recompute", f"{path}/recompute", stage.recompute, again.recompute, "as priced anew")
        held = {"dense": again.dense_parameters, "experts": again.expert_parameters}
        report.same_fields(
            "price.parameters",
            f"{path}/parameters_per_rank",
            stage.parameters_per_rank.model_dump(),
            held,
            "as priced anew",
        )
        for name in ("send_seconds", "busy_seconds", "vocabulary_seconds"):
            report.same("price.stage", f"{path}/{name}", getattr(stage, name), getattr(again, name), "as priced anew")
        for number, (chunk, chunk_again) in enumerate(zip(stage.chunks, again.chunks, strict=True)):
            report.same_fields(
                "price.chunk", f"{path}/chunks/{number}", chunk.model_dump(), asdict(chunk_again), "as priced anew"
            )
        report.same_fields(
            "price.memory", f"{path}/memory", stage.memory.model_dump(), asdict(again.memory), "as priced anew"
        )


def price_again(
    plan: Plan,
    configuration: Configuration,
    boundaries: Sequence[int],
    path: str,
    report: Report,
    *,
    own: bool = False,
    vocabulary_rows: Sequence[int] | None = None,
) -> StepPrice | None:
    """The price of a configuration cut at ``boundaries``; None, with a finding, when there is none. ``own``: it is
    the plan's, which may write out its order; ``vocabulary_rows`` on each rank of every stage, if not even shares."""
    operations = configuration.microbatches(plan.job().global_batch) * (len(boundaries) - 1)
    if operations > MOST_OPERATIONS:
        report.add("price.size", path, f"over {MOST_OPERATIONS} operations a step: not simulated, not checked")
        return None
    try:
        with np.errstate(all="ignore"):
            if own and plan.ground is not None:
                return price_ground(plan, report)
            order = order_of(plan) if own and plan.schedule.operations is not None else None
            inputs = (plan.priced_model(), plan.cluster(), plan.job(), plan.calibration())
            return price_step(*inputs, configuration, boundaries, order, vocabulary_rows)
    except Exception as error:  # whatever the inputs make the cost model do, the report goes on
        report.add("price.none", path, f"cannot be priced: {type(error).__name__}: {error}")
        return None


def check_stage_figures(plan: Plan, report: Report) -> None:
    """Parameters by their matrices, states by bytes a parameter, sums, capacity, micro-batches alive."""
    model, configuration = plan.model(), plan.configuration()
    microbatches = plan.parallelism.microbatches
    for index, stage in enumerate(plan.stages):
        path, memory, capacity = f"/stages/{index}", stage.memory, plan.capacity_bytes(index)
        counted = dict(zip(("dense", "experts"), stage_parameters(model, configuration, stage), strict=True))
        held = stage.parameters_per_rank.model_dump()
        report.same_fields(
            "stages.parameters", f"{path}/parameters_per_rank", held, counted, "by the matrices on a rank"
        )
        _check_states(plan, index, report)
        parts = sum(getattr(memory, f"{name}_bytes") for name in MEMORY_ITEMS)
        report.same("memory.sum", f"{path}/memory/peak_bytes", memory.peak_bytes, parts, "sum of its parts")
        report.same(
            "memory.capacity",
            f"{path}/memory/capacity_bytes",
            memory.capacity_bytes,
            capacity,
            "GPU memory less the reserve",
        )
        left = memory.capacity_bytes - memory.peak_bytes
        report.require(
            abs(memory.free_bytes - left) <= 1e-9 * memory.capacity_bytes,
            "memory.free",
            f"{path}/memory/free_bytes",
            f"capacity less peak is {left!r}",
            memory.free_bytes,
        )
        report.require(
            memory.peak_bytes <= capacity,
            "memory.fits",
            f"{path}/memory/peak_bytes",
            f"exceeds the capacity of {capacity:.0f} bytes by {(memory.peak_bytes - capacity) / 1e9:.2f} GB",
            memory.peak_bytes,
        )
        _check_in_flight(plan, index, report)
        work = microbatches * sum(getattr(chunk, name) for chunk in stage.chunks for name in PASSES)
        work += stage.vocabulary_seconds
        report.same("stages.busy", f"{path}/busy_seconds", stage.busy_seconds, work, "all micro-batches of all chunks")


def _check_in_flight(plan: Plan, index: int, report: Report) -> None:
    """Micro-batch chunks alive at once on stage ``index`` of p, by the schedule's own formula.

    Without interleaving p - i of m, more where reductions of a split vocabulary are awaited; where weight gradients
    run apart, p (zb-h1) and 2 p - 1 (zb-h2) on every stage (arXiv 2401.10241 table 1), and of a V's two chunks at
    most 2 p, 2 ((p + 2) // 2) and 2 ((p + 4) // 3) (arXiv 2405.15362).
    """
    p, m, name = len(plan.stages), plan.parallelism.microbatches, plan.schedule.name
    if plan.schedule.operations is not None:
        _check_counted(plan, index, report)
        return
    path, found = f"/stages/{index}/memory/in_flight", plan.stages[index].memory.in_flight
    falling = {"1f1b": p, "vocab-2": p + 1, "vocab-1": p + 2, "interlaced": p * 3 // 2}
    level = {"zb-h1": p, "zb-h2": 2 * p - 1}
    at_most = {"zb-v": 2 * p, "v-half": 2 * ((p + 2) // 2), "v-min": 2 * ((p + 4) // 3)}
    if name in falling:
        said = f"{name} holds at most {falling[name]} - i micro-batches on stage i"
        report.same("memory.in_flight", path, found, min(m, falling[name] - index), said)
    if name in level:
        said = f"{name} holds at most {level[name]} micro-batches on every stage"
        report.same("memory.in_flight", path, found, min(m, level[name]), said)
    if name in at_most:
        most = min(2 * m, at_most[name])
        report.require(found <= most, "memory.in_flight", path, f"{name} holds at most {most} chunks", found)


def _check_counted(plan: Plan, index: int, report: Report) -> None:
    """The same where the order is written out: counted along it, from each F to its B or W."""
    assert plan.schedule.operations is not None
    alive = most = 0
    try:
        steps = expand(plan.schedule.operations[index], [chunk.chunk for chunk in plan.stages[index].chunks])
    except (ValueError, IndexError):
        return  # said with the schedule
    for step in steps:
        alive += {"F": 1, "B": -1, "W": -1}.get(step.op, 0)
        most = max(most, alive)
    stage = plan.stages[index].memory
    report.same(
        "memory.in_flight", f"/stages/{index}/memory/in_flight", stage.in_flight, most, "counted along the order"
    )


def _check_states(plan: Plan, index: int, report: Report) -> None:
    """Mixed-precision Adam: 2 bytes of weights, 4 of gradients (2 in bf16), 12 of states (8 with moments
    in bf16) a parameter, each sharded from ZeRO stage 3, 2 and 1 over the replicas of a rank. PyTorch's
    weights under stage 3 are the states' masters; gradients reduced once a step are whole until then."""
    degrees, stage, job = plan.parallelism, plan.stages[index], plan.inputs.job
    held = stage.parameters_per_rank
    gradient = {"fp32": 4, "bf16": 2}[plan.inputs.job.gradients]
    states = {"fp32": 12, "bf16": 8}[plan.inputs.job.moments]
    weight = 0 if job.software == "pytorch" and degrees.zero == 3 else 2
    whole = job.gradient_sync == "step" and degrees.microbatches > 1
    for name, size, sharded_from in (("weights", weight, 3), ("gradients", gradient, 2), ("optimizer", states, 1)):
        sharded = degrees.zero >= sharded_from and not (whole and name == "gradients")
        dense = held.dense / (degrees.dp * degrees.cp if sharded else 1)
        experts = held.experts / (degrees.edp if sharded else 1)
        report.same(
            "memory.states",
            f"/stages/{index}/memory/{name}_bytes",
            getattr(stage.memory, f"{name}_bytes"),
            float(size * (dense + experts)),
            f"{size} bytes a parameter, over the replicas from ZeRO {sharded_from}",
        )
