"""From a configuration to the grid problem of ``solvers.mapping``: what a slower link of each kind adds to its step.

The step is no sum of link times: gradients hide behind the backward pass, hand-overs behind other micro-batches. So
each kind of link is weighed by its own price: the step on even ground whose links of that kind carry ``SLOWER`` times
less, less the step on the even ground, over what that adds to the seconds of a byte.
"""

from collections.abc import Callable
from dataclasses import replace

from costmodels.ground import Ground
from costmodels.host_grid import HostGrid
from costmodels.host_network import HostNetwork
from solvers.mapping.problem import Blocks, GridProblem, SharedLink

SLOWER = 2.0


def grid_problem(even: Ground, seconds: Callable[[Ground], float], network: HostNetwork, grid: HostGrid) -> GridProblem:
    """Rows and columns of hosts, each kind of link by its weight; latencies are left to the price. ``seconds``: the
    step on a ground; ``even``: that of the one machine whose links are the best that two hosts have."""
    machine = even.machines[0]
    best = machine.scale_out
    slow = replace(best, bytes_per_second=best.bytes_per_second / SLOWER)
    base, added = seconds(even), (SLOWER - 1) / (best.bytes_per_second * grid.host_gpus)

    def weight(slower: Ground) -> float:
        return max(0.0, seconds(slower) - base) / added

    edges = weight(replace(even, rows=tuple(replace(row, edges=(slow,) * len(row.edges)) for row in even.rows)))
    states = weight(replace(even, states=(slow,) * len(even.states)))
    blocks = None
    if grid.group > 1:
        inside = weight(replace(even, machines=(replace(machine, scale_out=slow),)))
        links = grid.group - 1 if grid.exchanges else 1
        blocks = Blocks(
            size=grid.group,
            bytes_per_column=(inside / grid.columns / links,) * grid.columns,
            kind="all-to-all" if grid.exchanges else "ring",
        )
    crossings = grid.columns - 1
    return GridProblem(
        rows=grid.rows,
        columns=grid.columns,
        bandwidth=network.bandwidth,
        edge_bytes=(edges / crossings,) * crossings if crossings else (),
        ring_bytes=(states,) * grid.columns,
        counted=(True,) * grid.columns,
        blocks=blocks,
        shared=tuple(
            SharedLink(members=tuple(mask.nonzero()[0].tolist()), bytes_per_second=capacity)
            for mask, capacity in zip(network.members, network.capacities.tolist(), strict=True)
        ),
    )
