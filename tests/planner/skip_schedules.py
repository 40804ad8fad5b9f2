"""Small partial pipelines, and a slow and obvious first-in-first-out execution of given paths."""

from collections.abc import Sequence
from typing import Any

from planner.plan.skip_result import SkipOperation, SkipResult
from solvers.skip.problem import FORCED_ENDS, SKIPPIPE, SkipProblem

CHAIN: dict[str, Any] = {
    "profile": "forced-ends",
    "fwd_time_s": [2, 1, 3, 1],
    "bwd_time_s": [4, 2, 6, 2],
    "link_time_s": [[0, 1, 2, 3], [1, 0, 1, 2], [2, 1, 0, 1], [3, 2, 1, 0]],
    "memory_per_node": 2,
    "micro_batches": 4,
    "path_length": 3,
}
"""One node a stage; micro-batches run 0, 1 or 2, and 3."""

GROUPS: dict[str, Any] = {
    "nodes": ["Iowa", "LA", "NL", "Japan", "Canada", "Oregon"],
    "group_sizes": [2, 2, 1, 1],
    "fwd_time_s": 2.0,
    "link_time_s": [[0.0 if a == b else 0.5 + abs(a - b) / 4 for b in range(6)] for a in range(6)],
    "memory_per_node": 3,
    "path_length_incl_stage0": 3,
    "micro_batches_per_stage0_node_per_wave": 2,
    "waves": 1,
    "partitions": [[0, 5], [1, 2], [3], [4]],
}
"""SkipPipe's keys, small: stages 1 to 3 serve 8 / 3 micro-batches each, 2 or 3."""


def executed(
    problem: SkipProblem,
    partitions: Sequence[Sequence[int]],
    paths: Sequence[Sequence[int]],
    *,
    profile: str | None = None,
    lower_bound: float = 0.0,
    names: Sequence[str] = (),
) -> SkipResult:
    """The paths run first in, first out, by taking the operation that can start soonest, again and again."""
    first = problem.rules.ends == "first"
    chains = []
    for path in paths:
        loss = [("L", path[0])] if first else []
        chains.append([*(("F", n) for n in path), *loss, *(("B", n) for n in reversed(path))])
    seconds = {
        "F": problem.forward_seconds,
        "L": problem.loss_seconds or (0.0,) * problem.nodes,
        "B": problem.backward_seconds,
    }
    done = [0] * len(paths)
    ready = [0.0] * len(paths)
    free, held, peak = [0.0] * problem.nodes, [0] * problem.nodes, [0] * problem.nodes
    rows: list[list[SkipOperation]] = [[] for _ in range(problem.nodes)]
    while any(done[k] < len(chains[k]) for k in range(len(paths))):
        able = []
        for k, chain in enumerate(chains):
            if done[k] < len(chain):
                op, node = chain[done[k]]
                if op != "F" or held[node] < problem.memory_cap[node]:
                    able.append((max(ready[k], free[node]), ready[k], k))
        start, _, k = min(able)
        op, node = chains[k][done[k]]
        end = start + seconds[op][node]
        rows[node].append(SkipOperation(op=op, microbatch=k, start=start, end=end))
        free[node] = end
        held[node] += op == "F"
        peak[node] = max(peak[node], held[node])
        held[node] -= op == "B"
        done[k] += 1
        if done[k] < len(chains[k]):
            other = chains[k][done[k]][1]
            ready[k] = end + (0.0 if other == node else problem.link_seconds[node][other])
    makespan = max(row[-1].end for row in rows if row)
    return SkipResult(
        name="small",
        profile="skippipe" if (profile or ("skippipe" if first else "forced-ends")) == "skippipe" else "forced-ends",
        status="optimal" if lower_bound == makespan else "feasible",
        stop="exhausted",
        value=makespan,
        lower_bound=lower_bound,
        bound_over="nothing",
        gap=(makespan - lower_bound) / makespan,
        seconds=0.0,
        seed=0,
        nodes=tuple(names) or tuple(map(str, range(problem.nodes))),
        stages=problem.stages,
        micro_batches=len(paths),
        path_length=problem.path_length,
        skip_ratio=1 - problem.path_length / problem.stages,
        partitions=tuple(tuple(held_) for held_ in partitions),
        paths=tuple(tuple(path) for path in paths),
        order=tuple(map(tuple, rows)),
        makespan_seconds=makespan,
        fifo_makespan_seconds=makespan,
        peak_in_flight=tuple(peak),
    )


def chain_problem(**changes: Any) -> SkipProblem:
    given: dict[str, Any] = {
        "forward_seconds": (2.0, 1.0, 3.0, 1.0),
        "backward_seconds": (4.0, 2.0, 6.0, 2.0),
        "link_seconds": tuple(tuple(map(float, row)) for row in CHAIN["link_time_s"]),
        "memory_cap": (2,) * 4,
        "group_sizes": (1,) * 4,
        "microbatches": 4,
        "path_length": 3,
        "stage_of_node": (0, 1, 2, 3),
        "rules": FORCED_ENDS,
    }
    return SkipProblem(**(given | changes))


CHAIN_PATHS = ((0, 1, 3), (0, 2, 3), (0, 1, 3), (0, 2, 3))


def group_problem(**changes: Any) -> SkipProblem:
    given: dict[str, Any] = {
        "forward_seconds": (2.0,) * 6,
        "backward_seconds": (3.0,) * 6,
        "loss_seconds": (0.5,) * 6,
        "link_seconds": tuple(map(tuple, GROUPS["link_time_s"])),
        "memory_cap": (3,) * 6,
        "group_sizes": (2, 2, 1, 1),
        "microbatches": 4,
        "path_length": 3,
        "rules": SKIPPIPE,
    }
    return SkipProblem(**(given | changes))


GROUP_PATHS = ((0, 1, 3), (5, 2, 4), (0, 3, 4), (5, 1, 3))
GROUP_PARTITIONS = ((0, 5), (1, 2), (3,), (4,))
