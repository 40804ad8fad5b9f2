"""The parts together, against one monolithic constraint model that chooses everything at once."""

import numpy as np
import pytest

from costmodels.timeline import any_split_bound, makespan_seconds, schedule_order, stage_load_caps
from solvers.partition import bottleneck_partition
from solvers.search import best_first
from solvers.splits import capped_splits
from tests.oracles.monolithic import Abstract, best_of_all


def turn_costs(c: Abstract) -> np.ndarray:
    """What each item adds to path 2 of the 1F1B bounds, in each stage."""
    forward, load = np.array(c.forward), np.array(c.forward) + c.backward
    hidden = np.minimum(c.stages - 1 - np.arange(c.stages), c.microbatches - 1)
    return (c.microbatches - 1) * load[None, :] - hidden[:, None] * forward[None, :]


def makespans(c: Abstract, splits: np.ndarray) -> np.ndarray:
    f, b = (np.diff(np.concatenate([[0], np.cumsum(x)])[splits]) for x in (c.forward, c.backward))
    return makespan_seconds(schedule_order("1f1b", c.stages, 1, c.microbatches), f, b, np.zeros(c.stages - 1))


def share(c: Abstract) -> float:
    return float((np.array(c.forward) / (np.array(c.forward) + c.backward)).max())


def total(c: Abstract) -> int:
    return sum(c.forward) + sum(c.backward)


def coarse(c: Abstract) -> float:
    return float(any_split_bound(c.stages, c.microbatches, total(c), share(c))) + c.extra


def refined(c: Abstract) -> float:
    return total(c) + bottleneck_partition(turn_costs(c), c.stages).value + c.extra


def evaluated(c: Abstract) -> float:
    """The least makespan of all splits: a good one, then all that its makespan does not exclude."""
    first = bottleneck_partition(turn_costs(c), c.stages).choice
    caps = stage_load_caps(float(makespans(c, first)), c.stages, c.microbatches, total(c), share(c))
    return float(makespans(c, capped_splits(np.array(c.forward) + c.backward, caps)).min()) + c.extra


def instance(seed: int) -> list[Abstract]:
    rng = np.random.default_rng(seed)
    items = int(rng.integers(4, 9))
    return [
        Abstract(
            stages=int(rng.integers(1, 5)),
            microbatches=int(rng.integers(1, 6)),
            forward=rng.integers(1, 9, items).tolist(),
            backward=rng.integers(1, 17, items).tolist(),
            extra=int(rng.integers(0, 40)),
        )
        for _ in range(4)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_search_agrees_with_the_monolithic_model(seed: int) -> None:
    space = instance(seed)
    result = best_first(
        [coarse(c) for c in space],
        lambda chosen: [refined(space[i]) for i in chosen],
        lambda i: evaluated(space[i]),
    )
    objective, _ = best_of_all(space)
    assert result.status == "optimal"
    assert result.value == objective


def test_the_split_with_the_least_bottleneck_can_be_slower() -> None:
    # By hand, p = 2, m = 2: a | bc has the bottleneck 6 and ends at 16; ab | c has 7 and ends at 14,
    # as the first stage hides one forward in its warm-up and the last hides none.
    c = Abstract(stages=2, microbatches=2, forward=[2, 1, 1], backward=[2, 2, 2], extra=0)
    least = bottleneck_partition([4, 3, 3], 2)
    assert (least.value, least.choice.tolist()) == (6, [0, 1, 3])
    assert makespans(c, least.choice) == 16
    assert evaluated(c) == 14 == best_of_all([c])[0]
