"""PyTorch's own checks accept every exported schedule and refuse those that cannot run."""

from itertools import pairwise

import pytest

from costmodels.timeline import Order, schedule_order
from planner.exports.torch_csv import schedule_csv
from tests.consumers.orders import CAPPED, V_SHAPE, cells, made, order_from, zb_h1
from tests.consumers.required import need_consumer

need_consumer("torch", "torch")


from torch.distributed.pipelining.schedules import (  # noqa: E402
    SEND_B,
    SEND_F,
    _Action,
    _add_send_recv,
    _validate_schedule,
)

Actions = dict[int, list[_Action]]

ORDERS = {
    "gpipe": schedule_order("gpipe", 4, 1, 6),
    "1f1b": schedule_order("1f1b", 4, 1, 8),
    "1f1b, few micro-batches": schedule_order("1f1b", 8, 1, 3),
    "one stage": schedule_order("1f1b", 1, 1, 4),
    "interleaved": schedule_order("interleaved-1f1b", 4, 3, 12),
    "interleaved, two stages": schedule_order("interleaved-1f1b", 2, 2, 12),
    "zb-h1": schedule_order("zb-h1", 4, 1, 8),
    "zb-h2": schedule_order("zb-h2", 4, 1, 9),
    "zb-v": schedule_order("zb-v", 4, 2, 8),
    "v-half": schedule_order("v-half", 4, 2, 7),
    "v-min": schedule_order("v-min", 6, 2, 12),
    "made under a cap": made(4, 8, 3.0),
    "zb-h1, by hand": order_from(zb_h1(4, 8)),
    "zb-h1, few micro-batches": order_from(zb_h1(6, 3)),
    "v": order_from([cells(line) for line in V_SHAPE]),
    "capped": order_from([cells(line) for line in CAPPED]),
}


def parse(text: str) -> Actions:
    """As ``_load_csv`` reads it."""
    return {rank: [_Action.from_str(cell) for cell in line.split(",")] for rank, line in enumerate(text.splitlines())}


def check(actions: Actions, order: Order) -> Actions:
    """The actions with communication; raises ``AssertionError`` where PyTorch refuses them."""
    mapping = _validate_schedule(actions, order.devices, order.chunks, order.microbatches)
    assert [mapping[chunk] for chunk in range(order.chunks)] == order.device_of_chunk.tolist()
    copied = {rank: list(row) for rank, row in actions.items()}
    return _add_send_recv(copied, lambda chunk: mapping[chunk], order.chunks)


@pytest.mark.parametrize("name", ORDERS)
def test_every_schedule_is_accepted_and_sends_what_it_must(name: str) -> None:
    """One send a micro-batch and direction between neighbouring chunks on different ranks."""
    order = ORDERS[name]
    found = [action.computation_type for row in check(parse(schedule_csv(order)), order).values() for action in row]
    place = order.device_of_chunk.tolist()
    links = sum(a != b for a, b in pairwise(place))
    assert (found.count(SEND_F), found.count(SEND_B)) == (links * order.microbatches, links * order.microbatches)


def test_a_deadlock_is_refused() -> None:
    """The last stage waits for micro-batch 4 before it starts on 0, which holds the first stage up."""
    order = ORDERS["1f1b"]
    actions = parse(schedule_csv(order))
    last = actions[3]
    last.insert(0, last.pop(last.index(_Action.from_str("3F4"))))
    _validate_schedule(actions, 4, 4, 8)  # on each stage alone nothing is wrong
    with pytest.raises(AssertionError, match="Malformed compute schedule"):
        check(actions, order)


@pytest.mark.parametrize(
    ("name", "first", "second", "complaint"),
    [
        ("1f1b", "3F0", "3B0", "without first running Forward"),
        ("zb-h1", "3I0", "3W0", "without first running Backward Input"),
    ],
)
def test_a_swap_on_one_stage_is_refused(name: str, first: str, second: str, complaint: str) -> None:
    order = ORDERS[name]
    actions = parse(schedule_csv(order))
    row = actions[3]
    a, b = row.index(_Action.from_str(first)), row.index(_Action.from_str(second))
    row[a], row[b] = row[b], row[a]
    with pytest.raises(AssertionError, match=complaint):
        check(actions, order)


def test_a_missing_operation_is_refused() -> None:
    order = ORDERS["capped"]
    actions = parse(schedule_csv(order))
    actions[1].remove(_Action.from_str("1W7"))
    with pytest.raises(AssertionError, match="I and W must have equal counts"):
        check(actions, order)
