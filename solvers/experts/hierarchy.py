"""Expert groups to nodes: all replicas of a group on one node.

With the groups assigned, every node is a problem of its own, so a layer's busiest GPU is the largest over
the nodes of what each can reach, and at least the largest of the nodes' bounds. Assignments of few groups are
enumerated and bounded; the one with the least bound is placed, then others while their bound lies below the
value reached. With many groups the heaviest go first to the lightest node and are exchanged
(``packing``), the same number on each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from solvers.experts.bounds import simple_bound
from solvers.experts.packing import exchange, pack_rows
from solvers.experts.problem import Floats, Integers

MOST_ASSIGNMENTS = 3000

Members = tuple[int, ...]
Assignment = tuple[Members, ...]


@dataclass(frozen=True, slots=True)
class Assignments:
    """``subsets`` are the sets of groups that a node may hold, ``options`` [options, nodes] index into them."""

    subsets: tuple[Members, ...]
    options: Integers


def enumerate_assignments(groups: int, nodes: int, most_per_node: int) -> Assignments | None:
    """Every way to put ``groups`` onto ``nodes`` alike, each with 1 ... ``most_per_node``; None: too many."""
    found: list[Assignment] = []
    for assignment in _assignments(groups, nodes, most_per_node, [[0]], 1):
        found.append(assignment)
        if len(found) > MOST_ASSIGNMENTS:
            return None
    subsets = tuple(sorted({subset for assignment in found for subset in assignment}))
    index = {subset: k for k, subset in enumerate(subsets)}
    return Assignments(subsets, np.array([[index[subset] for subset in assignment] for assignment in found]))


def _assignments(groups: int, nodes: int, most: int, made: list[list[int]], k: int) -> Iterator[Assignment]:
    if nodes - len(made) > groups - k:
        return
    if k == groups:
        yield tuple(tuple(node) for node in made)
        return
    for node in range(len(made)):
        if len(made[node]) < most:
            made[node].append(k)
            yield from _assignments(groups, nodes, most, made, k + 1)
            made[node].pop()
    if len(made) < nodes:
        made.append([k])
        yield from _assignments(groups, nodes, most, made, k + 1)
        made.pop()


def experts_of(members: Sequence[int], group_size: int) -> Integers:
    """The experts of some groups, by rising number."""
    return (np.array(members)[:, None] * group_size + np.arange(group_size)).ravel()


def subset_bounds(
    loads: Floats, subsets: Sequence[Members], group_size: int, gpus_per_node: int, slots_per_gpu: int
) -> Floats:
    """The simple bound of a node with each set of groups, [layers, subsets]; ``loads`` is [layers, experts]."""
    bounds = np.empty((len(loads), len(subsets)))
    for size in sorted({len(subset) for subset in subsets}):
        chosen = [k for k, subset in enumerate(subsets) if len(subset) == size]
        members = np.stack([experts_of(subsets[k], group_size) for k in chosen])
        rows = loads[:, members].reshape(-1, size * group_size)
        bounds[:, chosen] = simple_bound(rows, gpus_per_node, slots_per_gpu).reshape(len(loads), -1)
    return bounds


def even_assignment(loads: Floats, groups: int, nodes: int) -> list[Assignment]:
    """One assignment per layer, groups / nodes on each node, of little largest load."""
    of_groups = loads.reshape(len(loads), groups, -1).sum(axis=2)
    packed = exchange(pack_rows(of_groups, nodes), of_groups, of_groups.sum(axis=1) / nodes)[0]
    return [tuple(tuple(sorted(node)) for node in layer.tolist()) for layer in packed]
