"""Prices of candidates whose hosts are yet to be placed: bounds over every order of them, values with the best found.

Bounds are of a cluster whose every link is as good as the best between two hosts: no order of the hosts is below them.
A candidate's value is of the cut that is best there, its hosts placed by ``solvers.mapping`` and priced on the ground
that they make.
"""

from dataclasses import dataclass, replace

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground, even_ground
from costmodels.ground_step import GroundModel, GroundPrice
from costmodels.hardware import Cluster, Link
from costmodels.host_grid import host_grid
from costmodels.host_ground import Order, ground_on_hosts
from costmodels.host_network import HostNetwork
from costmodels.price import StepPrice
from costmodels.step import StepModel
from costmodels.step_price import price_cut
from planner.cut_by_rule import Cut
from planner.hosts.problem import grid_problem
from planner.partition import Partition
from planner.plan.ground import PlanGround
from planner.pricing import Pricing
from planner.space import IllegalConfiguration
from solvers.mapping.solve import solve_mapping
from solvers.search import Evaluated

MOST_HOSTS = 4096
"""Whose links are looked at pair by pair: a matrix of 128 MB."""

QUICK_SECONDS = 0.5
"""Spent on the order of one candidate's hosts during the search."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """Hosts of a candidate in ``order`` [rows, columns] of its grid, the ground they make and the step there;
    ``listed_seconds``: the step with the hosts as the cluster lists them."""

    order: Order
    ground: Ground
    price: GroundPrice
    listed_seconds: float

    def hosts(self, network: HostNetwork) -> tuple[str, ...]:
        """Names of the nodes in the order of ranks."""
        return tuple(name for host in self.order.T.ravel().tolist() for name in network.names[host])


def unlike_links(cluster: Cluster) -> HostNetwork | None:
    """The links between hosts where it matters which host holds which ranks, and can be looked at; else None."""
    if cluster.topology is None or cluster.nodes > MOST_HOSTS:
        return None
    network = HostNetwork.of(cluster)
    return None if network.even() else network


def check_placeable(configuration: Configuration) -> None:
    """Raise ``IllegalConfiguration`` for what is priced on equal links alone."""
    found = []
    if configuration.vocabulary != "whole":
        named = f"vocabulary={configuration.vocabulary}"
        found.append(f"{named} is priced on equal links alone, and here they differ; leave it whole")
    if configuration.schedule == "best":
        found.append("schedule=best makes orders for equal links alone, and here they differ; pin a named schedule")
    if found:
        raise IllegalConfiguration(found)


def at_best(cluster: Cluster, network: HostNetwork) -> Cluster:
    """The cluster if every two hosts were joined as well as the best joined two are."""
    apart = ~np.eye(len(network.bandwidth), dtype=np.bool_)
    link = Link(
        bytes_per_second=float(network.bandwidth[apart].max()) / network.host_gpus,
        latency_seconds=float(network.latency[apart].min()),
    )
    return replace(cluster, scale_out=link, topology=None)


class HostPricing(Pricing):
    """Prices of every candidate in ``columns`` with its hosts placed on ``network``, that of the cluster."""

    def __init__(
        self,
        cluster: Cluster,
        model: Model,
        job: Job,
        calibration: Calibration,
        columns: Columns,
        network: HostNetwork,
    ) -> None:
        self.network = network
        self.job, self.calibration = job, calibration
        super().__init__(at_best(cluster, network), model, job, calibration, columns)
        self.real = cluster
        self.placed: dict[int, Placed] = {}

    def evaluate(self, index: int) -> Evaluated:
        """The step with the candidate's hosts placed, and what no order of them under any cut is below."""
        cut = self.cut(index)
        if cut.boundaries is None:
            return Evaluated(float("inf"), float("inf"))
        at_best = super().price(index).step_seconds
        self._place(index, QUICK_SECONDS, seed=0)
        return self._noted(index, self.price(index).step_seconds, min(at_best, cut.lower_bound))

    def price(self, index: int) -> StepPrice:
        """Of the slowest row of the candidate's pipelines, its hosts placed; where its groups straddle hosts, as though
        every link were as slow as the slowest."""
        if index in self.placed:
            return self.placed[index].price.step
        step = StepModel(self.model, self.real, self.job, self.calibration, self.columns.take(np.array([index])))
        return price_cut(step, 0, self.boundaries(index))

    def place(self, index: int, boundaries: tuple[int, ...]) -> None:
        """Place the hosts of a candidate cut at ``boundaries``."""
        self.cuts[index] = Cut(boundaries=boundaries)
        self._place(index, QUICK_SECONDS, seed=0)

    def settle(self, index: int, seconds: float, seed: int) -> None:
        """Look for a better order of the candidate's hosts for ``seconds``, and then for the cut that is best on their
        ground."""
        self._place(index, seconds, seed)
        if index not in self.placed or not self.exact[index]:
            return
        partition = Partition.on(self._model(index, self.placed[index].ground))
        found = partition.solve()
        if found.choice is not None and found.value < self.placed[index].price.step.step_seconds * (1 - 1e-9):
            self.cuts[index] = replace(self.cuts[index], boundaries=partition.boundaries(found.choice))
            self._place(index, 0.0, seed)

    def ground(self, index: int) -> PlanGround | None:
        """What a plan says of the candidate's ground; None where its groups straddle hosts."""
        placed = self.placed.get(index)
        if placed is None:
            return None
        found = PlanGround.of("links", placed.ground, placed.price, [self.calibration] * len(placed.ground.machines))
        return found.model_copy(update={"listed_seconds": placed.listed_seconds})

    def hosts(self, index: int) -> tuple[str, ...] | None:
        """Names of the nodes in the order of ranks; None where the candidate's groups straddle hosts."""
        return self.placed[index].hosts(self.network) if index in self.placed else None

    def _model(self, index: int, ground: Ground) -> GroundModel:
        calibrations = [self.calibration] * len(ground.machines)
        return GroundModel(self.model, self.job, self.configuration(index), ground, calibrations)

    def _place(self, index: int, seconds: float, seed: int) -> None:
        """Of the order found within ``seconds``, the one there was and the cluster's own, the one of the least step.
        Nothing where the candidate's groups straddle hosts."""
        configuration = self.configuration(index)
        grid = host_grid(configuration, self.network.host_gpus)
        if grid is None:
            return

        def priced(ground: Ground) -> GroundPrice:
            return self._model(index, ground).price(self.boundaries(index))

        listed = np.arange(grid.rows * grid.columns, dtype=np.int64).reshape(grid.columns, grid.rows).T
        orders = [listed]
        if index in self.placed:
            orders.append(self.placed[index].order)
        if seconds > 0:
            even = even_ground(self.cluster, configuration, self.job)
            problem = grid_problem(even, lambda ground: priced(ground).step.step_seconds, self.network, grid)
            found = solve_mapping(problem, time_limit_seconds=seconds, seed=seed)
            if found.choice is not None:
                orders.append(found.choice)
        grounds = [ground_on_hosts(self.real, self.network, configuration, self.job, grid, order) for order in orders]
        prices = [priced(ground) for ground in grounds]
        best = min(range(len(orders)), key=lambda i: prices[i].step.step_seconds)
        self.placed[index] = Placed(
            order=orders[best],
            ground=grounds[best],
            price=prices[best],
            listed_seconds=prices[0].step.step_seconds,
        )
