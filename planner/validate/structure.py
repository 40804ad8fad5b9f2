"""Degrees, ranks, schedule, and the cover of the model by chunks: everything that is counted."""

import math
from collections.abc import Sequence

from costmodels.configuration import ALLOWABLE, FOLDING, Configuration
from costmodels.recompute import FIT, NONE, first_layers
from planner.plan import Plan
from planner.plan.mapping import mapping_faults
from planner.plan.order import order_of
from planner.plan.parallelism import CONFIGURATION_FIELDS, EXPERT_ORDERS
from planner.plan.stages import Stage
from planner.validate.findings import Report
from planner.validate.legality import breaches, option_breaches

VOCABULARY_MULTIPLE = 128


def check_structure(plan: Plan, report: Report) -> None:
    _check_options(plan, report)
    _check_configuration(plan, report)
    _check_ranks(plan, report)
    _check_schedule(plan, report)
    _check_stages(plan, report)
    _check_cover(plan, report)


def _check_options(plan: Plan, report: Report) -> None:
    options, path = plan.inputs.options, "/inputs/options"
    for name in options.pins:
        report.require(name in CONFIGURATION_FIELDS, "options.pins", f"{path}/pins/{name}", "no such field to pin")
        report.require(name not in options.forbid, "options.pins", f"{path}/pins/{name}", "also forbidden")
    report.require(
        set(options.forbid) <= {*CONFIGURATION_FIELDS, FOLDING},
        "options.forbid",
        f"{path}/forbid",
        "names a field that does not exist",
        list(options.forbid),
    )
    demanded = {*options.pins, *options.forbid}
    report.require(
        set(options.allow) <= set(ALLOWABLE) - demanded,
        "options.allow",
        f"{path}/allow",
        f"names of {', '.join(ALLOWABLE)} that are neither pinned nor forbidden",
        list(options.allow),
    )
    for name, values in (("forbid", options.forbid), ("allow", options.allow)):
        report.require(
            list(values) == sorted(set(values)),
            f"options.{name}",
            f"{path}/{name}",
            "is written sorted and without repetition",
            list(values),
        )


def _check_configuration(plan: Plan, report: Report) -> None:
    degrees, path = plan.parallelism, "/parallelism"
    configuration, job = plan.configuration(), plan.job()
    found = [*breaches(plan.cluster(), plan.model(), job, configuration, even=plan.ground is None)]
    found += option_breaches(plan.inputs.options, plan.model(), configuration)
    for name, message in dict.fromkeys(found):
        report.add("parallelism.legal", f"{path}/{name}", message, found=getattr(configuration, name))
    report.same("parallelism.gpus", f"{path}/gpus", degrees.gpus, configuration.gpus, "tp x cp x pp x dp")
    stage_ranks = degrees.tp * degrees.cp * degrees.dp
    report.same(
        "parallelism.edp",
        f"{path}/edp",
        degrees.edp * degrees.ep * degrees.etp,
        stage_ranks,
        "edp x ep x etp = tp x cp x dp",
    )
    if plan.ground is not None:
        return  # its rows have numbers of their own (``planner.validate.ground``)
    sequences = degrees.microbatches * degrees.mbs * degrees.dp
    report.same(
        "parallelism.microbatches",
        f"{path}/microbatches",
        sequences,
        job.global_batch,
        "micro-batches x mbs x dp is the global batch",
    )


def _check_ranks(plan: Plan, report: Report) -> None:
    ranks, path, cluster = plan.ranks, "/ranks", plan.cluster()
    sizes = {name: getattr(plan.parallelism, name) for name in ("tp", "cp", "dp", "pp", "etp", "ep", "edp")}
    report.same("ranks.sizes", f"{path}/sizes", {**ranks.sizes}, sizes, "the degrees of parallelism")
    report.same("ranks.nodes", f"{path}/nodes", ranks.nodes, cluster.nodes, "the cluster's nodes")
    report.same(
        "ranks.nodes", f"{path}/gpus_per_node", ranks.gpus_per_node, cluster.gpus_per_node, "the cluster's GPUs a node"
    )
    for name, axes in (("order", ranks.order), ("expert_order", ranks.expert_order)):
        product = 1
        for axis in axes.split("-"):
            product *= ranks.sizes.get(axis, 0)  # type: ignore[call-overload]
        report.same(
            "ranks.once", f"{path}/{name}", product, ranks.world_size, "every rank has its coordinates exactly once"
        )
    report.same(
        "ranks.world_size",
        f"{path}/world_size",
        ranks.world_size,
        ranks.nodes * ranks.gpus_per_node,
        "every GPU of every node runs one rank",
    )
    report.same(
        "ranks.order",
        f"{path}/expert_order",
        ranks.expert_order,
        EXPERT_ORDERS[ranks.order],
        f"a rank is of one stage: pp stands where it does in {ranks.order}",
    )
    for key, message, found in mapping_faults(ranks):
        report.add(f"ranks.{key.partition('/')[0]}", f"{path}/{key}", message, found=found)


def _check_schedule(plan: Plan, report: Report) -> None:
    schedule, degrees = plan.schedule, plan.parallelism
    plain = "interleaved-1f1b" if degrees.vp > 1 else "1f1b"
    name = plain if degrees.schedule == "1f1b" else degrees.schedule
    placement = "linear" if degrees.vp == 1 else "interleaved" if degrees.schedule == "1f1b" else "v"
    expected = {
        "name": name if degrees.vocabulary == "whole" or name == "best" else degrees.vocabulary,
        "microbatches": degrees.microbatches,
        "chunks_per_stage": degrees.vp,
        "placement": placement,
    }
    report.same_fields("schedule", "/schedule", schedule.model_dump(), expected, "follows from the degrees")
    path = "/schedule/operations"
    report.require(
        (schedule.operations is not None) == (name == "best"),
        "schedule.operations",
        path,
        "are written out just where the schedule has no rule",
    )
    if schedule.operations is None:
        return
    report.same("schedule.operations", path, len(schedule.operations), degrees.pp, "one sequence a stage")
    try:
        order_of(plan)
    except ValueError as error:
        report.add("schedule.operations", path, str(error))


def _check_stages(plan: Plan, report: Report) -> None:
    degrees, model = plan.parallelism, plan.model()
    report.same("stages.count", "/stages", len(plan.stages), degrees.pp, "one stage per pipeline rank")
    rows, split = vocabulary_share(model.vocabulary, plan.configuration()), degrees.vocabulary != "whole"
    uneven = plan.vocabulary_rows() is not None
    if uneven:
        _check_shares(plan, rows, report)
    for index, stage in enumerate(plan.stages):
        path = f"/stages/{index}"
        report.same("stages.order", f"{path}/stage", stage.stage, index, "stages are numbered in order")
        numbers = [chunk.chunk for chunk in stage.chunks]
        rule = "chunk c runs on stage c mod pp, vp of them"
        expected = [index + degrees.pp * turn for turn in range(min(degrees.vp, len(numbers) + 1))]
        if plan.schedule.placement == "v":
            rule = "chunks c and 2 pp - 1 - c run on stage c"
            expected = [index, 2 * degrees.pp - 1 - index]
        report.same("stages.chunks", f"{path}/chunks", numbers, expected, rule)
        _check_recompute(stage, degrees.recompute, path, report)
        if uneven:
            continue
        expected_rows = {
            "input_rows": rows * (split or _holds(stage, "embedding")),
            "output_rows": rows * (split or _holds(stage, "head")),
        }
        report.same_fields(
            "stages.vocabulary",
            f"{path}/vocabulary",
            stage.vocabulary.model_dump(),
            expected_rows,
            "vocabulary padded to a multiple of 128 tp, over the ranks that share it",
        )


def _check_shares(plan: Plan, even: int, report: Report) -> None:
    """Shares of its own on each stage: of both embeddings the same, by the rules of ``check_rows``."""
    shares = [stage.vocabulary for stage in plan.stages]
    check_rows([share.output_rows for share in shares], even, "stages.vocabulary", "/stages", report)
    for index, share in enumerate(shares):
        report.same(
            "stages.vocabulary",
            f"/stages/{index}/vocabulary/input_rows",
            share.input_rows,
            share.output_rows,
            "as many rows of the input as of the output embedding",
        )


def check_rows(rows: Sequence[int], even: int, rule: str, path: str, report: Report) -> None:
    """Rows a rank of stages that share a vocabulary unevenly: positive multiples of a unit, the largest power of two in
    the even share up to 128, and in all as many as even shares, which cover the padded vocabulary."""
    unit = min(even & -even, VOCABULARY_MULTIPLE)
    report.require(
        all(own > 0 and own % unit == 0 for own in rows),
        rule,
        path,
        f"a stage holds a positive multiple of {unit} rows of the vocabulary",
        list(rows),
    )
    report.same(rule, path, sum(rows), even * len(rows), "the stages' rows cover the padded vocabulary")


def _check_recompute(stage: Stage, level: str, path: str, report: Report) -> None:
    """The configuration's level; under ``full:fit`` none or the first layers of each chunk, as far as it has them."""
    if level != FIT:
        report.same("stages.recompute", f"{path}/recompute", stage.recompute, level, "the configuration's level")
        return
    most = max((chunk.layers[1] - chunk.layers[0] for chunk in stage.chunks if chunk.layers), default=0)
    report.require(
        stage.recompute == NONE or 1 <= (first_layers(stage.recompute) or 0) <= most,
        "stages.recompute",
        f"{path}/recompute",
        f"is none, or full:N for the first N of at most {most} layers of a chunk",
        stage.recompute,
    )


def vocabulary_share(vocabulary: int, c: Configuration) -> int:
    """Rows of an embedding on each of the tp, or split over stages tp pp, ranks that share it: all of
    them as many, 128 tp a multiple of the whole."""
    ranks = c.tp * (c.pp if c.vocabulary != "whole" else 1)
    block = math.lcm(VOCABULARY_MULTIPLE * c.tp, ranks)
    return block * math.ceil(vocabulary / block) // ranks


def _holds(stage: Stage, name: str) -> bool:
    return any(getattr(chunk, name) for chunk in stage.chunks)


def _check_cover(plan: Plan, report: Report) -> None:
    """Every piece of the model stands in exactly one chunk, in the order it is computed."""
    model = plan.model()
    layers, prediction_layers = len(model.layers), len(model.mtp_layers)
    placed = [
        (chunk, f"/stages/{s}/chunks/{c}")
        for s, stage in enumerate(plan.stages)
        for c, chunk in enumerate(stage.chunks)
    ]
    placed.sort(key=lambda pair: pair[0].chunk)
    next_layer = next_prediction = 0
    for position, (chunk, path) in enumerate(placed):
        last = position == len(placed) - 1
        report.same(
            "cover.embedding", f"{path}/embedding", chunk.embedding, position == 0, "stands in the first chunk only"
        )
        report.same("cover.head", f"{path}/head", chunk.head, last, "stands in the last chunk only")
        report.require(chunk.items > 0, "cover.empty", path, "a chunk holds at least one piece of the model")
        if chunk.layers is not None:
            first, end = chunk.layers
            report.same("cover.layers", f"{path}/layers", first, next_layer, "continues where the chunk before it ends")
            report.require(
                first < end, "cover.layers", f"{path}/layers", "is absent when it holds no layer", chunk.layers
            )
            next_layer = end
        if chunk.mtp_layers is not None:
            first, end = chunk.mtp_layers
            report.same(
                "cover.mtp_layers", f"{path}/mtp_layers", first, next_prediction, "prediction layers start at 0"
            )
            report.require(
                last and first < end,
                "cover.mtp_layers",
                f"{path}/mtp_layers",
                "prediction layers stand before the head",
            )
            next_prediction = end
    report.same("cover.layers", "/stages", next_layer, layers, "every decoder layer is placed")
    report.same("cover.mtp_layers", "/stages", next_prediction, prediction_layers, "every prediction layer is placed")
    if plan.inputs.options.split == "even":
        counts = {(chunk.layers[1] - chunk.layers[0]) if chunk.layers else 0 for chunk, _ in placed}
        counted = {
            (chunk.layers[1] - chunk.layers[0] if chunk.layers else 0) + chunk.embedding + chunk.head
            for chunk, _ in placed
        }
        report.require(
            len(counts) == 1 or len(counted) == 1,
            "cover.even",
            "/inputs/options/split",
            "an even split has as many layers in every chunk, the embedding and the head counting or not",
            sorted(counts),
        )
