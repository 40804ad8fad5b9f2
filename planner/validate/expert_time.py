"""The seconds of a placement, with its loads and the places that tokens need counted by plain loops.

Where tokens are not known one by one, all choices of the router's groups are gone through: a token whose experts come
from the groups of a choice misses a place with the product over these of (1 - q)^(k / M), q what the place holds of the
group's load; a choice counts with the product of its groups' shares of all load. Where these are too many to go
through, seconds are not checked and a finding says so.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Protocol

import numpy as np

from costmodels.expert_placement import PlacedLayer
from planner.plan.experts_result import ExpertsResult
from planner.validate.findings import Report

MOST_CHOICES = 20_000
TOLERANCE = 1e-9


class Timing(Protocol):
    """What prices the layers, and the router's groups."""

    @property
    def priced(self) -> PlacedLayer: ...
    @property
    def groups(self) -> int: ...
    @property
    def limit(self) -> int: ...


def check_seconds(shape: Any, counts: Any, result: ExpertsResult, timing: Timing, report: Report) -> None:
    """The seconds of every layer, their sum, which is the value, and that of the whole against its parts."""
    if math.comb(timing.groups, timing.limit) > MOST_CHOICES:
        report.add("experts.seconds", "/value", f"over {MOST_CHOICES} choices of groups: not counted, not checked")
        return
    total = 0.0
    for layer, row in enumerate(result.physical_to_logical):
        loads = [math.fsum(float(one[layer][e]) for one in counts.loads) for e in range(shape.experts)]
        routes = counts.routes[layer] if counts.routes and len(row) == shape.experts else None
        seconds = layer_seconds(timing, loads, row, routes)
        total += seconds
        given = result.per_layer[layer].time if layer < len(result.per_layer) else None
        found = None if given is None else given.seconds
        if found is None or not math.isclose(found, seconds, rel_tol=TOLERANCE):
            report.add("experts.seconds", f"/per_layer/{layer}/time", "counted again", expected=seconds, found=found)
    if result.value is None or not math.isclose(result.value, total, rel_tol=TOLERANCE):
        report.add("experts.seconds", "/value", "the sum of the layers", expected=total, found=result.value)


def layer_seconds(timing: Timing, loads: Sequence[float], row: Sequence[int], routes: Any = None) -> float:
    """Of one layer with the experts ``row`` in its slots; ``routes`` (experts [n, k], tokens [n]) if known."""
    priced = timing.priced
    gpus, per_node = priced.gpus, priced.per_domain
    slots = len(row) // gpus
    total = math.fsum(loads)
    replicas = {e: list(row).count(e) for e in set(row)}
    held = [[(e, loads[e] / replicas[e] / total) for e in row[g * slots : (g + 1) * slots]] for g in range(gpus)]
    shares = [math.fsum(share for _, share in of_gpu) for of_gpu in held]
    if not priced.merged:
        return float(priced.seconds(slots, np.array([shares])).total[0])
    nodes = [[entry for of_gpu in held[d : d + per_node] for entry in of_gpu] for d in range(0, gpus, per_node)]
    if routes is not None:
        on_gpus, on_nodes = (_by_tokens(places, *routes) for places in (held, nodes))
    else:
        size = len(loads) // timing.groups
        weight = [math.fsum(loads[i * size : (i + 1) * size]) / total for i in range(timing.groups)]
        on_gpus, on_nodes = (
            [_by_choices(place, weight, size, timing.limit, priced.block.top_k) for place in places]
            for places in (held, nodes)
        )
    return float(priced.seconds(slots, np.array([shares]), np.array([on_gpus]), np.array([on_nodes])).total[0])


def _by_tokens(places: Iterable[Sequence[tuple[int, float]]], routes: Any, tokens: Any) -> list[float]:
    """Part of the tokens that use an expert of each place."""
    pairs = list(zip([set(route) for route in routes.tolist()], tokens.tolist(), strict=True))
    total = math.fsum(count for _, count in pairs)
    found = []
    for place in places:
        there = {e for e, _ in place}
        found.append(math.fsum(count for route, count in pairs if route & there) / total)
    return found


def _by_choices(
    place: Sequence[tuple[int, float]], weight: Sequence[float], size: int, limit: int, top_k: int
) -> float:
    held = [0.0] * len(weight)
    for expert, share in place:
        held[expert // size] += share
    missed = [
        max(0.0, 1.0 - part / whole) ** (top_k / limit) if whole else 1.0
        for part, whole in zip(held, weight, strict=True)
    ]
    likely = missing = 0.0
    for choice in combinations(range(len(weight)), limit):
        chance = math.prod(weight[i] for i in choice)
        likely += chance
        missing += chance * math.prod(missed[i] for i in choice)
    return 1.0 - missing / likely
