"""The grid problem: which host takes which place of rows (pipelines) and columns (stages).

n rows, p columns, N >= n p hosts; the hosts that get no place are spare. With order[r, c] the host of row r, column c,
and 1/bw(i, j) and lat(i, j) of the worse direction between two hosts:

    edge(e, i, j)   = edge_bytes[e] / bw(i, j) + edge_messages[e] lat(i, j)
    row(r)          = sum over e of edge(e, order[r, e], order[r, e + 1])
                      + sum over c of block(c, the hosts of r's block of rows in column c)
    block(c, hosts) = block_bytes[c] max over pairs of hosts (all-to-all) or the closed ring (ring) of 1/bw
    ring(c)         = max over r of ring_bytes[c] / bw(a, b) + ring_messages[c] lat(a, b), a = order[r, c],
                      b = order[r + 1 mod n, c]
    column(c)       = ring_offset[c] + ring(c)
    value           = max over r of row(r) + max over counted columns c of column(c)

With a single row there is no ring, and column(c) = ring_offset[c].

Shared links: members of a group reach the others over one link of a capacity in each direction. The flows of a
phase run at the same time (all edges; all rings of counted columns; all blocks) and share it equally: between a
member and a host outside, 1/bw = max(1/bw(i, j), flows / capacity). An edge, or a pair of an all-to-all, is a flow in
either direction; a closed ring leaves a group as often as it enters it, which is half the number of its crossings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Order: TypeAlias = NDArray[np.int64]
"""The host of each place, [rows, columns]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLink:
    """``members`` (hosts) reach all others over one link of ``bytes_per_second`` in each direction."""

    members: tuple[int, ...]
    bytes_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """In every column ``size`` consecutive rows form a group: ``bytes_per_column`` [columns] is what a host sends over
    a link, to every other host of the block (``all-to-all``) or to the next (``ring``), in seconds added to its row."""

    size: int
    bytes_per_column: tuple[float, ...]
    kind: Literal["all-to-all", "ring"] = "all-to-all"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridProblem:
    """Units: bytes, seconds, bytes per second. ``bandwidth`` and ``latency`` [hosts, hosts], row sends to column, the
    diagonal is not read. ``edge_bytes``, ``edge_messages`` [columns - 1]: of the whole step. ``ring_bytes``,
    ``ring_messages``, ``ring_offset`` (seconds), ``counted`` [columns]: what every link of a column's ring carries, and
    whether the column is in the maximum. ``fixed``: hosts whose (row, column) is given. ``excluded``: hosts not to use.

    Raises ``ValueError`` for figures that do not fit together.
    """

    rows: int
    columns: int
    bandwidth: Floats
    edge_bytes: tuple[float, ...]
    ring_bytes: tuple[float, ...]
    counted: tuple[bool, ...]
    ring_offset: tuple[float, ...] = ()
    latency: Floats | None = None
    edge_messages: tuple[float, ...] = ()
    ring_messages: tuple[float, ...] = ()
    blocks: Blocks | None = None
    shared: tuple[SharedLink, ...] = ()
    fixed: Mapping[tuple[int, int], int] = field(default_factory=dict)
    excluded: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        n, p = self.rows, self.columns
        if n < 1 or p < 1:
            raise ValueError(f"rows {n}, columns {p}: must be at least one")
        for name, count in (("edge_messages", p - 1), ("ring_messages", p), ("ring_offset", p)):
            object.__setattr__(self, name, tuple(getattr(self, name)) or (0.0,) * count)
        for name, count in (
            ("edge_bytes", p - 1),
            ("edge_messages", p - 1),
            ("ring_bytes", p),
            ("ring_messages", p),
            ("ring_offset", p),
            ("counted", p),
        ):
            figures = getattr(self, name)
            if len(figures) != count:
                raise ValueError(f"{name}: {len(figures)} figures, must be {count}")
            if not all(np.isfinite(figure) and figure >= 0 for figure in figures):
                raise ValueError(f"{name}: must be finite and not negative")
        self._check_links()
        self._check_places()

    def _check_links(self) -> None:
        hosts = self.hosts
        if self.bandwidth.shape != (hosts, hosts):
            raise ValueError(f"bandwidth: {self.bandwidth.shape}, must be square")
        apart = ~np.eye(hosts, dtype=bool)
        if not np.all(self.bandwidth[apart] > 0):
            raise ValueError("bandwidth: must be above zero between any two hosts")
        if self.latency is not None:
            if self.latency.shape != self.bandwidth.shape:
                raise ValueError(f"latency: {self.latency.shape}, must be {self.bandwidth.shape}")
            if not np.all((self.latency[apart] >= 0) & np.isfinite(self.latency[apart])):
                raise ValueError("latency: must be finite and not negative")
        for link in self.shared:
            if not link.bytes_per_second > 0:
                raise ValueError(f"shared: {link.bytes_per_second} bytes per second, must be above zero")
            if not set(link.members) <= set(range(hosts)) or len(set(link.members)) != len(link.members):
                raise ValueError(f"shared: members {link.members}: each must be one of {hosts} hosts, once")

    def _check_places(self) -> None:
        n, p, hosts = self.rows, self.columns, self.hosts
        if hosts - len(self.excluded) < n * p:
            raise ValueError(f"{hosts - len(self.excluded)} hosts for {n} x {p} places: too few")
        if not all(0 <= host < hosts for host in (*self.excluded, *self.fixed.values())):
            raise ValueError(f"excluded or fixed: no such host, there are {hosts}")
        if not all(0 <= r < n and 0 <= c < p for r, c in self.fixed):
            raise ValueError(f"fixed: a place outside {n} x {p}")
        if len(set(self.fixed.values())) < len(self.fixed) or self.excluded & set(self.fixed.values()):
            raise ValueError("fixed: a host with two places, or an excluded one")
        if self.blocks is not None:
            if self.blocks.size < 1 or n % self.blocks.size:
                raise ValueError(f"blocks: size {self.blocks.size} does not divide {n} rows")
            if len(self.blocks.bytes_per_column) != p:
                raise ValueError(f"blocks: {len(self.blocks.bytes_per_column)} figures, must be {p}")

    @property
    def hosts(self) -> int:
        return int(self.bandwidth.shape[0])

    @property
    def places(self) -> int:
        return self.rows * self.columns

    @property
    def usable(self) -> Ints:
        """Hosts that may take a place, ascending."""
        return np.array([host for host in range(self.hosts) if host not in self.excluded], dtype=np.int64)

    def default_order(self) -> Order:
        """Hosts as listed, row by row; fixed ones in their places, excluded ones left out."""
        order = np.full((self.rows, self.columns), -1, dtype=np.int64)
        for place, host in self.fixed.items():
            order[place] = host
        taken = set(self.fixed.values())
        rest = [host for host in self.usable.tolist() if host not in taken]
        order[order < 0] = rest[: int((order < 0).sum())]
        return order


def ring_factor(rows: int) -> float:
    """2 (n - 1) / n: what each link of a ring all-reduce over n hosts carries, over the bytes reduced."""
    return 2.0 * (rows - 1) / rows


def training_grid(
    objective: Literal["step", "pipette"],
    *,
    bandwidth: Floats,
    stages: int,
    rows: int,
    pipeline_bytes: float,
    data_parallel_bytes: float,
    microbatches: int,
    **more: object,
) -> GridProblem:
    """A grid with alike columns. With S ``pipeline_bytes``, D ``data_parallel_bytes``, m ``microbatches``:

        pipette: max over rows of sum of 2 S / bw + 2 (n - 1) / n D max(1 / bw) around the ring of the first column
        step:    max over rows of waves * sum of 2 S / bw + max over all columns of the same, waves = ceil(m / p)

    The first is Pipette's (DATE 2024); the second counts an edge once per wave, and every data-parallel group. Where
    latencies are given, an edge has two messages (one per wave, ``step``) and a ring 2 (n - 1).
    """
    waves = -(-microbatches // stages) if objective == "step" else 1
    counted = tuple(objective == "step" or c == 0 for c in range(stages))
    return GridProblem(
        rows=rows,
        columns=stages,
        bandwidth=bandwidth,
        edge_bytes=(2.0 * waves * pipeline_bytes,) * (stages - 1),
        edge_messages=(2.0 * waves,) * (stages - 1),
        ring_bytes=(ring_factor(rows) * data_parallel_bytes,) * stages,
        ring_messages=(2.0 * (rows - 1),) * stages,
        counted=counted,
        **more,  # type: ignore[arg-type]
    )
