"""Attained bandwidths in logs and profiles, as one GPU's share inside a node and as a node's outwards.

A ring sends the same amount over each of its hops, so its bus bandwidth is what one GPU attains inside a node, and
what all cards of a node attain together where it spans nodes (nccl-tests, PERFORMANCE.md).
"""

from dataclasses import dataclass

import numpy as np

from planner.importing.sources import Sources
from planner.readers.galvatron_bandwidth import GalvatronBandwidth
from planner.readers.nccl_tests import NcclRun
from planner.readers.pipette_bandwidth import PipetteBandwidth

RINGS = ("all_reduce", "all_gather", "reduce_scatter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attained:
    """``bytes_per_second`` of a GPU (``across`` False) or of a node's cards together, and where it was measured."""

    bytes_per_second: float
    across: bool
    source: str


def attained(sources: Sources) -> list[Attained]:
    """The best of every file for each of the two."""
    found = [figure for run in sources.runs if (figure := _of_run(run))]
    for profile in sources.galvatron:
        found += _of_profile(profile)
    for table in sources.pipette:
        found += _of_table(table)
    return found


def best(figures: list[Attained], across: bool) -> Attained | None:
    return max((f for f in figures if f.across == across), key=lambda f: f.bytes_per_second, default=None)


def _of_run(run: NcclRun) -> Attained | None:
    """Of its largest size; rounding leaves a bus bandwidth only where it is worth one."""
    last = max(run.timings, key=lambda timing: timing.size_bytes)
    if run.collective not in RINGS or last.bus_over_algorithm is None:
        return None
    nodes = "one node" if run.hosts == 1 else f"{run.hosts} nodes"
    shape = f"{run.collective} of {last.size_bytes:,.0f} bytes on {run.gpus} GPUs of {nodes}"
    speed = last.size_bytes / last.seconds * last.bus_over_algorithm
    return Attained(bytes_per_second=speed, across=run.hosts > 1, source=f"{run.file}, line {last.line}: {shape}")


def _of_profile(profile: GalvatronBandwidth) -> list[Attained]:
    """The largest group of neighbours inside a node, and the one of every GPU where there are several nodes."""
    each, nodes = profile.gpus_per_node, profile.nodes
    if each is None or nodes is None:
        return []
    inside = max((size for size, near in profile.allreduce if near and size <= each), default=None)
    found = []
    if inside is not None:
        found.append(_all_reduce(profile, inside, across=False))
    if nodes > 1 and (nodes * each, True) in profile.allreduce:
        found.append(_all_reduce(profile, nodes * each, across=True))
    return found


def _of_table(table: PipetteBandwidth) -> list[Attained]:
    """The fastest pair of hosts; of a table of GPUs the fastest inside a host. Only a stand-in: the table itself
    takes its place."""
    same = np.array(table.names)[:, None] == np.array(table.names)[None, :]
    across = len(set(table.names)) == len(table.names)
    pairs = table.bytes_per_second[~same if across else same]
    speed = float(pairs[np.isfinite(pairs)].max())
    return [Attained(bytes_per_second=speed, across=across, source=f"{table.file}: its fastest pair")]


def _all_reduce(profile: GalvatronBandwidth, size: int, *, across: bool) -> Attained:
    speed = profile.allreduce[size, True]
    return Attained(bytes_per_second=speed, across=across, source=f"{profile.file}: allreduce_size_{size}_consec_1")
