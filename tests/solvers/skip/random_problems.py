"""Small skip problems drawn at random."""

import numpy as np

from solvers.skip.problem import FORCED_ENDS, Rules, SkipProblem, SwapRules


def random_problem(seed: int) -> SkipProblem:
    """At most 5 stages and 4 micro-batches, of few enough operations to try everything; all rules are drawn."""
    rng = np.random.default_rng(seed)
    stages = int(rng.integers(2, 6))
    length = int(rng.integers(2, min(stages, 4) + 1))
    micro = int(rng.integers(1, {2: 5, 3: 4, 4: 3}[length]))
    sizes = np.ones(stages, dtype=int)
    if stages < 5:
        sizes[rng.integers(0, stages)] += int(rng.integers(0, 2))
    nodes = int(sizes.sum())
    waves = 2 if micro % 2 == 0 and rng.random() < 0.3 else 1
    rules = FORCED_ENDS
    if rng.random() < 0.6:
        rules = Rules(
            swaps=SwapRules(count=int(rng.integers(0, 3)), forward_jump=int(rng.integers(2, 5))),
            balanced_stages=bool(rng.random() < 0.8),
            balanced_starts=bool(rng.random() < 0.8),
            visits_per_wave=bool(rng.random() < 0.3),
        )
    forward = rng.integers(1, 6, nodes)
    links = rng.integers(0, 7, (nodes, nodes)) * 1.0
    if rng.random() < 0.2 and nodes > 3:
        links[0, 1] = np.inf
    np.fill_diagonal(links, 0)
    free = nodes <= 3 and rng.random() < 0.6
    return SkipProblem(
        forward_seconds=tuple(map(float, forward)),
        backward_seconds=tuple(map(float, rng.integers(1, 8, nodes))),
        loss_seconds=tuple(map(float, rng.integers(1, 3, nodes))),
        link_seconds=tuple(tuple(map(float, row)) for row in links),
        memory_cap=tuple(map(int, rng.integers(1, 4, nodes))),
        group_sizes=tuple(map(int, sizes)),
        microbatches=micro,
        path_length=length,
        waves=waves,
        stage_of_node=None if free else tuple(map(int, rng.permutation(np.repeat(np.arange(stages), sizes)))),
        copy_link_factor=float(rng.integers(0, 2)) / 2,
        rules=rules,
    )
