"""Bundles of groups laid on the machines: which stage stands where, and over which links.

Inside a group, edges between stages and gradients use the group's own network. Across groups an edge uses the trunk
between them, shared by all GPUs of the stage, which send at once. Gradients of bundles side by side go round one ring
for each tensor rank of each stage, through as many cards at once as a domain has ranks of the ring; the slowest trunk
or network between two of the stage's groups holds all of it up.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from costmodels.configuration import Configuration
from costmodels.ground import Ground, PipelineRow
from costmodels.hardware import Link
from planner.mixed.islands import Islands


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A bundle: ``pipelines`` alike pipelines of ``microbatches`` a step. ``chain``: groups in the order of the
    pipeline, with how many stages stand on each."""

    chain: tuple[tuple[int, int], ...]
    pipelines: int
    microbatches: int

    @property
    def groups(self) -> tuple[int, ...]:
        """[stages]: the group that each stands on."""
        return tuple(group for group, stages in self.chain for _ in range(stages))


def groups_used(lanes: Sequence[Lane]) -> tuple[int, ...]:
    """Groups that take part, in their own order."""
    return tuple(sorted({group for lane in lanes for group, _ in lane.chain}))


def ground_of(islands: Islands, configuration: Configuration, lanes: Sequence[Lane]) -> Ground:
    """What ``configuration`` stands on; its machines are ``groups_used``, each with the nodes of the whole job."""
    used = groups_used(lanes)
    nodes = -(-configuration.gpus // islands.gpus_per_node)
    return Ground(
        machines=tuple(islands.groups[g].resized(nodes) for g in used),
        states=tuple(_state_link(islands, configuration, lanes, stage) for stage in range(configuration.pp)),
        rows=tuple(
            PipelineRow(
                replicas=lane.pipelines,
                microbatches=lane.microbatches,
                machines=tuple(used.index(g) for g in lane.groups),
                edges=tuple(_edge(islands, configuration, lane, *pair) for pair in pairwise(lane.groups)),
            )
            for lane in lanes
        ),
    )


def _edge(islands: Islands, configuration: Configuration, lane: Lane, here: int, there: int) -> Link:
    return link_between(islands, here, there, configuration.tp * configuration.cp * lane.pipelines)


def link_between(islands: Islands, here: int, there: int, senders: int) -> Link:
    """One GPU's share of the network of a group, or of the trunk between two while ``senders`` use it."""
    return islands.groups[here].scale_out if here == there else islands.trunk(here, there).share(senders)


def _state_link(islands: Islands, configuration: Configuration, lanes: Sequence[Lane], stage: int) -> Link:
    groups = {lane.groups[stage] for lane in lanes}
    return ring_link(islands, configuration, groups, max(lane.pipelines for lane in lanes))


def ring_link(islands: Islands, configuration: Configuration, groups: Collection[int], replicas: int) -> Link:
    """What holds up a ring through ``groups``: of all stages' rings as many ranks send at once as share a domain, where
    ``replicas`` of a stage are on one group at the most."""
    domain = max(islands.groups[g].domain_gpus for g in groups)
    inside = min(configuration.cp * replicas, max(1, domain // configuration.tp))
    links = [islands.groups[g].scale_out for g in groups]
    for a, b in combinations(sorted(groups), 2):
        links.append(islands.trunk(a, b).share(configuration.tp * configuration.pp * inside))
    return Link(
        bytes_per_second=min(link.bytes_per_second for link in links),
        latency_seconds=max(link.latency_seconds for link in links),
    )
