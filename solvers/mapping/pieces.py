"""What rows cost at least because they are longer than groups of near hosts are large.

For a threshold t let C be the components of the graph of links within t, q the size of the largest. A row falls into
pieces, maximal stretches inside a component, and has one edge dearer than t less than pieces. With n rows of p places:

    any row:   ceil(p / q) pieces at least
    the mean:  a piece is part of one row and of one component, so there are at least sum over C of ceil(|C| / p)
               (with s spare hosts: after leaving out the s that save most). Without spare hosts, a graph joins every
               row to the components it has pieces in: n + |C| nodes, so n + |C| pieces less one for each part of it.
               A part has x rows with x p hosts in whole components: where d divides the size of every component, d
               divides x p, and there are at most n gcd(d, p) / d parts
    anchored:  where one column is known to lie inside a component B, every row has a piece in B. With a(r) places of
               row r in B, 1 <= a(r), sum of a(r) <= |B|, there are n + sum over r of ceil((p - a(r)) / q) pieces at
               least. Without spare hosts, where d divides p and every component: a part of the graph without B has
               rows with a multiple of d in B, as each row all inside B has, so there are 2 n + |C| - 1 - |B| / d

and the cost of a row is the integral over t of its edges dearer than t. All hold for any matrix; components change only
at the heights of its single linkage.
"""

from collections import Counter
from dataclasses import dataclass
from math import gcd

import numpy as np
from scipy.cluster.hierarchy import fcluster, single
from scipy.spatial.distance import squareform

from solvers.mapping.problem import Floats, Ints


@dataclass(frozen=True, slots=True)
class Levels:
    """Stretches of thresholds, ascending, between which components stay as they are: from ``low`` up to ``high``
    seconds; ``count`` of components, the ``largest``, what their sizes are multiples of (``divisor``, 0 where hosts are
    spare); edges of ``any_row`` and of the ``mean`` row that are dearer. ``tree``: the linkage.
    """

    rows: int
    columns: int
    low: Floats
    high: Floats
    count: Ints
    largest: Ints
    divisor: Ints
    any_row: Floats
    mean: Floats
    tree: Floats

    def largest_row(self) -> float:
        """Seconds that the largest row costs at least: what the mean row does, or the one with most edges dearer than
        some threshold."""
        edges = np.ceil(self.mean - 1e-9)
        uppermost = {count: level for level, count in enumerate(edges.tolist())}
        return max(self._cost(self.mean), *(self._with(count, level) for count, level in uppermost.items()))

    def crossing(self, crossings: int, between: float) -> float:
        """Seconds of any row with ``crossings`` edges of ``between`` or more."""
        below = np.clip(between, self.low, self.high) - self.low
        return self._cost(self.any_row) + float((np.maximum(crossings - self.any_row, 0.0) * below).sum())

    def anchored(self, label: Ints) -> float:
        """Seconds that the largest row costs at least if one column lies inside one group of hosts of ``label`` (-1: in
        no group)."""
        n, p = self.rows, self.columns
        found = self._cost(self.any_row)
        for level in {size: level for level, size in enumerate(self.largest.tolist()) if n <= size < p}.values():
            component = fcluster(self.tree, self.low[level], criterion="distance")
            inside = label >= 0
            pairs = np.unique(np.stack([label[inside], component[inside]]), axis=1)
            if pairs.shape[1] > len(np.unique(pairs[0])):  # a group in several components
                continue
            roomy = np.bincount(component[inside]) >= n
            anchor = int(np.bincount(component)[: len(roomy)][roomy].max(initial=0))
            if anchor:
                pieces, divisor = anchored_pieces(n, p, anchor, int(self.largest[level])), int(self.divisor[level])
                if divisor and p % divisor == 0:
                    pieces = max(pieces, 2 * n + int(self.count[level]) - 1 - anchor // divisor)
                edges = -(-pieces // n) - 1
                found = max(found, self._with(float(edges), level))
        return found

    def _cost(self, dearer: Floats) -> float:
        """Seconds of a row with that many dearer edges at each level, and not fewer than any row has."""
        return float((np.maximum(dearer, self.any_row) * (self.high - self.low)).sum())

    def _with(self, edges: float, level: int) -> float:
        """Seconds of a row with ``edges`` dearer than ``level``, so dearer than those below it."""
        return self._cost(np.where(np.arange(len(self.low)) <= level, edges, 0.0))


def levels(cost: Floats, rows: int, columns: int) -> Levels:
    """``cost`` [hosts, hosts]: seconds of an edge, alike in both directions; all of ``rows`` x ``columns`` hosts and
    spare ones."""
    hosts = len(cost)
    tree = single(squareform(cost, checks=False))
    members = np.concatenate([np.ones(hosts, dtype=np.int64), tree[:, 3].astype(np.int64)])
    sizes, largest, spare = Counter({1: hosts}), 1, hosts - rows * columns
    bounds, found = [0.0], []
    for k in range(len(tree) + 1):
        if k == len(tree) or tree[k, 2] > bounds[-1]:
            most = min(columns - 1, -(-columns // largest) - 1)
            pieces, divisor = least_pieces(sizes, columns, spare), 0
            if spare == 0:
                divisor = gcd(*(size for size, count in sizes.items() if count))
                pieces = max(pieces, rows + hosts - k - rows * gcd(divisor, columns) // divisor)
            found.append((hosts - k, largest, divisor, most, pieces / rows - 1))
            if k == len(tree):
                break
            bounds.append(float(tree[k, 2]))
        for one in (int(tree[k, 0]), int(tree[k, 1])):
            sizes[int(members[one])] -= 1
        sizes[int(members[hosts + k])] += 1
        largest = max(largest, int(members[hosts + k]))
    high = [*bounds[1:], bounds[-1]]  # above the last all hosts are one component
    of_level = np.array(found, dtype=float)
    return Levels(
        rows=rows,
        columns=columns,
        low=np.array(bounds),
        high=np.array(high),
        count=of_level[:, 0].astype(np.int64),
        largest=of_level[:, 1].astype(np.int64),
        divisor=of_level[:, 2].astype(np.int64),
        any_row=of_level[:, 3],
        mean=np.maximum(of_level[:, 3], of_level[:, 4]),
        tree=tree,
    )


def least_pieces(sizes: Counter[int], columns: int, spare: int) -> int:
    """Pieces of components of ``sizes`` (how many there are of each) without the ``spare`` hosts that save most: those
    of the last piece of a component first, which may be short."""
    pieces = sum(-(-size // columns) * count for size, count in sizes.items())
    short: Counter[int] = Counter()
    for size, count in sizes.items():
        short[(size - 1) % columns + 1] += count
    for size in sorted(short):
        gone = min(short[size], spare // size)
        pieces, spare = pieces - gone, spare - gone * size
    return max(0, pieces - spare // columns)


def anchored_pieces(rows: int, columns: int, anchor: int, largest: int) -> int:
    """Pieces of all rows, each with a place in a component of ``anchor`` hosts (as many as rows, or more); what saves
    most is to give few rows all of the anchor that they need to do with one component less, and then one less again."""
    each = -(-(columns - 1) // largest)  # of a row with one place in the anchor, beside that
    first = columns - 1 - largest * (each - 1)  # more places there that save one; every one after that ``largest``
    left = anchor - rows
    saved = min(rows, left // first) if each else 0
    if each and saved == rows:
        saved = min(rows * each, rows + (left - rows * first) // largest)
    return rows + rows * each - saved
