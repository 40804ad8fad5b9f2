"""Experts placed by load in a plan: coverage, groups and every layer's busiest rank, counted again.

With w_e the tokens of expert e and rank r of ``ep`` holding the new numbers r S ... (r + 1) S - 1, S = E / ep:

    imbalance   = max over r of (sum of w over its experts) ep / sum of w
    lower bound = max(1, (largest w + the S - 1 smallest) ep / sum of w), at most the imbalance

The placement behind the imbalance of an alternative is not in the plan: it is held between the lower bound and the
old numbers in order, which no placement here is worse than.
"""

import math
from collections import Counter
from collections.abc import Sequence

from costmodels.architecture import Model, Moe
from planner.plan import Plan, coordinates, groups
from planner.plan.experts import Experts
from planner.validate.findings import Report

LOADS, PATH = "/inputs/expert_loads", "/experts"


def check_placed_experts(plan: Plan, report: Report) -> None:
    """All findings about loads and placement; none of a plan that has neither."""
    loads, placed = plan.inputs.expert_loads, plan.experts
    if loads is None and placed is None:
        return
    if loads is None or placed is None:
        absent = LOADS if loads is None else PATH
        report.add("experts.both", absent, "loads and the experts placed by them go together")
        return
    imbalance = plan.inputs.job.expert_imbalance
    report.same("experts.job", "/inputs/job/expert_imbalance", imbalance, 1.0, "the loads say it, layer by layer")
    before = len(report.findings)
    _check_layers(plan.model(), loads.layers, loads.tokens, report)
    report.same("experts.layers", f"{PATH}/layers", placed.layers, loads.layers, "those of the loads")
    _check_group(plan, placed, report)
    _check_degrees(plan, placed, report)
    for key in ("imbalance", "contiguous", "lower_bound", "new_to_old"):
        given = len(getattr(placed, key))
        report.same("experts.layers", f"{PATH}/{key}", given, len(loads.layers), "one entry a layer")
    if len(report.findings) > before:
        return
    for k, tokens in enumerate(loads.tokens):
        _check_layer(placed, k, tokens, plan.parallelism.ep, report)
    for index, other in enumerate(placed.others):
        _check_other(f"{PATH}/others/{index}/imbalance", other.ep, other.imbalance, loads.tokens, report)


def _check_layers(model: Model, layers: Sequence[int], tokens: Sequence[Sequence[float]], report: Report) -> None:
    """The loads are of the model's layers with experts, with or without prediction layers, an entry an expert."""
    kinds = [model.kinds[kind].block for kind in (*model.layers, *model.mtp_layers)]
    experts = {layer: block for layer, block in enumerate(kinds) if isinstance(block, Moe)}
    decoder = [layer for layer in experts if layer < len(model.layers)]
    right = list(layers) in (decoder, list(experts)) and bool(layers)
    report.require(right, "experts.loads", f"{LOADS}/layers", "the model's layers with experts", list(layers))
    report.same("experts.loads", f"{LOADS}/tokens", len(tokens), len(layers), "one row a layer")
    if not right or len(tokens) != len(layers):
        return
    for k, (layer, row) in enumerate(zip(layers, tokens, strict=True)):
        block, path = experts[layer], f"{LOADS}/tokens/{k}"
        total = math.fsum(row)
        if len(row) != block.experts:
            report.same("experts.loads", path, len(row), block.experts, "one figure an expert")
        elif not total > 0:
            report.add("experts.loads", path, "no token")
        elif max(row) * block.top_k > total * (1 + 1e-9):
            report.add("experts.loads", path, f"an expert has more than every token's one of {block.top_k} copies")


def _check_group(plan: Plan, placed: Experts, report: Report) -> None:
    """The expert-parallel groups under the plan's order of ranks, members counted domain by domain. With pp last
    groups are etp x ep consecutive ranks, and what they are on repeats after the least common multiple."""
    degrees, group = plan.parallelism, placed.group
    size, stride, domain = degrees.ep, degrees.etp, plan.cluster().domain_gpus
    repeats = math.lcm(size * stride, domain) if plan.ranks.order.endswith("pp") else plan.ranks.world_size
    fewest, most = size, 1
    for rank in range(min(plan.ranks.world_size, repeats)):
        if coordinates(plan, rank).ep:
            continue
        held = Counter(member // domain for member in groups(plan, "ep", rank))
        fewest, most = min(fewest, *held.values()), max(most, len(held))
    expected = {"size": size, "stride": stride, "ranks_per_domain": fewest, "domains": most}
    report.same_fields("experts.group", f"{PATH}/group", group.model_dump(), expected, "by the order of ranks")


def _check_degrees(plan: Plan, placed: Experts, report: Report) -> None:
    lost = sorted({other.ep for other in plan.certificate.alternatives} - {plan.parallelism.ep})
    found = [other.ep for other in placed.others]
    report.same("experts.others", f"{PATH}/others", found, lost, "the other ep of alternatives, ascending")
    for number, other in enumerate(placed.others):
        path = f"{PATH}/others/{number}/imbalance"
        report.same("experts.others", path, len(other.imbalance), len(placed.layers), "one figure a layer")


def _check_layer(placed: Experts, k: int, tokens: Sequence[float], ep: int, report: Report) -> None:
    path, order = f"{PATH}/new_to_old/{k}", placed.new_to_old[k]
    if sorted(order) != list(range(len(tokens))):
        report.add("experts.permutation", path, f"holds each of 0 ... {len(tokens) - 1} once")
        return
    each = len(order) // ep
    ranks = [list(order[r * each : (r + 1) * each]) for r in range(ep)]
    in_order = all(rank == sorted(rank) for rank in ranks)
    report.require(in_order, "experts.permutation", path, "the experts of a rank stand in ascending order")
    busiest = _busiest([tokens[old] for old in order], ep)
    plain = _busiest(tokens, ep)
    report.same("experts.imbalance", f"{PATH}/imbalance/{k}", placed.imbalance[k], busiest, "counted from the loads")
    report.same("experts.contiguous", f"{PATH}/contiguous/{k}", placed.contiguous[k], plain, "the old numbers in order")
    bound = min(_bound(tokens, ep), busiest)
    report.same(
        "experts.bound", f"{PATH}/lower_bound/{k}", placed.lower_bound[k], bound, "the largest expert and the smallest"
    )
    report.require(
        placed.imbalance[k] <= plain * (1 + 1e-9),
        "experts.imbalance",
        f"{PATH}/imbalance/{k}",
        f"is above the old numbers' {plain!r}",
        placed.imbalance[k],
    )


def _check_other(
    path: str, ep: int, imbalance: Sequence[float], tokens: Sequence[Sequence[float]], report: Report
) -> None:
    for k, row in enumerate(tokens):
        if len(row) % ep:
            report.add("experts.others", path, f"{len(row)} experts are not divisible by ep {ep}")
            return
        least, most = _bound(row, ep), _busiest(row, ep)
        inside = least * (1 - 1e-9) <= imbalance[k] <= most * (1 + 1e-9)
        report.require(
            inside,
            "experts.others",
            f"{path}/{k}",
            f"lies between {least!r} and the old numbers' {most!r}",
            imbalance[k],
        )


def _busiest(tokens: Sequence[float], ep: int) -> float:
    each = len(tokens) // ep
    carried = [math.fsum(tokens[r * each : (r + 1) * each]) for r in range(ep)]
    return max(1.0, max(carried) * ep / math.fsum(tokens))


def _bound(tokens: Sequence[float], ep: int) -> float:
    ordered = sorted(tokens)
    each = len(tokens) // ep
    return max(1.0, (ordered[-1] + math.fsum(ordered[: each - 1])) * ep / math.fsum(tokens))
