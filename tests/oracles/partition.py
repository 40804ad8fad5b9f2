"""Contiguous splits two slow ways: every one in turn, and a plain dynamic programme."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, pairwise


def all_splits(items: int, chunks: int) -> Iterator[tuple[int, ...]]:
    for inner in combinations(range(1, items), chunks - 1):
        yield (0, *inner, items)


def chunk_bytes(
    split: Sequence[int],
    static: Sequence[float],
    activation: Sequence[float],
    in_flight: Sequence[float],
    fixed: Sequence[float],
    transient: Sequence[float],
) -> list[float]:
    return [
        fixed[j] + sum(static[a:b]) + in_flight[j] * sum(activation[a:b]) + max(transient[a:b])
        for j, (a, b) in enumerate(pairwise(split))
    ]


def best_bottleneck(cost: Sequence[float], chunks: int) -> float:
    """min over k of max(best of the first k items in one chunk fewer, the rest), recursively."""

    @cache
    def best(items: int, parts: int) -> float:
        if parts == 1:
            return sum(cost[:items])
        return min(max(best(k, parts - 1), sum(cost[k:items])) for k in range(parts - 1, items))

    return best(len(cost), chunks)
