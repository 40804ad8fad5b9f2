"""Columns against the configurations they hold, one by one."""

import numpy as np

from costmodels.columns import Columns
from costmodels.configuration import Configuration

ROWS = [
    Configuration(),
    Configuration(tp=4, sp=1, cp=2, pp=3, vp=2, dp=5, zero=3, ep=8, etp=1, mbs=2, recompute="full"),
    Configuration(tp=2, sp=1, pp=2, dp=6, ep=3, etp=2, mbs=4, recompute="selective"),
    Configuration(tp=4, sp=1, cp=2, dp=7, ep=8, mbs=2),  # the second's layer shards in another pipeline
    Configuration(pp=4, vp=2, schedule="v-half"),
    Configuration(pp=4, vocabulary="vocab-2"),
]


def test_rows_come_back_as_they_went_in() -> None:
    columns = Columns.of(ROWS)
    assert [columns.row(i) for i in range(len(columns))] == ROWS
    assert [columns.take(np.array([2, 0])).row(i) for i in range(2)] == [ROWS[2], ROWS[0]]


def test_derived_degrees_are_those_of_each_configuration() -> None:
    """Second method: ``Configuration``'s own; replicas of dense weights by hand, dp x cp."""
    columns = Columns.of(ROWS)
    assert columns.gpus.tolist() == [row.gpus for row in ROWS] == [1, 120, 24, 56, 4, 4]
    assert columns.expert_replicas.tolist() == [row.edp for row in ROWS] == [1, 5, 2, 7, 1, 1]
    assert columns.dense_replicas.tolist() == [1, 10, 6, 14, 1, 1]
    assert columns.microbatches(240).tolist() == [row.microbatches(240) for row in ROWS] == [240, 24, 10, 17, 240, 240]


def test_configurations_that_cut_layers_alike_share_a_shard() -> None:
    shards, index = Columns.of(ROWS).shards()
    assert len(shards) == 4
    assert index[1] == index[3]
    assert index[0] == index[4]
    for row, which in zip(ROWS, index, strict=True):
        for name in ("tp", "sp", "cp", "ep", "etp", "mbs"):
            assert getattr(shards, name)[which] == getattr(row, name)


def test_no_configurations_make_empty_columns() -> None:
    assert len(Columns.of(ROWS).take(np.array([], dtype=np.int64))) == 0
