"""The ground of a plan on unlike groups of nodes against the cluster it shall run on."""

from collections import Counter
from itertools import groupby

from planner.mixed.ground import Lane, ground_of
from planner.mixed.islands import Islands
from planner.plan import Plan
from planner.plan.cluster import ClusterInput
from planner.plan.ground import PlanGround
from planner.plan.mapping import host_names
from planner.validate.findings import Report


def check_groups(plan: Plan, islands: Islands, report: Report) -> None:
    """Where each stage stands, by its hosts where they are named, and its machine, edges and ring derived again from
    the groups of nodes and what joins them. The structure of the plan and of its ground must already hold."""
    section = plan.ground
    if section is None or section.kind != "groups":
        report.add("cluster", "/ground", "the cluster has unlike groups of nodes, the plan is for equal ones")
        return
    numbers = {group.name: number for number, group in enumerate(islands.groups)}
    for index, machine in enumerate(section.machines):
        said = f"is no group of nodes of the cluster, which has {', '.join(numbers)}"
        report.require(machine.name in numbers, "groups", f"/ground/machines/{index}/name", said, machine.name)
    if any(machine.name not in numbers for machine in section.machines):
        return
    group_of = [numbers[machine.name] for machine in section.machines]
    lanes = [
        Lane(
            chain=tuple((group, len([*own])) for group, own in groupby(group_of[k] for k in row.machines)),
            pipelines=row.replicas,
            microbatches=row.microbatches,
        )
        for row in section.rows
    ]
    _check_links(plan, section, islands, lanes, report)
    _check_hosts(plan, islands, lanes, report)


def _check_links(plan: Plan, section: PlanGround, islands: Islands, lanes: list[Lane], report: Report) -> None:
    found = ground_of(islands, plan.configuration(), lanes)
    for name in ("rows", "states"):
        own, derived = getattr(section, name), getattr(found, name)
        report.same("groups.links", f"/ground/{name}", own, derived, "the cluster's own links")
    derived_machines = tuple(ClusterInput.of(machine) for machine in found.machines)
    report.same("groups.machines", "/ground/machines", section.machines, derived_machines, "the cluster's own nodes")


def _check_hosts(plan: Plan, islands: Islands, lanes: list[Lane], report: Report) -> None:
    """No group holds more GPUs than it has, and every host is of the group that its ranks' stages stand on."""
    configuration, names = plan.configuration(), host_names(plan)
    width = configuration.tp * configuration.cp
    standing = [
        (lane.groups[stage], width * lane.pipelines) for stage in range(configuration.pp) for lane in lanes
    ]  # of ranks in their order
    held = Counter[int]()
    for group, gpus in standing:
        held[group] += gpus
    for group, gpus in sorted(held.items()):
        most = islands.groups[group].gpus
        said = f"{islands.groups[group].name} has {most} GPUs, the plan puts {gpus} ranks there"
        report.require(gpus <= most, "groups.room", "/ground/rows", said, gpus)
    if names is None or not islands.nodes:
        return
    home = {name: group for group, nodes in enumerate(islands.nodes) for name in nodes}
    if not home.keys() >= set(names) or len(set(names)) != len(names):
        report.add("groups.hosts", "/ranks/hosts", "are nodes of the cluster, each once")
        return
    wanted = [group for group, gpus in standing for _ in range(gpus)]
    per_node = islands.gpus_per_node
    wrong = [name for k, name in enumerate(names) if {*wanted[k * per_node : (k + 1) * per_node]} != {home[name]}]
    report.require(
        not wrong, "groups.hosts", "/ranks/hosts", "are of the group that their stages stand on", ", ".join(wrong[:3])
    )
