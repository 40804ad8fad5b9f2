"""Which families of configurations there are on unlike groups."""

import numpy as np

from costmodels.configuration import Job
from planner.mixed.space import families
from tests.machines import moe_model
from tests.planner.mixed.machines import group, islands


def test_experts_keep_to_the_attentions_groups_where_folding_is_forbidden() -> None:
    """By hand: of all families those whose experts are cut over tp ranks and spread over some of the pipelines of each
    bundle, apart from context parallelism."""
    where, job = islands(group("new", 4), group("old", 4, 0.5)), Job(global_batch=8, sequence_length=4096)
    model = moe_model(layers=3, experts=4)
    pins: dict[str, int | str] = {"recompute": "none", "zero": 1, "mbs": 1}
    free, kept = (families(where, model, job, pins, frozenset(some), frozenset()) for some in ((), ("folding",)))

    def keeps(i: int) -> bool:
        c, each = free.columns.row(i), free.pipelines[i]
        return c.etp == c.tp and (each[each > 0] % c.ep == 0).all() and 1 in (c.cp, c.ep)

    expected = [free.columns.row(i) for i in range(len(free.columns)) if keeps(i)]
    assert sorted(expected) == sorted(kept.columns.row(i) for i in range(len(kept.columns)))
    assert 0 < len(expected) < len(free.columns)
    assert np.any(kept.columns.ep > 1)
