"""From a configuration to the grid problem of ``solvers.mapping``: what a slower link of each kind adds to its step.

The step is no sum of link times: gradients hide behind the backward pass, hand-overs behind other micro-batches. So
each kind of link is weighed by its own price: the step on even ground whose links of that kind carry ``SLOWER`` times
less, less the step on the even ground, over what that adds to the seconds of a byte.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground, even_ground
from costmodels.ground_step import GroundModel, GroundPrice
from costmodels.hardware import Cluster, Link
from costmodels.host_grid import HostGrid
from costmodels.host_network import HostNetwork
from solvers.mapping.problem import Blocks, GridProblem, SharedLink

SLOWER = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """One configuration under one cut: what its price on any ground is. ``best``: a machine whose links are the best
    that two hosts have."""

    model: Model
    job: Job
    calibration: Calibration
    configuration: Configuration
    boundaries: tuple[int, ...]
    best: Cluster

    def price(self, ground: Ground) -> GroundPrice:
        calibrations = [self.calibration] * len(ground.machines)
        return GroundModel(self.model, self.job, self.configuration, ground, calibrations).price(self.boundaries)

    def seconds(self, ground: Ground) -> float:
        return self.price(ground).step.step_seconds


def grid_problem(mapped: Mapped, network: HostNetwork, grid: HostGrid) -> GridProblem:
    """Rows and columns of hosts, each kind of link by its weight; latencies are left to the price."""
    even = even_ground(mapped.best, mapped.configuration, mapped.job)
    base = mapped.seconds(even)
    slow = _slower(mapped.best.scale_out)
    added = (SLOWER - 1) / (mapped.best.scale_out.bytes_per_second * grid.host_gpus)

    def weight(change: Callable[[Ground], Ground]) -> float:
        return max(0.0, mapped.seconds(change(even)) - base) / added

    edges = weight(lambda g: replace(g, rows=tuple(replace(r, edges=(slow,) * len(r.edges)) for r in g.rows)))
    states = weight(lambda g: replace(g, states=(slow,) * len(g.states)))
    blocks = None
    if grid.group > 1:
        machine = replace(mapped.best, scale_out=slow)
        inside = weight(lambda g: replace(g, machines=(machine,), states=even.states))
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


def _slower(link: Link) -> Link:
    return replace(link, bytes_per_second=link.bytes_per_second / SLOWER)
