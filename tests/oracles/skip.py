"""Skip schedules the slow and obvious way: one checker, one first-in-first-out execution, one exhaustive search.

Written from the problem's statement alone: nothing here uses the solver's decoder, programme or bounds.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, pairwise, permutations, product

from solvers.skip.problem import Kind, SkipProblem

EPSILON = 1e-7


def broken_rules(
    problem: SkipProblem,
    stage_of_node: Sequence[int],
    paths: Sequence[Sequence[int]],
    operations: Sequence[Sequence[tuple[Kind, int, float, float]]],
) -> list[str]:
    """What is wrong with a schedule: rows of (kind, micro-batch, start, end) per node."""
    found = []
    if sorted(stage_of_node) != sorted(s for s, size in enumerate(problem.group_sizes) for _ in range(size)):
        found.append("arrangement")
    found += [f"path of {k}" for k, path in enumerate(paths) if not _legal(problem, [stage_of_node[n] for n in path])]
    for wave in range(problem.waves):
        size = problem.microbatches // problem.waves
        inside = paths[wave * size : (wave + 1) * size]
        for stage in range(problem.stages):
            count = sum(stage_of_node[n] == stage for path in inside for n in path)
            low, high = problem.stage_load(stage)
            if not low <= count <= high:
                found.append(f"wave {wave}: stage {stage} serves {count}")
        for node in range(problem.nodes):
            count = sum(node in path for path in inside)
            low, high = problem.start_load()
            if stage_of_node[node] == 0 and not low <= count <= high:
                found.append(f"wave {wave}: node {node} starts {count}")
            if stage_of_node[node] and problem.rules.visits_per_wave and count > problem.memory_cap[node]:
                found.append(f"wave {wave}: node {node} is visited {count} times")
    times = {}
    for node, row in enumerate(operations):
        for kind, k, start, end in row:
            times[kind, k, node] = (start, end)
            if abs(end - start - problem.seconds(kind, node)) > EPSILON:
                found.append(f"length of {kind.name}{k} on {node}")
        ordered = sorted(row, key=lambda o: (o[2], o[3]))
        for one, other in pairwise(ordered):
            if other[2] < one[3] - EPSILON:
                found.append(f"overlap on node {node} at {other[2]}")
    wanted = {(kind, k, node) for k, path in enumerate(paths) for kind, node in problem.sequence(path)}
    if set(times) != wanted:
        return [*found, "operations missing or too many"]
    for k, path in enumerate(paths):
        sequence = problem.sequence(path)
        for (kind, a), (following, b) in pairwise(sequence):
            if times[following, k, b][0] < times[kind, k, a][1] + problem.link_seconds[a][b] - EPSILON:
                found.append(f"{following.name}{k} on {b} before its message")
    for node in range(problem.nodes):
        # what is alive at an instant: starts that are not past their end, at the start of every forward pass
        stays = [(times[Kind.F, k, node][0], times[Kind.B, k, node][1]) for k, path in enumerate(paths) if node in path]
        for instant, _ in stays:
            alive = sum(begin <= instant + EPSILON and end > instant + EPSILON for begin, end in stays)
            if alive > problem.memory_cap[node]:
                found.append(f"node {node} keeps {alive} at {instant}")
    return found


def _legal(problem: SkipProblem, stages: list[int]) -> bool:
    swaps = problem.rules.swaps
    both = problem.rules.ends == "both"
    if len(stages) != problem.path_length or len(set(stages)) < len(stages) or stages[0] != 0:
        return False
    if both and stages[-1] != problem.stages - 1:
        return False
    behind, jumps = [], []
    for at in range(1, len(stages)):
        frontier = max(stages[:at])
        (behind if stages[at] < frontier else jumps).append(abs(stages[at] - frontier))
    return (
        len(behind) <= swaps.count
        and max(behind, default=0) <= swaps.furthest
        and sum(behind) <= swaps.total_distance
        and (swaps.forward_jump is None or max(jumps, default=0) <= swaps.forward_jump)
    )


def legal_paths(problem: SkipProblem, stage_of_node: Sequence[int]) -> list[tuple[int, ...]]:
    """Every legal path, found among all sequences of nodes."""
    return [
        path
        for path in permutations(range(problem.nodes), problem.path_length)
        if _legal(problem, [stage_of_node[n] for n in path])
        and all(math.isfinite(problem.link_seconds[a][b]) for a, b in pairwise(path))
    ]


def arrangements(problem: SkipProblem) -> Iterator[tuple[int, ...]]:
    if problem.stage_of_node is not None:
        yield problem.stage_of_node
        return
    yield from sorted(set(permutations(s for s, size in enumerate(problem.group_sizes) for _ in range(size))))


def path_sets(problem: SkipProblem, stage_of_node: Sequence[int]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every set of paths that keeps the loads; micro-batches of a wave are alike, so their paths are sorted."""
    size = problem.microbatches // problem.waves
    wave_sets = list(combinations_with_replacement(legal_paths(problem, stage_of_node), size))
    for waves in product(wave_sets, repeat=problem.waves):
        rows = tuple(path for wave in waves for path in wave)
        broken = broken_rules(problem, stage_of_node, rows, [[] for _ in range(problem.nodes)])
        if broken == ["operations missing or too many"]:
            yield rows


def least_makespan(problem: SkipProblem, paths: Sequence[Sequence[int]], best: float = math.inf) -> float:
    """Over all orders, by placing operations one by one in every possible sequence; ``best``: none is below it.

    A state is what is done; of two ways there, one whose nodes are free and whose messages are there no later than
    the other's is enough.
    """
    sequences = [problem.sequence(path) for path in paths]
    n_of = [len(sequence) for sequence in sequences]
    tails = []
    for sequence in sequences:
        row = [0.0] * len(sequence)
        for j in range(len(sequence) - 1, -1, -1):
            kind, node = sequence[j]
            later = row[j + 1] + problem.link_seconds[node][sequence[j + 1][1]] if j + 1 < len(sequence) else 0.0
            row[j] = problem.seconds(kind, node) + later
        tails.append(row)
    begin = tuple(0 for _ in paths)
    layer: dict[tuple[int, ...], list[tuple[tuple[float, ...], tuple[float, ...]]]] = {
        begin: [((0.0,) * len(paths), (0.0,) * problem.nodes)]
    }
    for _ in range(sum(n_of)):
        following: dict[tuple[int, ...], list[tuple[tuple[float, ...], tuple[float, ...]]]] = {}
        for done, labels in layer.items():
            for k, sequence in enumerate(sequences):
                j = done[k]
                if j == n_of[k]:
                    continue
                # alike micro-batches of the same path begin in their order
                if j == 0 and any(done[other] == 0 and paths[other] == paths[k] for other in range(k)):
                    continue
                kind, node = sequence[j]
                if kind is Kind.F:
                    alive = sum(
                        node in paths[other]
                        and done[other] > sequences[other].index((Kind.F, node))
                        and done[other] <= sequences[other].index((Kind.B, node))
                        for other in range(len(paths))
                    )
                    if alive >= problem.memory_cap[node]:
                        continue
                after = (*done[:k], j + 1, *done[k + 1 :])
                for ready, free in labels:
                    start = max(ready[k], free[node])
                    if start + tails[k][j] >= best:
                        continue
                    end = start + problem.seconds(kind, node)
                    link = problem.link_seconds[node][sequence[j + 1][1]] if j + 1 < n_of[k] else 0.0
                    times = (*ready[:k], end + link, *ready[k + 1 :])
                    frees = (*free[:node], end, *free[node + 1 :])
                    if all(after[other] == n_of[other] for other in range(len(paths))):
                        best = min(best, max(frees))
                        continue
                    _keep(following.setdefault(after, []), times, frees)
        layer = following
    return best


def _keep(
    labels: list[tuple[tuple[float, ...], tuple[float, ...]]], times: tuple[float, ...], frees: tuple[float, ...]
) -> None:
    new = times + frees
    for one, other in labels:
        if all(a <= b for a, b in zip(one + other, new, strict=True)):
            return
    labels[:] = [
        (one, other) for one, other in labels if not all(b <= a for a, b in zip(one + other, new, strict=True))
    ]
    labels.append((times, frees))


def least_value(problem: SkipProblem) -> float:
    """Over all arrangements, paths and orders; inf: there is none."""
    best = math.inf
    for stage_of_node in arrangements(problem):
        copies = problem.copy_link_seconds(stage_of_node)
        if copies > problem.copy_link_limit_seconds:
            continue
        for paths in path_sets(problem, stage_of_node):
            copy_seconds = problem.copy_link_factor * copies
            best = min(best, least_makespan(problem, paths, best - copy_seconds) + copy_seconds)
    return best


def first_in_first_out(problem: SkipProblem, paths: Sequence[Sequence[int]]) -> float:
    """The makespan of first-in-first-out execution: time advances from event to event, at each every free node
    takes what arrived first. inf: nodes wait for each other for ever."""
    sequences = [problem.sequence(path) for path in paths]
    waiting = [(0.0, k, 0) for k in range(len(paths))]
    """(arrival, micro-batch, operation)"""
    free = [0.0] * problem.nodes
    link_free = [0.0] * problem.nodes
    alive = [0] * problem.nodes
    now = makespan = 0.0
    while waiting:
        started = False
        for node in range(problem.nodes):
            if free[node] > now:
                continue
            able = [
                (arrival, k, j)
                for arrival, k, j in waiting
                if sequences[k][j][1] == node
                and arrival <= now
                and (sequences[k][j][0] is not Kind.F or alive[node] < problem.memory_cap[node])
            ]
            if not able:
                continue
            arrival, k, j = min(able)
            kind = sequences[k][j][0]
            waiting.remove((arrival, k, j))
            end = now + problem.seconds(kind, node)
            free[node], makespan, started = end, max(makespan, end), True
            alive[node] += (kind is Kind.F) - (kind is Kind.B)
            if j + 1 < len(sequences[k]):
                other = sequences[k][j + 1][1]
                sent = end
                if other != node:
                    sent = (max(end, link_free[node]) if problem.rules.serial_links else end) + (
                        problem.link_seconds[node][other]
                    )
                    link_free[node] = sent
                waiting.append((sent, k, j + 1))
        if not started:
            events = [t for t in (*free, *(arrival for arrival, _, _ in waiting)) if t > now]
            if not events:
                return math.inf
            now = min(events)
    return makespan
