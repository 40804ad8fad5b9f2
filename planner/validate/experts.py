"""Checks a placement of experts by counting, and derives its figures again with plain loops.

Nothing of what made the placement is used. With r_e the replicas of expert e, n_e(g) those on GPU g, a load splits
equally among replicas and a token takes each replica of an expert equally often, wherever it comes from:

    load of GPU g                   sum over e of w_e n_e(g) / r_e
    transition e -> f staying       sum over g of n_e(g) / r_e * n_f(g) / r_f

Copies of a token are counted where every expert has one replica: it is sent once to each other GPU (and each
other node) that holds any of its experts, its home spread evenly over the GPUs.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from planner.plan.experts_result import Derived, ExpertsResult
from planner.validate.expert_time import Timing, check_seconds
from planner.validate.findings import Finding, Report

TOLERANCE = 1e-9
PROVEN_GAP = 1e-9


class Counts(Protocol):
    """What a placement is judged on: arrays as in ``planner.expert_problem.Traces``."""

    @property
    def loads(self) -> Sequence[Any]: ...
    @property
    def transitions(self) -> Sequence[Any]: ...
    @property
    def routes(self) -> Sequence[tuple[Any, Any]]: ...


class Shape(Protocol):
    """Where experts can stand."""

    @property
    def gpus(self) -> int: ...
    @property
    def gpus_per_node(self) -> int: ...
    @property
    def experts(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def layer_ids(self) -> tuple[int, ...]: ...
    @property
    def slots_per_gpu(self) -> tuple[int, ...]: ...


def count_figures(
    shape: Shape,
    counts: Counts,
    rows: Sequence[Sequence[int]],
    price: Any = None,
    *,
    worst: bool = False,
    tail: bool = False,
) -> Derived:
    """The figures of ``rows`` [layers][gpus * slots]; ``price`` [gpus, gpus] of a transition.

    Loads are pooled, or with ``worst`` the trace with the busiest GPU counts in each layer. The cost of a step is
    the sum over pairs of GPUs, or with ``tail`` the largest.
    """
    held = [_held(row, shape.gpus) for row in rows]
    busiest = []
    for layer in range(shape.layers):
        each = [[float(w) for w in one[layer]] for one in counts.loads]
        loads = each if worst else [[math.fsum(column) for column in zip(*each, strict=True)]]
        busiest.append(max(_max_over_mean(one, held[layer]) for one in loads))
    steps = _steps(shape, counts, held, price, worst, tail)
    copies: list[tuple[float, float]] = []
    if counts.routes and all(len(row) == shape.experts for row in rows):
        copies = [_copies(counts.routes[layer], rows[layer], shape) for layer in range(shape.layers)]
    return Derived(
        max_over_mean=tuple(busiest),
        transitions=tuple(step[0] for step in steps),
        leaving_gpu=tuple(step[1] for step in steps),
        leaving_node=tuple(step[2] for step in steps),
        cost=tuple(step[3] for step in steps),
        gpu_copies=tuple(gpus for gpus, _ in copies),
        node_copies=tuple(nodes for _, nodes in copies),
    )


def _steps(
    shape: Shape, counts: Counts, held: list[list[list[int]]], price: Any, worst: bool, tail: bool
) -> list[tuple[float, float, float, float]]:
    """Of each step; with ``worst`` of the trace that costs most per transition, the first of equals."""
    if not counts.transitions:
        return []
    traces = [[one] for one in counts.transitions] if worst else [counts.transitions]
    found, costs = [], []
    for trace in traces:
        steps = []
        for layer in range(shape.layers - 1):
            table = sum(one[layer] for one in trace)
            steps.append(_step(table, held[layer], held[layer + 1], shape.gpus_per_node, price, tail))
        total = math.fsum(step[0] for step in steps)
        found.append(steps)
        costs.append(math.fsum(step[3] for step in steps) / total if total else 0.0)
    return next(steps for steps, cost in zip(found, costs, strict=True) if cost >= max(costs) * (1 - TOLERANCE))


def _held(row: Sequence[int], gpus: int) -> list[list[int]]:
    """Experts of each GPU."""
    slots = len(row) // gpus
    return [list(row[gpu * slots : (gpu + 1) * slots]) for gpu in range(gpus)]


def _replicas(held: list[list[int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for experts in held:
        for expert in experts:
            found[expert] = found.get(expert, 0) + 1
    return found


def _max_over_mean(loads: Sequence[float], held: list[list[int]]) -> float:
    replicas = _replicas(held)
    carried = [math.fsum(loads[e] / replicas[e] for e in experts) for experts in held]
    mean = math.fsum(loads) / len(held)
    return max(carried) / mean if mean > 0 else 1.0


def _step(
    table: Any, here: list[list[int]], there: list[list[int]], per_node: int, price: Any, tail: bool
) -> tuple[float, float, float, float]:
    """All transitions of a step, those that leave GPU and node, and their cost."""
    before, after = _replicas(here), _replicas(there)
    stay_gpu = stay_node = 0.0
    costs = [0.0]
    reached = [[0.0] * len(there) for _ in here]  # from GPU to GPU
    for g, experts in enumerate(here):
        for e in experts:
            row = table[e].tolist()
            for h, others in enumerate(there):
                for f in others:
                    if row[f]:
                        reached[g][h] += row[f] / (before[e] * after[f])
    for g in range(len(here)):
        for h in range(len(there)):
            stay_gpu += reached[g][h] if g == h else 0.0
            stay_node += reached[g][h] if g // per_node == h // per_node else 0.0
            if price is not None and g != h:
                costs.append(reached[g][h] * float(price[g][h]))
    total = math.fsum(map(math.fsum, reached))
    return total, total - stay_gpu, total - stay_node, max(costs) if tail else math.fsum(costs)


def _copies(routes: tuple[Any, Any], row: Sequence[int], shape: Shape) -> tuple[float, float]:
    slots = len(row) // shape.gpus
    gpu_of = {expert: slot // slots for slot, expert in enumerate(row)}
    gpus = nodes = tokens = 0.0
    for experts, count in zip(routes[0].tolist(), routes[1].tolist(), strict=True):
        touched = {gpu_of[e] for e in experts}
        gpus += count * len(touched)
        nodes += count * len({gpu // shape.gpus_per_node for gpu in touched})
        tokens += count
    other_nodes = 1 - shape.gpus_per_node / shape.gpus
    return gpus / tokens * (1 - 1 / shape.gpus), nodes / tokens * other_nodes


def placement_faults(
    shape: Shape, rows: Sequence[Sequence[int]], groups: int | None = None, *, apart: bool = False
) -> Iterator[tuple[str, str]]:
    """Path and message of everything that makes ``rows`` no placement: layers, slots, experts, split groups, and
    with ``apart`` an expert that a GPU holds twice."""
    if len(rows) != shape.layers:
        yield "/physical_to_logical", f"{len(rows)} layers, not {shape.layers}"
        return
    for layer, row in enumerate(rows):
        path, name = f"/physical_to_logical/{layer}", shape.layer_ids[layer]
        wanted = shape.gpus * shape.slots_per_gpu[layer]
        if len(row) != wanted:
            yield path, f"layer {name} has {len(row)} slots, not {shape.gpus} x {shape.slots_per_gpu[layer]}"
            continue
        unknown = [e for e in row if not 0 <= e < shape.experts]
        if unknown:
            yield path, f"layer {name} holds expert {unknown[0]}, there are {shape.experts}"
            continue
        missing = [e for e in range(shape.experts) if e not in set(row)]
        if missing:
            yield path, f"layer {name} has no slot for expert {missing[0]}"
        slots = shape.slots_per_gpu[layer]
        for gpu in range(shape.gpus) if apart else ():
            held = row[gpu * slots : (gpu + 1) * slots]
            if len(set(held)) < len(held):
                yield path, f"layer {name} holds an expert twice on GPU {gpu}"
        if groups:
            size = shape.experts // groups
            of_node = slots * shape.gpus_per_node
            for group in range(groups):
                nodes = {slot // of_node for slot, e in enumerate(row) if e // size == group}
                if len(nodes) > 1:
                    yield path, f"layer {name} has group {group} on nodes {sorted(nodes)}"


def check_experts(
    shape: Shape,
    counts: Counts,
    result: ExpertsResult,
    *,
    price: Any = None,
    worst: bool = False,
    tail: bool = False,
    weights: tuple[float, float] = (1.0, 0.0),
    groups: int | None = None,
    apart: bool = False,
    load_limit: float | None = None,
    timing: Timing | None = None,
) -> list[Finding]:
    """All findings about a result, none when it is sound: coverage, slots, groups, the load limit, every figure of
    ours, and value against bound. A result without a placement has nothing to check."""
    report = Report()
    if not result.physical_to_logical:
        report.require(result.value is None, "experts.value", "/value", "there is no placement", result.value)
        return list(report)
    for path, message in placement_faults(shape, result.physical_to_logical, groups, apart=apart):
        report.add("experts.placement", path, message)
    if not report.clean:
        return list(report)
    derived = count_figures(shape, counts, result.physical_to_logical, price, worst=worst, tail=tail)
    _check_layers(result, derived, report)
    _check_totals(shape, result, derived, report)
    if load_limit is not None:
        for layer, figure in enumerate(derived.max_over_mean):
            if not figure <= load_limit * (1 + TOLERANCE):
                report.add("experts.load_limit", f"/per_layer/{layer}", "a GPU carries more", expected=load_limit)
    if timing is not None:
        check_seconds(shape, counts, result, timing, report)
    else:
        _near("experts.value", "/value", result.value, _value(result.objective, derived, weights, tail), report)
    _check_bound(result, report)
    return list(report)


def _value(objective: str, derived: Derived, weights: tuple[float, float], tail: bool) -> float | None:
    if objective == "balance":
        return math.fsum(derived.max_over_mean) / len(derived.max_over_mean)
    if objective == "transitions":
        total = math.fsum(derived.transitions)
        return math.fsum(derived.cost) / (1.0 if tail else total) if total else 0.0
    if objective == "traffic" and derived.gpu_copies:
        pairs = zip(derived.gpu_copies, derived.node_copies, strict=True)
        return math.fsum(weights[0] * g + weights[1] * n for g, n in pairs) / len(derived.gpu_copies)
    return None


def _check_totals(shape: Shape, result: ExpertsResult, derived: Derived, report: Report) -> None:
    total = math.fsum(derived.transitions)
    nodes = shape.gpus_per_node < shape.gpus
    layers = len(derived.max_over_mean)
    expected = {
        "max_over_mean": math.fsum(derived.max_over_mean) / layers,
        "worst_max_over_mean": max(derived.max_over_mean),
        "transition_share_leaving_gpu": math.fsum(derived.leaving_gpu) / total if total else None,
        "transition_share_leaving_node": math.fsum(derived.leaving_node) / total if total and nodes else None,
        "gpu_copies_per_token": math.fsum(derived.gpu_copies) / layers if derived.gpu_copies else None,
        "node_copies_per_token": math.fsum(derived.node_copies) / layers if derived.node_copies and nodes else None,
    }
    for name, figure in expected.items():
        _near(f"experts.{name}", f"/{name}", getattr(result, name), figure, report)


def _check_layers(result: ExpertsResult, derived: Derived, report: Report) -> None:
    if len(result.per_layer) != len(derived.max_over_mean):
        report.same("experts.layers", "/per_layer", len(result.per_layer), len(derived.max_over_mean), "one a layer")
        return
    for k, figures in enumerate(result.per_layer):
        path = f"/per_layer/{k}"
        _near("experts.max_over_mean", f"{path}/max_over_mean", figures.max_over_mean, derived.max_over_mean[k], report)
        if not figures.lower_bound <= figures.max_over_mean * (1 + TOLERANCE):
            report.add("experts.layer_bound", path, "the bound is above the layer's own figure")
        if not figures.lower_bound >= 1 - TOLERANCE:
            report.add(
                "experts.layer_bound", path, "the busiest GPU carries at least the mean", found=figures.lower_bound
            )
        if k < len(derived.transitions) and derived.transitions[k]:
            share = derived.leaving_gpu[k] / derived.transitions[k]
            _near("experts.share", f"{path}/transition_share", figures.transition_share_leaving_gpu, share, report)
        if derived.gpu_copies:
            _near("experts.copies", f"{path}/copies", figures.gpu_copies_per_token, derived.gpu_copies[k], report)


def _check_bound(result: ExpertsResult, report: Report) -> None:
    value, bound = result.value, result.lower_bound
    if value is None or bound is None:
        report.add("experts.bound", "/lower_bound", "a placement comes with a value and a bound")
        return
    if not bound <= value + TOLERANCE * abs(value):
        report.add("experts.bound", "/lower_bound", "exceeds the value of this placement", expected=value, found=bound)
    gap = max(0.0, (value - bound) / abs(value)) if value else 0.0
    _near("experts.gap", "/gap", result.gap, gap, report)
    right = "optimal" if gap <= PROVEN_GAP else "feasible"
    report.same("experts.status", "/status", result.status, right, f"proven is a gap of at most {PROVEN_GAP:g}")


def _near(rule: str, path: str, found: float | None, expected: float | None, report: Report) -> None:
    if found is None and expected is None:
        return
    if found is None or expected is None or not math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        report.add(rule, path, "follows from the placement and the counts", expected=expected, found=found)
