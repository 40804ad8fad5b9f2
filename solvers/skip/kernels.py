"""The search, compiled: everything here is numbers and arrays."""

import numpy as np

from solvers.compiled import compiled
from solvers.skip.decoder import STUCK, Floats, Ints, decode

MOVES = 10
(
    EXCHANGE_COPY,
    EXCHANGE_STAGE,
    OTHER_COPY,
    OTHER_STAGE,
    TRANSPOSE,
    SHIFT,
    SHIFT_ONE,
    SWAP_OFFSETS,
    WEIGHTS,
    SWAP_NODES,
) = range(MOVES)


def _legal(path: Ints, stage: Ints, forced_last: int, swaps: Ints, seen: Ints, stamp: int) -> bool:
    """Whether the problem's rules allow this path; ``swaps`` (count, furthest, total distance, forward jump)."""
    if stage[path[0]] != 0:
        return False
    if forced_last and stage[path[-1]] != forced_last:
        return False
    frontier, count, distance = 0, 0, 0
    seen[0] = stamp
    for i in range(1, path.shape[0]):
        at = stage[path[i]]
        if seen[at] == stamp:
            return False
        seen[at] = stamp
        if at > frontier:
            if at - frontier > swaps[3]:
                return False
            frontier = at
        else:
            if frontier - at > swaps[1]:
                return False
            count += 1
            distance += frontier - at
    return bool(count <= swaps[0] and distance <= swaps[2])


legal = compiled(_legal)


def _allowed(
    paths: Ints,
    stage: Ints,
    link: Floats,
    forced_last: int,
    swaps: Ints,
    stage_load: Ints,
    visit_load: Ints,
    start_load: Ints,
    waves: int,
) -> bool:
    """Whether a set of paths keeps the rules of each path and the loads of each wave: ``stage_load`` [stages, 2] and
    ``start_load`` [2] least and most, ``visit_load`` [nodes] most."""
    micro, length = paths.shape
    nodes, stages = stage.shape[0], stage_load.shape[0]
    seen = np.zeros(stages, np.int64)
    size = micro // waves
    for wave in range(waves):
        served = np.zeros(stages, np.int64)
        visits = np.zeros(nodes, np.int64)
        for k in range(wave * size, (wave + 1) * size):
            if not legal(paths[k], stage, forced_last, swaps, seen, k + 1):
                return False
            for i in range(length):
                served[stage[paths[k, i]]] += 1
                visits[paths[k, i]] += 1
                if i and link[paths[k, i - 1], paths[k, i]] >= STUCK:
                    return False
        for s in range(stages):
            if served[s] < stage_load[s, 0] or served[s] > stage_load[s, 1]:
                return False
        for n in range(nodes):
            if stage[n] == 0:
                if visits[n] < start_load[0] or visits[n] > start_load[1]:
                    return False
            elif visits[n] > visit_load[n]:
                return False
    return True


allowed = compiled(_allowed)


def _uniform(state: Ints) -> float:
    """Park & Miller (1988), in [0, 1): the same numbers in every thread, compiled or not."""
    state[0] = state[0] * 48271 % 2147483647
    return float(state[0] / 2147483647.0)


uniform = compiled(_uniform)


def _below(state: Ints, count: int) -> int:
    return min(int(uniform(state) * count), count - 1)


below = compiled(_below)


def _replace_stage(path: Ints, at: int, node: int, stage: Ints) -> None:
    """Takes the node at position ``at`` out and puts ``node`` before the first later stage."""
    length = path.shape[0]
    for i in range(at, length - 1):
        path[i] = path[i + 1]
    to = length - 1
    for i in range(1, length - 1):
        if stage[path[i]] > stage[node]:
            to = i
            break
    for i in range(length - 1, to, -1):
        path[i] = path[i - 1]
    path[to] = node


replace_stage = compiled(_replace_stage)


def _change(
    move: int,
    state: Ints,
    paths: Ints,
    stage: Ints,
    offset: Floats,
    detail: Floats,
    weights: Floats,
    waves: int,
    scale: float,
) -> int:
    """Changes the arrays at random; 0: nothing was changed, 1: an order was, 2: paths were, 3: the arrangement."""
    micro, length = paths.shape
    nodes = stage.shape[0]
    a = below(state, micro)
    size = micro // waves
    b = a // size * size + below(state, size)
    i, i2 = below(state, length), below(state, length)
    if move == EXCHANGE_COPY:
        for i2 in range(length):
            if stage[paths[b, i2]] == stage[paths[a, i]]:
                x, y = paths[a, i], paths[b, i2]
                paths[a, i], paths[b, i2] = y, x
                return 2 if x != y else 0
        return 0
    if move == EXCHANGE_STAGE:
        x, y = paths[a, i], paths[b, i2]
        if i == 0 or i2 == 0 or stage[x] == stage[y]:
            return 0
        for p in range(length):
            if stage[paths[b, p]] == stage[x] or stage[paths[a, p]] == stage[y]:
                return 0
        replace_stage(paths[a], i, y, stage)
        replace_stage(paths[b], i2, x, stage)
        return 2
    if move in (OTHER_COPY, OTHER_STAGE):
        y = below(state, nodes)
        if (stage[y] == stage[paths[a, i]]) != (move == OTHER_COPY) or y == paths[a, i]:
            return 0
        if move == OTHER_COPY:
            paths[a, i] = y
            return 2
        if i == 0:
            return 0
        for p in range(length):
            if stage[paths[a, p]] == stage[y]:
                return 0
        replace_stage(paths[a], i, y, stage)
        return 2
    if move == TRANSPOSE:
        if i < 1 or i + 1 >= length:
            return 0
        x = paths[a, i]
        paths[a, i] = paths[a, i + 1]
        paths[a, i + 1] = x
        return 2
    if move == SHIFT:
        offset[a] += scale * (uniform(state) + uniform(state) + uniform(state) - 1.5)
        return 1
    if move == SHIFT_ONE:
        j = below(state, detail.shape[1])
        detail[a, j] += scale * (uniform(state) + uniform(state) + uniform(state) - 1.5)
        return 1
    if move == SWAP_OFFSETS:
        b = below(state, micro)
        x2 = offset[a]
        offset[a] = offset[b]
        offset[b] = x2
        return 1 if a != b else 0
    if move == WEIGHTS:
        which = below(state, 3)
        weights[which] = min(max(weights[which] + 0.5 * (uniform(state) - 0.5), -1.0), 1.0)
        weights[2] = max(weights[2], 0.0)
        return 1
    x, y = below(state, nodes), below(state, nodes)
    if stage[x] == stage[y]:
        return 0
    stage[x], stage[y] = stage[y], stage[x]
    for k in range(micro):
        for p in range(length):
            if paths[k, p] == x:
                paths[k, p] = y
            elif paths[k, p] == y:
                paths[k, p] = x
    return 3


change = compiled(_change)


def _slowest_copy_link(stage: Ints, link: Floats) -> float:
    slowest = 0.0
    for a in range(stage.shape[0]):
        for b in range(stage.shape[0]):
            if stage[a] == stage[b]:
                slowest = max(slowest, link[a, b])
    return slowest


slowest_copy_link = compiled(_slowest_copy_link)


def _estimate(seconds: Floats, link: Floats, cap: Ints, loss: int, paths: Ints, finish: Floats) -> float:
    """The longest that any node must work, or must hold its micro-batches in turns of its cap, each alone on its
    way; ``finish`` becomes their times alone. Sees no waiting: quick, and below every makespan."""
    micro, length = paths.shape
    work = np.zeros(cap.shape[0])
    held = np.zeros(cap.shape[0])
    for k in range(micro):
        last, first = paths[k, length - 1], paths[k, 0]
        stay = 0.0
        if loss:
            stay = link[last, first] + seconds[1, first] + link[first, last]
            work[first] += seconds[1, first]
        for i in range(length - 1, -1, -1):
            n = paths[k, i]
            if i < length - 1:
                stay += link[n, paths[k, i + 1]] + link[paths[k, i + 1], n]
            stay += seconds[0, n] + seconds[2, n]
            work[n] += seconds[0, n] + seconds[2, n]
            held[n] += stay
        finish[k] = stay
    most = 0.0
    for n in range(cap.shape[0]):
        if held[n] > 0:
            most = max(most, max(work[n], held[n] / cap[n] if cap[n] else STUCK))
    return most


estimate = compiled(_estimate)


def _anneal(
    seconds: Floats,
    link: Floats,
    cap: Ints,
    loss: int,
    serial: int,
    forced_last: int,
    swaps: Ints,
    stage_load: Ints,
    visit_load: Ints,
    start_load: Ints,
    waves: int,
    copy_factor: float,
    copy_limit: float,
    chances: Floats,
    state: Ints,
    hot: float,
    cold: float,
    first_step: int,
    last_step: int,
    steps: int,
    scale: float,
    evenness: float,
    quick: int,
    paths: Ints,
    stage: Ints,
    offset: Floats,
    detail: Floats,
    weights: Floats,
    best_paths: Ints,
    best_stage: Ints,
    best_start: Floats,
    values: Floats,
) -> int:
    """Simulated annealing from ``first_step`` to ``last_step`` of ``steps``, the temperature falling from ``hot`` to
    ``cold`` seconds; the number of schedules decoded.

    With ``quick``, the estimate stands for the makespan. Minimises makespan + exchange among copies + ``evenness`` *
    mean end of the micro-batches. The current state (``paths`` ... ``weights``) and ``values`` (its objective, least
    value so far) are kept between calls; the least value's paths, arrangement and starts are left in ``best_...``.
    """
    paths2, stage2, offset2, detail2, weights2 = (
        paths.copy(),
        stage.copy(),
        offset.copy(),
        detail.copy(),
        weights.copy(),
    )
    start = np.zeros(detail.shape)
    finish = np.zeros(paths.shape[0])
    decoded = 0
    for step in range(first_step, last_step):
        kind = 3
        if step:
            draw = uniform(state)
            move = 0
            while move < chances.shape[0] - 1 and draw >= chances[move]:
                move += 1
            kind = change(move, state, paths2, stage2, offset2, detail2, weights2, waves, scale)
            if kind == 0:
                continue
        fine = kind == 1 or allowed(paths2, stage2, link, forced_last, swaps, stage_load, visit_load, start_load, waves)
        copies = 0.0
        if fine and (copy_factor > 0 or copy_limit < STUCK):
            copies = slowest_copy_link(stage2, link)
            fine = copies <= copy_limit
        taken = False
        if fine:
            if quick:
                makespan = estimate(seconds, link, cap, loss, paths2, finish)
            else:
                makespan = decode(seconds, link, cap, loss, serial, paths2, weights2, offset2, detail2, start, finish)
            decoded += 1
            value = makespan + copy_factor * copies
            objective = value + evenness * finish.mean()
            if value < values[1] - 1e-9:
                values[1] = value
                best_paths[:] = paths2
                best_stage[:] = stage2
                best_start[:] = start
            heat = hot * (cold / hot) ** (step / steps)
            taken = makespan < STUCK and (
                objective <= values[0] or uniform(state) < np.exp((values[0] - objective) / heat)
            )
            if taken:
                values[0] = objective
        if taken:
            if kind != 1:
                paths[:] = paths2
                stage[:] = stage2
            offset[:] = offset2
            detail[:] = detail2
            weights[:] = weights2
        else:
            if kind != 1:
                paths2[:] = paths
                stage2[:] = stage
            offset2[:] = offset
            detail2[:] = detail
            weights2[:] = weights
    return decoded


anneal = compiled(_anneal)
