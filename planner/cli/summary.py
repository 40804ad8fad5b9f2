"""A plan as a page a person can act on."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from planner.cli.expert_groups import expert_group_lines
from planner.cli.ground_summary import gpus_in_use, ground_lines
from planner.cli.output import gigabytes, milliseconds, percent, plus_minus, table
from planner.cli.prediction import spread_lines
from planner.plan.mapping import host_names

if TYPE_CHECKING:
    from costmodels.configuration import Job
    from planner.plan import Plan
    from planner.plan.parallelism import Degrees
    from planner.plan.stages import Chunk, Stage

ALWAYS = ("tp", "cp", "pp", "dp", "mbs")
NEUTRAL = {"sp": 0, "vp": 1, "zero": 0, "ep": 1, "etp": 1, "vocabulary": "whole", "schedule": "1f1b"}


def summarize(plan: "Plan") -> str:
    """Configuration, stages, times, proof and alternatives, in that order."""
    parts = [
        _heading(plan),
        _times(plan),
        "\n".join(ground_lines(plan)),
        _stages(plan),
        _experts(plan),
        _proof(plan),
        _alternatives(plan),
    ]
    return "\n\n".join(part for part in parts if part).rstrip()


def configuration_line(degrees: "Degrees") -> str:
    """``tp=8 pp=16 ...`` with what stands at its neutral value left out."""
    shown = [f"{name}={getattr(degrees, name)}" for name in ALWAYS]
    shown += [f"{n}={getattr(degrees, n)}" for n, v in NEUTRAL.items() if getattr(degrees, n) != v]
    return " ".join([*shown, f"recompute={degrees.recompute}"])


def _heading(plan: "Plan") -> str:
    cluster, job, parallel = plan.cluster(), plan.job(), plan.parallelism
    machines = f"{cluster.gpus:,} x {cluster.gpu.name}" if plan.ground is None else gpus_in_use(plan, plan.ground)
    return "\n".join(
        [
            f"{plan.model().name} on {cluster.name}: {machines}",
            f"{job.global_batch:,} sequences x {job.sequence_length:,} tokens a step, {', '.join(_job(job))}",
            "",
            f"  {configuration_line(parallel)}",
            f"  {_counted(parallel.microbatches, 'micro-batch', 'es')} per pipeline, {plan.schedule.name}",
            *expert_group_lines(plan),
            *_mapping(plan),
        ]
    )


def _mapping(plan: "Plan") -> Iterator[str]:
    """Where the ranks stand, as far as it is not the order of the cluster."""
    ranks = plan.ranks
    if ranks.order != "tp-cp-dp-pp":
        yield f"  ranks counted {ranks.order}, {ranks.expert_order} for experts; figures are of tp-cp-dp-pp"
    names = host_names(plan)
    if names is not None:
        few = ", ".join(names if len(names) <= 8 else (*names[:4], f"... {names[-1]} ({len(names):,})"))
        shown = ranks.hosts if isinstance(ranks.hosts, str) else few
        yield f"  hosts in the order of ranks: {shown}"
    if plan.ground is not None and plan.ground.listed_seconds is not None:
        listed, step = plan.ground.listed_seconds, plan.prediction.step_seconds
        slower = f"{listed:.4g} s a step ({listed / step - 1:+.2%})"
        yield f"  placed by the links between them; as the cluster lists them {slower}"
    if isinstance(ranks.local_gpus, dict):
        yield f"  GPUs in an order of their own on {_counted(len(ranks.local_gpus), 'host')}"
    elif ranks.local_gpus is not None:
        yield f"  GPUs of each host in the order {','.join(map(str, ranks.local_gpus))}"


def _skipping(plan: "Plan") -> Iterator[str]:
    """What skipping makes of the step; every other figure is of the pipeline with all stages."""
    skip = plan.skip
    if skip is not None:
        times = f"{skip.makespan_seconds:.4g} s instead of {skip.full_pipeline_seconds:.4g} s"
        yield (
            f"Skipping       {skip.path_length} of {len(plan.stages)} stages for each micro-batch: pipeline {times}, "
            f"step {skip.step_seconds:.4g} s"
        )
        yield (
            f"               {skip.status}: no paths and order below {skip.lower_bound:.4g} s, "
            f"gap {percent(skip.gap)}; all other figures are of the whole pipeline"
        )


def _job(job: "Job") -> Iterator[str]:
    """The precision, and what else is not at its default."""
    yield job.precision
    for field in dataclasses.fields(job):
        value = getattr(job, field.name)
        if field.name != "precision" and field.default not in (dataclasses.MISSING, value):
            yield f"{field.name.replace('_', ' ')} {'on' if value is True else 'off' if value is False else value}"


def _counted(count: int, noun: str, plural: str = "s") -> str:
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def _times(plan: "Plan") -> str:
    found = plan.prediction
    exposed = {kind: seconds for kind, seconds in found.exposed_seconds.items() if seconds > 0}
    parts = {
        "pipeline": found.pipeline_seconds,
        "exposed gradient reduction": found.gradient_seconds,
        "optimizer": found.optimizer_seconds,
        "exposed weight gather": found.parameter_seconds,
        "overhead": found.overhead_seconds,
    }
    inside = ", ".join(f"{kind} {seconds:.3g} s" for kind, seconds in exposed.items()) or "none"
    spread = found.uncertainty
    return "\n".join(
        [
            f"Step time      {found.step_seconds:.4g} s {plus_minus(spread.step_seconds.share)} (modelled)",
            f"Throughput     {found.tokens_per_second_per_gpu:,.0f} tokens/s/GPU, "
            f"{found.tokens_per_second:,.0f} tokens/s",
            f"MFU            {percent(found.mfu)}",
            f"Bubble         {percent(found.bubble_fraction)} of the pipeline",
            "Step parts     " + ", ".join(f"{name} {seconds:.3g} s" for name, seconds in parts.items() if seconds > 0),
            f"Exposed comm.  inside the pipeline's passes: {inside}",
            f"Peak memory    {gigabytes(found.peak_memory_bytes)} GB {plus_minus(spread.peak_memory_bytes.share)} "
            f"on stage {found.peak_memory_stage}",
            *_skipping(plan),
            *spread_lines(spread, "Within +-      "),
        ]
    )


def _stages(plan: "Plan") -> str:
    rows = [
        (
            stage.stage,
            " + ".join(_chunk(chunk) for chunk in stage.chunks),
            gigabytes(stage.memory.peak_bytes),
            gigabytes(stage.memory.free_bytes),
            milliseconds(sum(c.forward_seconds for c in stage.chunks)),
            milliseconds(sum(c.input_grad_seconds + c.weight_grad_seconds + c.recompute_seconds for c in stage.chunks)),
            stage.memory.in_flight,
        )
        for stage in plan.stages
    ]
    header = ("stage", "layers", "GB used", "GB free", "forward ms", "backward ms", "in flight")
    return table(header, rows, text=(0, 1)) + "\n(ms per micro-batch; in flight: micro-batch chunks alive at the peak)"


def _experts(plan: "Plan") -> str:
    """The busiest rank of the layers, placed by load and before; empty where loads are not known."""
    placed = plan.experts
    if placed is None:
        return ""
    layers = len(placed.layers)

    def mean(figures: Sequence[float]) -> str:
        return f"{sum(figures) / layers:.4g} of the mean rank (worst layer {max(figures):.4g})"

    group = placed.group
    across = f" over {group.domains} NVLink domains" if group.domains > 1 else ""
    return "\n".join(
        [
            f"Experts        {layers} layers placed by load on {group.size} ranks{across}, {group.stride} apart",
            f"Busiest rank   {mean(placed.imbalance)}; no placement below {mean(placed.lower_bound)}",
            f"Unplaced       {mean(placed.contiguous)}",
        ]
    )


def _chunk(chunk: "Chunk") -> str:
    parts = ["embedding"] if chunk.embedding else []
    if chunk.layers:
        first, end = chunk.layers
        parts.append(f"{first}-{end - 1}" if end - first > 1 else str(first))
    if chunk.mtp_layers:
        parts.append(f"mtp {chunk.mtp_layers[0]}-{chunk.mtp_layers[1] - 1}")
    return ",".join([*parts, *(["head"] if chunk.head else [])])


def _proof(plan: "Plan") -> str:
    proof, count = plan.certificate, plan.certificate.searched
    lines = [
        f"Proof          {proof.status}: {proof.value:.6g} s, nothing below {proof.lower_bound:.6g} s, "
        f"gap {percent(proof.gap)}",
        f"               {count.considered:,} considered, {count.candidates:,} legal, "
        f"{count.evaluated:,} priced in full, "
        f"{count.cut_by_bound:,} cut by bound, {count.infeasible:,} out of memory, {count.open:,} open",
    ]
    for reason, how_many in sorted(proof.pruned.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"               ruled out {how_many:,}: {reason}")
    if len(plan.stages) > 1:
        lines.append(f"Cut            {_cut(plan)}")
    if proof.schedule is not None:
        order = proof.schedule
        lines.append(
            f"Order          made for this configuration and cut, {order.status}: pipeline "
            f"{order.pipeline_seconds:.6g} s, no order within memory below {order.lower_bound_seconds:.6g} s, "
            f"gap {percent(order.gap)}"
        )
    return "\n".join([*lines, f"Scope          {proof.scope}"])


def _cut(plan: "Plan") -> str:
    proof = plan.certificate.partition
    if proof.status == "optimal":
        return "the best of every contiguous cut of this configuration"
    return f"of this configuration, no cut below {proof.lower_bound:.6g} s, gap {percent(proof.gap)}"


def _alternatives(plan: "Plan") -> str:
    others = plan.certificate.alternatives
    if not others:
        return ""
    rows = [
        (
            configuration_line(o),
            f"{o.step_seconds:.4g}",
            f"+{percent(o.slower_by)}",
            gigabytes(o.peak_memory_bytes),
            o.reason,
        )
        for o in others
    ]
    return table(("next best", "step s", "slower", "peak GB", "why it lost"), rows, text=(0, 4))


def fullest(plan: "Plan") -> "Stage":
    """The stage with the least free memory."""
    return min(plan.stages, key=lambda stage: (stage.memory.free_bytes, stage.stage))


def busiest(plan: "Plan") -> "Stage":
    """The stage with the most work in a step."""
    return max(plan.stages, key=lambda stage: (stage.busy_seconds, -stage.stage))
