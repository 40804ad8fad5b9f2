"""``schedule.json`` of SkipPipe's executor (its published code, trainer.py and communications/pp_protocol.py).

A node of stage 0 with position r in ``partitions[0]`` starts ``ours-sends`` micro-batches a step, ``memory`` of them
at once and another whenever one has come back; its i-th takes the path of key r x memory + (i mod memory) in
``non-ca-paths`` or ``ca-paths``: ``{node: next}``. Every node holds at most ``memory``
micro-batches, and runs what comes first, first: the planned order is not part of the format. The executor's setting
``non-ca-partial`` reads these paths; newer versions read ``ca-paths`` with one path for each node of stage 0.
"""

import json
from collections import Counter
from itertools import pairwise
from typing import Any

from planner.plan.skip_result import SkipResult

Path = tuple[int, ...]


def refusals(result: SkipResult, memory_cap: tuple[int, ...]) -> list[str]:
    """Everything of the schedule that the format has no word for."""
    if not result.paths:
        return [nothing(result)]
    reasons = []
    if result.profile != "skippipe":
        reasons.append(
            "forced ends: SkipPipe's executor computes the loss on the node of stage 0 that started the micro-batch; "
            "plan with --profile skippipe"
        )
    if len(set(memory_cap)) > 1:
        found = f"{min(memory_cap)} to {max(memory_cap)}"
        reasons.append(f"memory: the executor has one figure for all nodes, here they hold {found} micro-batches")
    if reasons:
        return reasons
    starts = Counter(path[0] for path in result.paths)
    if len({starts[node] for node in result.partitions[0]}) > 1:
        counts = ", ".join(f"node {node}: {starts[node]}" for node in result.partitions[0])
        return [f"ours-sends: every node of stage 0 starts as many micro-batches, here {counts}"]
    for node in result.partitions[0]:
        if _slots(result, node, memory_cap[0]) is None:
            reasons.append(
                f"paths: node {node} repeats the paths of its first {memory_cap[0]} micro-batches until all "
                f"{starts[node]} are sent; its paths here are not alike in every round; plan with waves_alike: true"
            )
    return reasons


def nothing(result: SkipResult) -> str:
    """Why a result without a schedule has no file."""
    return f"there is no schedule: {result.status}"


def write(result: SkipResult, memory_cap: tuple[int, ...]) -> str:
    """The file's text; raises ``RuntimeError`` if it does not read back as the paths."""
    first, memory = result.partitions[0], memory_cap[0]
    sends = len(result.paths) // len(first)
    memory = min(memory, len(result.paths))
    paths: dict[str, dict[str, int]] = {}
    for rank, node in enumerate(first):
        slots = _slots(result, node, memory)
        assert slots is not None
        for slot, path in enumerate(slots):
            paths[str(rank * memory + slot)] = {str(a): b for a, b in pairwise(path)}
    whole = len(result.paths) / min(len(held) for held in result.partitions)
    data: dict[str, Any] = {
        "memory": memory,
        "partitions": [list(held) for held in result.partitions],
        "locations": list(result.nodes),
        "baseline-sends": int(whole) if whole.is_integer() else whole,
        "ours-sends": sends,
        "ca-expected-time": result.fifo_makespan_seconds,
        "ca-paths": paths,
        "non-ca-paths": paths,
    }
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    if Counter(read(text)) != Counter(result.paths):
        raise RuntimeError("skippipe: the file does not read back as the planned paths")
    return text


def read(text: str) -> list[Path]:
    """The path of every micro-batch that the executor starts, as its setting ``non-ca-partial`` looks them up."""
    data = json.loads(text)
    sends, memory = data["ours-sends"], data["memory"]
    found = []
    for rank, node in enumerate(data["partitions"][0]):
        for tag in range(rank * sends, rank * sends + sends):
            hops = data["non-ca-paths"][str(tag // sends * memory + tag % sends % memory)]
            path = [node]
            while str(path[-1]) in hops:
                path.append(hops[str(path[-1])])
            found.append(tuple(path))
    return found


def _slots(result: SkipResult, node: int, memory: int) -> list[Path] | None:
    """The paths that ``node`` repeats, in the order it starts them; None: it does not repeat."""
    own = [path for path in result.paths if path[0] == node]
    width = min(memory, len(own))
    rounds, rest = divmod(len(own), width)
    counts = Counter(own)
    if rest or any(count % rounds for count in counts.values()):
        return None
    slots: list[Path] = []
    for path in dict.fromkeys(own):
        slots += [path] * (counts[path] // rounds)
    return slots
