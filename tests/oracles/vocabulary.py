"""When each operation of an order with a split vocabulary ends, straight from the statement of what it
waits for: plain recursion over (kind, device, micro-batch)."""

from collections.abc import Mapping, Sequence
from functools import cache

from costmodels.timeline import BACKWARD, FORWARD, INPUT_BACKWARD, INPUT_FORWARD, VOCABULARY, Order

Key = tuple[int, int, int]


def end_seconds(
    order: Order,
    seconds: Mapping[int, Sequence[float]],
    edges: tuple[Sequence[float], Sequence[float]],
    links: Sequence[float],
    collectives: Mapping[str, float],
) -> dict[Key, float]:
    """``seconds`` by kind and device, V's being those of a whole step; ``edges`` those of the first and
    the last V, where they differ; ``collectives``: broadcast, reduce, lookup."""
    devices, m, last = range(order.devices), order.microbatches, order.devices - 1
    rows = [[(int(k), d, int(j)) for k, j in zip(order.kind[d], order.microbatch[d], strict=True)] for d in devices]
    previous = {key: row[i - 1] if i else None for row in rows for i, key in enumerate(row)}
    interlaced = order.schedule == "interlaced"
    delay = {"vocab-1": 2, "vocab-2": 1}.get(order.schedule, 0)

    def duration(key: Key) -> float:
        kind, device, j = key
        if kind == VOCABULARY and not interlaced and j in (0, m):
            return edges[0 if j == 0 else 1][device]
        return seconds[kind][device]

    def free(key: Key) -> float:
        """When the device could begin, had it all it needs."""
        before = previous[key]
        if before is None:
            return 0.0
        at = end(before)
        if interlaced and key[0] != INPUT_BACKWARD:
            kinds = [before, previous[before]] if before[0] == INPUT_BACKWARD else [before]
            at = max([at, *(looked_up(b[2]) for b in kinds if b is not None and b[0] == INPUT_FORWARD)])
        return at

    def looked_up(j: int) -> float:
        return max(end((INPUT_FORWARD, d, j)) for d in devices) + collectives["lookup"]

    def reduced(k: int) -> float:
        return max(end((VOCABULARY, d, k)) for d in devices) + collectives["reduce"]

    def sent(k: int) -> float:
        """When the last device sends X(k), or the gradient of the last loss."""
        if k == 0:
            return end((FORWARD, last, 0))
        with_backward = delay <= k < m + delay - 1
        issuer = (BACKWARD, last, k - delay) if with_backward else (VOCABULARY, last, k)
        return max(free(issuer), reduced(k - 1))

    @cache
    def end(key: Key) -> float:
        kind, device, j = key
        begin = free(key)
        if kind == FORWARD:
            fed = looked_up(j) if device == 0 else end((FORWARD, device - 1, j)) + links[device - 1]
        elif kind == BACKWARD and device < last:
            fed = end((BACKWARD, device + 1, j)) + links[device]
        elif kind == BACKWARD:
            fed = 0.0 if interlaced else reduced(j + delay - 1)
        elif kind == VOCABULARY and interlaced:
            fed = max(free((VOCABULARY, d, j)) for d in devices) + collectives["broadcast"]
        elif kind == VOCABULARY:
            fed = sent(j) + collectives["broadcast"]
        elif kind == INPUT_BACKWARD:
            fed = end((BACKWARD, 0, j)) + collectives["lookup"]
        else:
            fed = 0.0
        return max(begin, fed) + duration(key)

    return {key: end(key) for row in rows for key in row}
