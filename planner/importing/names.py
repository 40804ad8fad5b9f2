"""Which nodes there are: names from schedulers' files and from tables of bandwidth, once for the whole cluster."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from planner.importing.sources import Sources
from planner.readers.fabric import Fabric
from planner.readers.pipette_bandwidth import PipetteBandwidth
from planner.specs.errors import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """``nodes`` in the order of the table of ``bandwidths`` (bytes per second) where there is one, else as the fabric
    names them; empty where no file names any. ``gpus_per_node`` where the table is one of GPUs."""

    nodes: tuple[str, ...] = ()
    source: str = ""
    fabric: Fabric | None = None
    bandwidths: NDArray[np.float64] | None = None
    gpus_per_node: int | None = None


def names_of(sources: Sources) -> Names:
    """Raises ``SpecError`` where two files name unlike nodes, or give the same part of the network twice."""
    fabric = _one_fabric(sources.fabrics)
    if len(sources.pipette) > 1:
        refuse(sources.pipette[1].file, f"is a second table of bandwidths, beside {sources.pipette[0].file}")
    if not sources.pipette:
        return Names(nodes=fabric.nodes, source=fabric.file, fabric=fabric) if fabric else Names()
    table = sources.pipette[0]
    nodes, each = _hosts(table)
    if fabric and set(fabric.nodes) != set(nodes):
        _unlike(table.file, nodes, fabric)
    return Names(
        nodes=nodes,
        source=table.file,
        fabric=fabric,
        bandwidths=table.bytes_per_second,
        gpus_per_node=each if each > 1 else None,
    )


def _one_fabric(fabrics: list[Fabric]) -> Fabric | None:
    """A tree and blocks may come from two files."""
    if not fabrics:
        return None
    trees = [fabric for fabric in fabrics if fabric.switches]
    blocks = [fabric for fabric in fabrics if fabric.blocks]
    for alike, what in ((trees, "tree of switches"), (blocks, "set of blocks")):
        if len(alike) > 1:
            refuse(alike[1].file, f"holds a second {what}, beside {alike[0].file}")
    if len(fabrics) == 1:
        return fabrics[0]
    tree, block = trees[0], blocks[0]
    if set(tree.nodes) != set(block.nodes):
        _unlike(block.file, block.nodes, tree)
    return Fabric(
        file=f"{tree.file} and {block.file}",
        switches=tree.switches,
        blocks=block.blocks,
        block_sizes=block.block_sizes,
        gpu_types=tuple(sorted({*tree.gpu_types, *block.gpu_types})),
    )


def _hosts(table: PipetteBandwidth) -> tuple[tuple[str, ...], int]:
    """A name given several times in a row stands for a host with so many GPUs."""
    groups = [(name, len(list(group))) for name, group in groupby(table.names)]
    nodes = tuple(name for name, _ in groups)
    if len(set(nodes)) != len(nodes) or len({count for _, count in groups}) != 1:
        refuse(table.file, "names a host again: list each once, or every one once a GPU, side by side", key="gpus")
    return nodes, groups[0][1]


def _unlike(file: str, nodes: tuple[str, ...], other: Fabric) -> None:
    apart = sorted(set(nodes) ^ set(other.nodes))
    some = ", ".join(apart[:3]) + (", ..." if len(apart) > 3 else "")
    refuse(file, f"names other nodes than {other.file}: {some} in only one of them")
