"""Experts along the layers the slow way: every assignment of every layer, priced token by token."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product

Matrix = Sequence[Sequence[float]]


def equal_assignments(experts: int, gpus: int) -> Iterator[tuple[int, ...]]:
    for labels in product(range(gpus), repeat=experts):
        if all(Counter(labels)[gpu] == experts // gpus for gpu in range(gpus)):
            yield labels


def value(counts: Sequence[Matrix], cost: Matrix, path: Sequence[Sequence[int]], objective: str) -> float:
    total = 0.0
    for layer, step in enumerate(counts):
        pairs: Counter[tuple[int, int]] = Counter()
        for e, row in enumerate(step):
            for f, tokens in enumerate(row):
                pairs[path[layer][e], path[layer + 1][f]] += tokens  # type: ignore[assignment]
        priced = [tokens * cost[g][h] for (g, h), tokens in pairs.items()]
        total += sum(priced) if objective == "total" else max(priced)
    return total


def best(
    counts: Sequence[Matrix], cost: Matrix, gpus: int, loads: Matrix, max_over_mean: float, objective: str
) -> float:
    """The least objective over all paths; inf where the load limits leave none."""
    options = []
    for layer_loads in loads:
        mean = sum(layer_loads) / gpus
        options.append(
            [
                labels
                for labels in equal_assignments(len(layer_loads), gpus)
                if all(
                    sum(load for load, label in zip(layer_loads, labels, strict=True) if label == gpu)
                    <= mean * max_over_mean + 1e-6
                    for gpu in range(gpus)
                )
            ]
        )
    return min((value(counts, cost, path, objective) for path in product(*options)), default=float("inf"))
