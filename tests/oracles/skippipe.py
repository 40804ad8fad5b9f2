"""SkipPipe's simulator, rewritten from what its published code does (arXiv 2502.19913; ``com_sym.py``).

What differs from ours: after every operation a node pauses, 0.13 s, or 0.09 s behind a first forward pass; a node
looks at its micro-batches in turn within whole seconds, and one that arrives during an operation waits for its end;
micro-batch k of the second wave may not start before that of the first has returned; first forward passes become
available one after another (``starts``), not all at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

ROUNDS = 15
PAUSE = 0.13
PAUSE_AFTER_FIRST = 0.09
LATE = 10_000.0


@dataclass
class _Visit:
    name: int
    path: Sequence[int]
    time: float
    received: float
    state: str
    """F, L or B."""
    done: bool = False


def makespan(
    forward: Sequence[float],
    links: Sequence[Sequence[float]],
    cap: int,
    paths: Sequence[Sequence[int]],
    names: Sequence[int],
    starts: Sequence[float],
    seconds: int = 700,
) -> tuple[float, int]:
    """The last end, and how many micro-batches returned at all, within ``seconds``. ``names``: k + 100 * wave."""
    nodes = len(forward)
    visits: list[list[_Visit]] = [[] for _ in range(nodes)]
    last, room = [0.0] * nodes, [cap] * nodes
    out: list[list[int]] = [[] for _ in range(nodes)]
    ends: dict[int, float] = {}
    for name, path, start in zip(names, paths, starts, strict=True):
        visits[path[0]].append(_Visit(name, path, start, LATE, "F"))

    def run(node: int, visit: _Visit) -> float:
        """The end of the operation; sends its result on."""
        path, at = visit.path, visit.path.index(node)
        ahead: tuple[int, str] | None
        if visit.state == "F":
            room[node] -= 1
            end = visit.time + forward[node]
            ahead = (path[at + 1], "F") if at + 1 < len(path) else (path[0], "L")
            if at + 1 < len(path):
                out[node].append(visit.name)
        elif visit.state == "L":
            end = visit.time + forward[node] / 4
            ahead = (path[-1], "B")
        else:
            room[node] += 1
            end = visit.time + 1.5 * forward[node]
            ahead = (path[at - 1], "B") if at else None
            if not at:
                ends[visit.name] = end
                if visit.name % 100 in out[node]:
                    out[node].remove(visit.name % 100)
        if ahead:
            arrival = end + links[node][ahead[0]]
            visits[ahead[0]].append(_Visit(visit.name, path, arrival, arrival, ahead[1]))
        return end

    def look(node: int, second: int) -> None:
        visits[node].sort(key=lambda v: (v.time, v.received))
        for visit in list(visits[node]):
            if floor(visit.time) != second:
                continue
            if visit.time < last[node]:
                visit.time = last[node]
                continue
            if visit.done:
                continue
            if visit.state == "F" and room[node] <= 0:
                visit.time += 0.1
                continue
            if visit.state == "F" and visit.path[0] == node and visit.name % 100 in out[node]:
                continue
            begin = visit.time
            last[node] = run(node, visit) + (PAUSE_AFTER_FIRST if visit.received > 1000 else PAUSE)
            for other in visits[node]:
                if other.name != visit.name and begin <= other.time < last[node]:
                    other.time = last[node]
            visit.done = True

    for second in range(seconds):
        for _ in range(ROUNDS):
            for node in range(nodes):
                look(node, second)
    return max(ends.values()), len(ends)
