"""A placement of experts as a page a person can act on."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from planner.cli import endings
from planner.cli.output import percent, table

if TYPE_CHECKING:
    from planner.plan.experts_result import ExpertsResult, LayerFigures, PlacementFigures

MOST_LAYERS = 5
WORSE = 1.01
ENDED = {**endings.ENDED, "evaluation_limit": "ended after its usual effort"}
UNITS = {
    "balance": "busiest over mean GPU, mean over the layers",
    "transitions": "per transition",
    "traffic": "copies per token and layer",
    "time": "seconds of all layers, forward pass",
}


def summarize(result: "ExpertsResult") -> str:
    """Problem, verdict, proof, the placement beside others (also on held-out counts), and the worst layers."""
    if result.value is None:
        reasons = "\n            ".join(result.reasons or (ENDED[result.stop],))
        return "\n\n".join([_heading(result), f"{result.status}: {reasons}"])
    parts = [_heading(result), _proof(result), _beside("on the counts given", _ours(result), result.baselines)]
    if result.held_out is not None:
        parts.append(_beside("on held-out counts", result.held_out.figures[0], result.held_out.figures[1:]))
    if result.curve:
        parts.append(_curve(result))
    return "\n\n".join([*parts, _layers(result)])


def _heading(result: "ExpertsResult") -> str:
    slots = sorted(set(result.slots_per_gpu))
    each = str(slots[0]) if len(slots) == 1 else f"{slots[0]} to {slots[-1]}"
    held = sum(result.slots_per_gpu) * result.gpus - result.experts * len(result.layer_ids)
    spare = f", {held:,} replicas" if held else ""
    nodes = result.gpus // result.gpus_per_node
    where = f"{result.gpus} GPUs" + (f" of {nodes} nodes" if nodes > 1 else "")
    return (
        f"{result.name}: {len(result.layer_ids)} layers of {result.experts} experts on {where}, "
        f"{each} slots each{spare}; objective {result.objective}"
    )


def _proof(result: "ExpertsResult") -> str:
    assert result.gap is not None
    lines = []
    if result.verdict is not None:
        lines.append(f"Verdict        {result.verdict.text}")
    lines += [
        f"Proof          {result.status}: {result.value:.6g} ({UNITS[result.objective]}), nothing below "
        f"{result.lower_bound:.6g}, gap {percent(result.gap)}",
        f"Method         {result.method}; {ENDED[result.stop]} after {result.seconds:.2f} s, seed {result.seed}",
    ]
    lines += _unbalanced(result)
    if result.moves is not None:
        moves = result.moves
        before = "contiguous" if result.verdict is not None and result.verdict.baseline == "contiguous" else "current"
        size = "" if moves.bytes is None else f", {moves.bytes / 1e9:.2f} GB of weights"
        names = " (GPUs that are alike renamed for few moves)" if moves.relabelled else ""
        lines.append(
            f"Moves          {moves.slots:,} of {moves.of_slots:,} slots from the {before} placement{size}{names}"
        )
    return "\n".join(lines)


def _unbalanced(result: "ExpertsResult") -> list[str]:
    """Said where fewer transitions or copies are paid for with a busier GPU."""
    base, ours = result.baselines[0].max_over_mean, result.max_over_mean
    if result.objective not in ("transitions", "traffic") or base is None or ours is None or ours <= base * WORSE:
        return []
    remedy = "; load_limit bounds it" if result.objective == "transitions" else ""
    return [f"Balance        worse: the busiest GPU has {ours:.2f} of the mean, contiguous {base:.2f}{remedy}"]


def _ours(result: "ExpertsResult") -> "PlacementFigures":
    from planner.plan.experts_result import PlacementFigures

    return PlacementFigures(
        name="this placement",
        value=result.value,
        max_over_mean=result.max_over_mean,
        worst_max_over_mean=result.worst_max_over_mean,
        transition_share_leaving_gpu=result.transition_share_leaving_gpu,
        transition_share_leaving_node=result.transition_share_leaving_node,
        gpu_copies_per_token=result.gpu_copies_per_token,
        node_copies_per_token=result.node_copies_per_token,
        time=result.time,
    )


COLUMNS = (
    ("max/mean", "max_over_mean", ".4f"),
    ("worst layer", "worst_max_over_mean", ".4f"),
    ("leave GPU", "transition_share_leaving_gpu", ".2%"),
    ("leave node", "transition_share_leaving_node", ".2%"),
    ("GPU copies", "gpu_copies_per_token", ".4f"),
    ("node copies", "node_copies_per_token", ".4f"),
    ("nodes a token", "time.nodes_per_token", ".4f"),
    ("exchange s", "time.exchange_seconds", ".4g"),
    ("experts s", "time.expert_seconds", ".4g"),
    ("total s", "time.seconds", ".5g"),
)


def _figure(of: "PlacementFigures", key: str) -> float | None:
    for name in key.split("."):
        of = getattr(of, name, None)  # type: ignore[assignment]
    return of  # type: ignore[return-value]


def _beside(title: str, ours: "PlacementFigures", others: Sequence["PlacementFigures"]) -> str:
    shown = [column for column in COLUMNS if _figure(ours, column[1]) is not None]
    rows = [
        (one.name, *(_cell(_figure(one, key), form) for _, key, form in shown))
        for one in (ours, *others)
        if one.max_over_mean is not None or one.value is not None
    ]
    text = table((title, *(name for name, _, _ in shown)), rows)
    return "\n".join([text, *(f"not {one.name}: {one.reason}" for one in others if one.reason)])


def _curve(result: "ExpertsResult") -> str:
    """From the fewest nodes a token to the most even load."""
    rows = [(f"{p.nodes_per_token:.4f}", f"{p.max_over_mean:.4f}", f"{p.seconds * 1e3:.3f}") for p in result.curve]
    return table(("nodes a token", "max/mean", "ms"), rows) + "\n(from the fewest nodes a token to the most even load)"


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form).replace("%", " %")


def _layers(result: "ExpertsResult") -> str:
    """The layers furthest from their bound, or with the most transitions or copies."""
    ranked = sorted(result.per_layer, key=lambda layer: -_rank(result, layer))[:MOST_LAYERS]
    rows = [tuple(_layer(result, layer)) for layer in ranked]
    header = ["layer", "max/mean", "bound"]
    header += ["leave GPU"] if result.transition_share_leaving_gpu is not None else []
    header += ["GPU copies"] if result.gpu_copies_per_token is not None else []
    named = f"the {len(ranked)} worst of {len(result.per_layer)} layers" if len(result.per_layer) > MOST_LAYERS else ""
    return "\n".join(filter(None, [table(header, rows), f"({named})" if named else ""]))


def _rank(result: "ExpertsResult", layer: "LayerFigures") -> float:
    if result.objective == "transitions":
        return layer.transition_share_leaving_gpu or 0.0
    if layer.time is not None:
        return layer.time.seconds
    if result.objective == "traffic":
        return layer.gpu_copies_per_token or 0.0
    return layer.max_over_mean


def _layer(result: "ExpertsResult", layer: "LayerFigures") -> Iterator[str]:
    yield str(layer.layer)
    yield f"{layer.max_over_mean:.4f}"
    yield f"{layer.lower_bound:.4f}"
    if result.transition_share_leaving_gpu is not None:
        yield _cell(layer.transition_share_leaving_gpu, ".2%")
    if result.gpu_copies_per_token is not None:
        yield _cell(layer.gpu_copies_per_token, ".4f")
