"""Which node holds which ranks of a plan on unlike groups: what launchers need to put it there."""

from collections.abc import Sequence

from costmodels.configuration import Configuration
from planner.mixed.ground import Lane
from planner.mixed.islands import Islands


def hosts_in_rank_order(
    islands: Islands, configuration: Configuration, lanes: Sequence[Lane]
) -> tuple[str, ...] | None:
    """Names of nodes in the order of ranks (tp-cp-dp-pp: of each stage one bundle's pipelines after the other's), each
    group's GPUs dealt out stage by stage; None where the groups' nodes have no names, or one would hold ranks that do
    not follow one another."""
    if not islands.nodes:
        return None
    width, per_node = configuration.tp * configuration.cp, islands.gpus_per_node
    dealt = dict.fromkeys(range(len(islands.groups)), 0)
    places: list[tuple[int, int]] = []  # group and GPU of each rank
    for stage in range(configuration.pp):
        for lane in lanes:
            group, count = lane.groups[stage], width * lane.pipelines
            places += [(group, dealt[group] + gpu) for gpu in range(count)]
            dealt[group] += count
    found = []
    for begin in range(0, len(places), per_node):
        group, first = places[begin]
        if first % per_node or places[begin : begin + per_node] != [(group, first + i) for i in range(per_node)]:
            return None
        found.append(islands.nodes[group][first // per_node])
    return tuple(found)
