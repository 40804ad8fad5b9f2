"""When every operation of a plan's skip schedule runs: each as early as its micro-batch and its stage's order allow."""

from planner.plan.document import Plan
from planner.plan.skip import Skip, read_order
from planner.plan.skip_result import SkipOperation


def link_seconds(plan: Plan) -> tuple[tuple[float, ...], ...]:
    """[stages][stages]: a message to a stage further on takes what the slowest step between takes."""
    sends, size = [stage.send_seconds for stage in plan.stages], len(plan.stages)
    return tuple(tuple(max(sends[min(a, b) : max(a, b)], default=0.0) for b in range(size)) for a in range(size))


def skip_operations(plan: Plan, skip: Skip) -> tuple[tuple[SkipOperation, ...], ...]:
    """[stages] of ``skip``, in its order, by the seconds of the plan's stages. B includes what is recomputed.

    Raises ``ValueError`` where stages wait for each other for ever, or for what never runs.
    """
    links, chunks = link_seconds(plan), [stage.chunks[0] for stage in plan.stages]
    seconds = {
        "F": [chunk.forward_seconds for chunk in chunks],
        "B": [c.recompute_seconds + c.input_grad_seconds + c.weight_grad_seconds for c in chunks],
    }
    paths, orders = skip.path_of(), [read_order(text) for text in skip.order]
    sequence = {k: [*(("F", s) for s in path), *(("B", s) for s in reversed(path))] for k, path in paths.items()}
    ready, done = dict.fromkeys(paths, 0.0), dict.fromkeys(paths, 0)
    free, rows = [0.0] * len(orders), [list[SkipOperation]() for _ in orders]
    pending, moved = set(range(len(orders))), True
    while pending and moved:
        moved = False
        for stage in sorted(pending):
            while len(rows[stage]) < len(orders[stage]):
                op, k = orders[stage][len(rows[stage])]
                if k not in done or done[k] == len(sequence[k]) or sequence[k][done[k]] != (op, stage):
                    break
                start = max(ready[k], free[stage])
                end = start + seconds[op][stage]
                rows[stage].append(SkipOperation(op=op, microbatch=k, start=start, end=end))
                free[stage], done[k], moved = end, done[k] + 1, True
                if done[k] < len(sequence[k]):
                    ready[k] = end + links[stage][sequence[k][done[k]][1]]
            if len(rows[stage]) == len(orders[stage]):
                pending.discard(stage)
    if pending:
        raise ValueError("stages wait for each other for ever, or for what never runs")
    return tuple(map(tuple, rows))
