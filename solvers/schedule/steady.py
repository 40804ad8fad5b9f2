"""Orders of a steady state: one micro-batch after another in a fixed cycle, some kinds ahead, some behind.

Where every device has one chunk: F of ``ahead`` micro-batches, then I, W and F in turn, W ``behind`` by so many
micro-batches, what is left at the end. With one ahead more for every device further up the pipe, and W
behind by one more for every device further down, that is ZB-H1 (Qi et al., arXiv 2401.10241, figure 2); with
two ahead more it is ZB-H2. Devices wait for their turn, which no list scheduling does: with links that take
time it pays.
"""

from collections.abc import Iterator

from solvers.schedule.graph import OperationGraph, Orders
from solvers.schedule.problem import Kind
from solvers.schedule.schedule import fits, memory_of


def steady_orders(graph: OperationGraph) -> Iterator[Orders]:
    """Those that keep within the caps; none for several chunks a device or a split vocabulary."""
    chunks = [lane.chunk for lane in graph.lanes if lane.kind is Kind.F]
    if len(chunks) != graph.devices or any(lane.chunk < 0 for lane in graph.lanes):
        return
    backward = Kind.I if (Kind.I, 0) in graph.number else Kind.B
    tried = set()
    for more in (1, 2):
        for behind in (0, 1, 2):
            orders: list[tuple[int, ...]] = [()] * graph.devices
            for chunk in chunks:
                ahead = 1 + more * (len(chunks) - 1 - chunk)
                lanes = (graph.number[Kind.F, chunk], graph.number[backward, chunk], graph.number.get((Kind.W, chunk)))
                orders[graph.lanes[lanes[0]].device] = _cycle(graph.microbatches, *lanes, ahead, behind * chunk)
            found = tuple(orders)
            if found not in tried and all(map(fits, memory_of(graph, found), graph.cap)):
                tried.add(found)
                yield found


def _cycle(m: int, forward: int, backward: int, weights: int | None, ahead: int, behind: int) -> tuple[int, ...]:
    order = [forward * m + k for k in range(min(ahead, m))]
    for k in range(m):
        order.append(backward * m + k)
        if weights is not None and k >= behind:
            order.append(weights * m + k - behind)
        if k + ahead < m:
            order.append(forward * m + k + ahead)
    if weights is not None:
        order += [weights * m + k for k in range(max(0, m - behind), m)]
    return tuple(order)
