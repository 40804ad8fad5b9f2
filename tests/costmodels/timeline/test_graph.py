from dataclasses import replace

import numpy as np
import pytest

from costmodels.timeline import schedule_order
from costmodels.timeline.graph import dependency_graph


def test_every_operation_is_one_level_above_what_it_waits_for() -> None:
    # Second method: the definition, operation by operation.
    order = schedule_order("interleaved-1f1b", 3, 2, 6)
    graph = dependency_graph(order)
    level = np.empty(order.kind.size + 1, dtype=int)
    level[-1] = -1
    for number, (begin, end) in enumerate(graph.levels):
        level[begin:end] = number
        assert 1 <= end - begin <= order.devices
    assert graph.levels[-1][1] == order.kind.size
    assert (level[:-1] == 1 + np.maximum(level[graph.after], level[graph.fed_by])).all()


def test_devices_that_wait_for_each_other_are_reported() -> None:
    # By hand: stage 0 wants B before F of the same micro-batch, so nothing can start.
    order = schedule_order("gpipe", 2, 1, 1)
    swapped = replace(order, kind=order.kind[:, ::-1])
    with pytest.raises(ValueError, match="4 operations wait for each other"):
        dependency_graph(swapped)
