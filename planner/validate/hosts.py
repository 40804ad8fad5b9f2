"""The hosts of a plan against the cluster it shall run on: whether its links are those of the plan's ground."""

import numpy as np

from costmodels.hardware import Cluster
from costmodels.host_grid import host_grid
from costmodels.host_ground import ground_on_hosts
from costmodels.host_network import HostNetwork
from planner.plan import Plan
from planner.plan.mapping import host_names
from planner.validate.findings import Report


def check_links(plan: Plan, cluster: Cluster, report: Report) -> None:
    """Every edge, ring and exchange of the ground derived again from ``cluster``'s topology and the order of hosts."""
    section, names = plan.ground, host_names(plan)
    if section is None or section.kind != "links" or cluster.topology is None:
        return
    network = HostNetwork.of(cluster)
    grid = host_grid(plan.configuration(), network.host_gpus)
    known = {name: (host, place) for host, own in enumerate(network.names) for place, name in enumerate(own)}
    size = len(network.names[0])
    if grid is None or names is None or not known.keys() >= set(names) or len(names) != len(known):
        report.add("hosts", "/ranks/hosts", "are the nodes of the cluster, each once")
        return
    placed = [known[name] for name in names]
    whole = all(place == k % size and host == placed[k - k % size][0] for k, (host, place) in enumerate(placed))
    if not whole:
        report.add("hosts", "/ranks/hosts", "keep the nodes of an NVLink domain together and in their order")
        return
    order = np.array([host for host, _ in placed[::size]]).reshape(grid.columns, grid.rows).T
    found = ground_on_hosts(cluster, network, plan.configuration(), plan.job(), grid, order)
    for name in ("rows", "states"):
        report.same(
            "hosts.links", f"/ground/{name}", getattr(section, name), getattr(found, name), "the cluster's own links"
        )
    machines = section.ground().machines
    own = [machine.scale_out for machine in found.machines]
    report.same(
        "hosts.links", "/ground/machines", [machine.scale_out for machine in machines], own, "the cluster's own"
    )
