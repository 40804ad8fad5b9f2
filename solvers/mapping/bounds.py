"""What no order is below: bounds on the largest row, on the largest column, and on both together.

Every flow is priced as if it had shared links to itself. With s spare hosts all but s of the hosts have a place.

Rows (``row_bound``, over all orders), the largest of
    walk:    every host in a place is in some row, which costs at least the cheapest walk over the columns through it:
             the (s + 1)-th largest over the hosts
    average: the largest row is at least the mean; every place but those of the first and last column has two edges,
             those one, so that twice the sum of all edges is at least the sum over places of the cheapest, and for
             inner ones the second cheapest, edge of their hosts, at the cheapest figures of any edge
    pieces:  rows longer than groups of near hosts are large leave them (``solvers.mapping.pieces``)
    (and for blocks the cheapest that a block can cost in every column)

Columns (``column_bound``, over all orders): the least threshold on the cost of a link for which the hosts that can
stand in a ring are enough for all counted columns. In the graph of links within the threshold a ring lies inside one
component, and its hosts have two links there (one with two rows): a component of m such hosts holds floor(m / n) rings.

Both (``combined_bound``, over all orders): for a threshold t on the ring either the columns cost more than t, or every
ring lies inside a component. Where all columns are counted no component has more than q of them, and a row has at least
ceil(p / q) - 1 edges between components; where some are, one at least lies inside a component, and every row has a
place there. The bound is the least over t of what remains.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from solvers.mapping.grid import Grid, alone, grid_of
from solvers.mapping.pieces import Levels, levels
from solvers.mapping.places import walks
from solvers.mapping.problem import Floats, GridProblem, Ints

MOST_THRESHOLDS = 64
"""That the combined bound looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Seconds: of the largest ``row``, of the largest ``column`` with its offset, of ``value``."""

    row: float
    column: float
    value: float


def lower_bounds(problem: GridProblem) -> Bounds:
    grid = grid_of(problem)
    inverse = alone(grid)
    blocks = _block_bound(problem, grid, inverse)
    near = _levels(problem, grid, inverse) if problem.columns > 1 else None
    row = row_bound(problem, grid, inverse, near)
    column = column_bound(problem, grid, inverse)
    both = max(row + column, combined_bound(problem, grid, inverse, near, row, column))
    return Bounds(row=row + blocks, column=column, value=both + blocks)


def _levels(problem: GridProblem, grid: Grid, inverse: Floats) -> Levels:
    within = np.ix_(problem.usable, problem.usable)
    cost = grid.edge_bytes.min() * inverse[within] + grid.edge_messages.min() * grid.latency[within]
    return levels(cost, problem.rows, problem.columns)


def row_bound(problem: GridProblem, grid: Grid, inverse: Floats, near: Levels | None) -> float:
    """Seconds that the edges of the largest row cost at least; ``near`` is None where there are none."""
    usable = problem.usable
    if near is None:
        return 0.0
    spare = len(usable) - problem.places
    onward, back = walks(grid, inverse, usable)
    through = np.sort((onward + back).min(axis=0)[usable])
    return max(float(through[-1 - spare]), _average(problem, grid, inverse), near.largest_row())


def _average(problem: GridProblem, grid: Grid, inverse: Floats) -> float:
    n, p, usable = problem.rows, problem.columns, problem.usable
    cost = grid.edge_bytes.min() * inverse + grid.edge_messages.min() * grid.latency
    near = _nearest(cost[np.ix_(usable, usable)], 2)
    ends = np.sort(near[0])[: n * p].sum()
    inner = np.sort(near[1])[: n * (p - 2)].sum() if p > 2 else 0.0
    return float(ends + inner) / 2.0 / n


def _nearest(cost: Floats, k: int) -> Floats:
    """[k, hosts]: the cheapest links of each host to others; inf where there are fewer."""
    cost = cost.copy()
    np.fill_diagonal(cost, np.inf)
    k = min(k, len(cost))
    return np.asarray(np.sort(np.partition(cost, k - 1, axis=1)[:, :k], axis=1).T)


def _block_bound(problem: GridProblem, grid: Grid, inverse: Floats) -> float:
    """A block of b hosts has a host with all others, or two in a ring, not nearer than its own nearest ones."""
    if not grid.block_size:
        return 0.0
    usable = problem.usable
    neighbours = grid.block_size - 1 if not grid.block_ring else min(2, grid.block_size - 1)
    far = _nearest(inverse[np.ix_(usable, usable)], neighbours)[neighbours - 1]
    return float(grid.block_bytes.sum() * far.min())


def _link_costs(problem: GridProblem, grid: Grid, inverse: Floats) -> tuple[Floats, float]:
    """The cheapest that a ring link can cost in any counted column, offset included; and the largest offset."""
    counted = np.flatnonzero(grid.counted)
    usable = problem.usable
    within = np.ix_(usable, usable)
    cost = np.full((len(usable), len(usable)), np.inf)
    for figures in {(grid.ring_bytes[c], grid.ring_messages[c], grid.ring_offset[c]) for c in counted}:
        bytes_, messages, offset = figures
        cost = np.minimum(cost, offset + bytes_ * inverse[within] + messages * grid.latency[within])
    return cost, float(grid.ring_offset[counted].max(initial=0.0))


def column_bound(problem: GridProblem, grid: Grid, inverse: Floats) -> float:
    """Seconds that the largest counted column costs at least, with its offset."""
    columns = int(grid.counted.sum())
    if columns == 0:
        return 0.0
    cost, offset = _link_costs(problem, grid, inverse)
    if problem.rows == 1:
        return offset
    degree = min(2, problem.rows - 1)
    thresholds = np.unique(_nearest(cost, degree)[degree - 1])
    # below the least of these no host can be in a ring; above the largest only components still tell
    every = np.unique(cost[~np.eye(len(cost), dtype=bool)])
    low, high = int(np.searchsorted(every, thresholds[0])), len(every) - 1
    while low < high:
        middle = (low + high) // 2
        if sum(_rings(cost <= every[middle], problem.rows)[1]) >= columns:
            high = middle
        else:
            low = middle + 1
    return max(offset, float(every[low]))


def _rings(near: np.ndarray, rows: int) -> tuple[Ints, list[int]]:
    """The component of each host (-1: in no ring), and how many rings of ``rows`` hosts each has room for."""
    near = near & ~np.eye(len(near), dtype=bool)
    degree = min(2, rows - 1)
    alive = np.ones(len(near), dtype=bool)
    links = near.sum(axis=1)
    while (gone := alive & (links < degree)).any():
        alive &= ~gone
        links -= near[:, gone].sum(axis=1)
    label = np.full(len(near), -1, dtype=np.int64)
    if not alive.any():
        return label, []
    _, found = connected_components(csr_matrix(near[np.ix_(alive, alive)]), directed=False)
    label[alive] = found
    return label, [int(size) // rows for size in np.bincount(found)]


def combined_bound(
    problem: GridProblem, grid: Grid, inverse: Floats, near: Levels | None, row: float, column: float
) -> float:
    """Seconds of edges and columns; 0 where nothing beyond ``row`` plus ``column`` (what none is below) follows.

    The rows' bound falls with the threshold, so that between two thresholds where it is the same the lower one tells;
    stretches where it falls are halved, the one of the least bound first, ``MOST_THRESHOLDS`` times.
    """
    if problem.rows == 1 or near is None or not grid.counted.any():
        return 0.0
    cost, _ = _link_costs(problem, grid, inverse)
    every = np.unique(cost[~np.eye(len(cost), dtype=bool)])
    every = every[max(0, np.searchsorted(every, column * (1 + 1e-12)) - 1) :]  # from the last that ``column`` allows

    def rows(k: int) -> float:
        return max(row, _rows_around(problem, grid, inverse, near, _rings(cost <= every[k], problem.rows)))

    def columns(k: int) -> float:
        return max(float(every[k]), column)

    first, last = rows(0), rows(len(every) - 1)
    best = min(first + columns(0), last + columns(len(every) - 1))
    stretches = [(last + columns(min(1, len(every) - 1)), 0, first, len(every) - 1, last)]
    for _ in range(MOST_THRESHOLDS):
        bound, low, above, high, below = stretches[0]
        if bound >= best or high - low < 2 or above == below:
            break
        heapq.heappop(stretches)
        middle = (low + high) // 2
        between = rows(middle)
        best = min(best, between + columns(middle))
        for one, left, other, right in ((low, above, middle, between), (middle, between, high, below)):
            if left > right and other - one > 1:
                heapq.heappush(stretches, (right + columns(one + 1), one, left, other, right))
        if not stretches:
            break
    return min(best, stretches[0][0]) if stretches else best


def _rows_around(
    problem: GridProblem, grid: Grid, inverse: Floats, near: Levels, rings: tuple[Ints, list[int]]
) -> float:
    """Seconds of the edges of the largest row whose counted columns lie inside the components of ``rings``; inf where
    there is no room for them."""
    label, rooms = rings
    if sum(rooms) < grid.counted.sum():
        return np.inf
    if not grid.counted.all():
        return near.anchored(label)
    crossings = -(-problem.columns // max(rooms)) - 1
    if crossings == 0:
        return 0.0
    within = np.ix_(problem.usable, problem.usable)
    edge = grid.edge_bytes.min() * inverse[within] + grid.edge_messages.min() * grid.latency[within]
    apart = (label[:, None] != label[None, :]) & (label[:, None] >= 0) & (label[None, :] >= 0)
    return near.crossing(crossings, float(edge[apart].min()))
