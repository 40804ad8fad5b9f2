"""Orders to begin with: hosts that are near each other fill tiles of the grid, in every shape of tile.

Hosts are put in a line by average linkage on 1/bw: on a cluster of leaves and spines the hosts of a leaf stand side by
side, those of a pod of leaves too, a few slow links or not. The line then fills the grid tile by tile, a tile being a
rows by b columns, a dividing the rows, b the columns: 1 x p keeps rows in leaves, n x 1 columns.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import average, cophenet, fcluster, leaves_list, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from solvers.mapping.grid import Grid, alone
from solvers.mapping.problem import Floats, GridProblem, Ints, Order

MOST_HOSTS_TO_ARRANGE = 64


class Linked(NamedTuple):
    """Usable hosts in a ``line``, near ones side by side; ``inverse`` [hosts, hosts]: 1/bw between them as the linkage
    has it, which is what it is on average between the groups that it joins, without the odd slow link; ``group``
    [hosts]: what was joined before the largest leap in that (the hosts of a leaf, where there are leaves)."""

    line: Ints
    inverse: Floats
    group: Ints


def linked(problem: GridProblem, grid: Grid) -> Linked:
    usable, inverse = problem.usable, alone(grid)
    group = np.zeros(len(inverse), dtype=np.int64)
    if len(usable) < 3:
        return Linked(usable, inverse, group)
    within = np.ix_(usable, usable)
    condensed = squareform(inverse[within], checks=False)
    tree = average(condensed)
    inverse[within] = squareform(cophenet(tree))
    height = tree[:, 2]
    group[usable] = fcluster(tree, height[np.argmax(height[1:] / height[:-1])], criterion="distance")
    if len(usable) <= MOST_HOSTS_TO_ARRANGE:
        tree = optimal_leaf_ordering(tree, condensed)
    return Linked(usable[leaves_list(tree)].astype(np.int64), inverse, group)


def tiles(rows: int, columns: int) -> Iterator[Ints]:
    """Places (row * columns + column) in the order in which a line of hosts fills them, one for each shape of tile;
    inside a tile row by row, and column by column."""
    for a in (d for d in range(1, rows + 1) if rows % d == 0):
        for b in (d for d in range(1, columns + 1) if columns % d == 0):
            for across in (True, False):
                for inner in (True, False):
                    places = np.arange(rows * columns).reshape(rows // a, a, columns // b, b)
                    places = places.transpose(0, 2, 1, 3) if across else places.transpose(2, 0, 1, 3)
                    yield (places if inner else places.swapaxes(2, 3)).reshape(-1)


def starts(problem: GridProblem, linked_line: Ints) -> Iterator[Order]:
    """The default order, tilings of the linked line, and of the default one; fixed hosts stay.

    Where not all columns are counted, also those that fill the counted ones first, column by column.
    """
    n, p = problem.rows, problem.columns
    yield problem.default_order()
    taken = set(problem.fixed.values())
    shapes = list(tiles(n, p))
    counted = np.flatnonzero(problem.counted)
    if 0 < len(counted) < p:
        others = np.flatnonzero(~np.array(problem.counted))
        first = (np.arange(n)[None, :] * p + counted[:, None]).reshape(-1)
        for places in tiles(n, len(others)):
            shapes.append(np.concatenate([first, places // len(others) * p + others[places % len(others)]]))
    for line in (linked_line, problem.usable):
        rest = np.array([host for host in line.tolist() if host not in taken], dtype=np.int64)
        for places in shapes:
            order = np.full(n * p, -1, dtype=np.int64)
            for (r, c), host in problem.fixed.items():
                order[r * p + c] = host
            free = places[order[places] < 0]
            order[free] = rest[: len(free)]
            yield order.reshape(n, p)
