"""SkipPipe's published schedule inside an instance: paths as it writes them, and its own figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATHS = {"ca-paths": "ca-expected-time", "non-ca-paths": "nonca-expected-time", "random-paths": "random-expected-time"}
"""Paths with and without collision avoidance and at random, and where their times stand."""

FULL = "baseline-expected-time"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSchedule:
    """``paths`` by name: [micro-batches of a wave], each the nodes in order; ``seconds`` by name of SkipPipe's own
    simulator, of every wave. ``full_seconds`` is its full pipeline's."""

    stage_of_node: tuple[int, ...] | None
    paths: Mapping[str, tuple[tuple[int, ...], ...]]
    seconds: Mapping[str, float]
    full_seconds: float | None


def published_schedule(
    found: Mapping[str, object], partitions: Sequence[Sequence[int]] | None, nodes: int
) -> PublishedSchedule:
    """``{"ca-paths": {micro-batch: {node: next}}, "ca-expected-time": seconds, ...}``; what is absent is left out.

    Raises ``ValueError`` where a path is no path of the nodes.
    """
    stage_of_node = None
    if partitions is not None and sorted(node for held in partitions for node in held) == list(range(nodes)):
        stages = {node: stage for stage, held in enumerate(partitions) for node in held}
        stage_of_node = tuple(stages[node] for node in range(nodes))
    paths = {name: _paths(name, found[name], nodes) for name in PATHS if name in found}
    seconds = {
        name: float(value)
        for name, key in PATHS.items()
        if isinstance(value := found.get(key), int | float) and name in paths
    }
    full = found.get(FULL)
    return PublishedSchedule(
        stage_of_node=stage_of_node,
        paths=paths,
        seconds=seconds,
        full_seconds=float(full) if isinstance(full, int | float) else None,
    )


def _paths(name: str, value: object, nodes: int) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: must be a mapping of micro-batches to their hops")
    numbers = sorted((_number(key, f"{name}: micro-batch"), hops) for key, hops in value.items())
    if [k for k, _ in numbers] != list(range(len(numbers))):
        raise ValueError(f"{name}: micro-batches must be numbered from 0 without a gap")
    return tuple(_path(f"{name}.{k}", hops, nodes) for k, hops in numbers)


def _path(place: str, hops: object, nodes: int) -> tuple[int, ...]:
    """``{"0": 8, "8": 14}`` is 0, 8, 14: it starts on the only node that none leads to."""
    if not isinstance(hops, Mapping) or not hops:
        raise ValueError(f"{place}: must be a mapping of nodes to the next")
    following = {_number(a, place): _number(b, place) for a, b in hops.items()}
    starts = set(following) - set(following.values())
    if len(starts) != 1:
        raise ValueError(f"{place}: {len(starts)} nodes start it: a path has one")
    path = [starts.pop()]
    while path[-1] in following and len(path) <= len(following):
        path.append(following[path[-1]])
    if len(path) != len(following) + 1 or not all(0 <= node < nodes for node in path):
        raise ValueError(f"{place}: is no path of the nodes 0 to {nodes - 1}")
    return tuple(path)


def _number(value: object, place: str) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise ValueError(f"{place}: {value!r} is no number") from None
