"""The files of a user, each read by its kind."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.importing.kinds import recognise
from planner.importing.model import model_spec
from planner.readers.fabric import Fabric
from planner.readers.galvatron_bandwidth import GalvatronBandwidth, read_galvatron_bandwidth
from planner.readers.nccl_tests import NcclRun, read_nccl_log, told_lines
from planner.readers.nccl_topology import NcclTopology, read_nccl_topology
from planner.readers.pipette_bandwidth import PipetteBandwidth, read_pipette_bandwidth
from planner.readers.slurm_topology import read_slurm_topology
from planner.readers.topo_m import TopoMatrix, read_topo_m
from planner.readers.topograph import read_topograph
from planner.specs.document import read_document
from planner.specs.errors import Problems
from planner.specs.huggingface import parse_config


@dataclass(slots=True)
class Sources:
    """What was read, by kind; ``kinds`` of each file; ``unread`` is every line and field that was passed over."""

    kinds: dict[str, str] = field(default_factory=dict)
    matrices: list[TopoMatrix] = field(default_factory=list)
    topologies: list[NcclTopology] = field(default_factory=list)
    runs: list[NcclRun] = field(default_factory=list)
    fabrics: list[Fabric] = field(default_factory=list)
    galvatron: list[GalvatronBandwidth] = field(default_factory=list)
    pipette: list[PipetteBandwidth] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def of_cluster(self) -> bool:
        return any(kind != "huggingface" for kind in self.kinds.values())


def read_sources(paths: Iterable[str | Path], kind: str | None = None) -> Sources:
    """Every file, of ``kind`` or of the kind that its content shows; raises ``SpecError`` with what is wrong in any."""
    sources, problems = Sources(), Problems()
    for path in paths:
        with problems.of():
            _read(sources, path, kind or recognise(path))
    problems.check()
    return sources


def _read(sources: Sources, path: str | Path, kind: str) -> None:
    found: list[Any]
    match kind:
        case "topo-m":
            sources.matrices += (found := read_topo_m(path))
        case "nccl-topology":
            sources.topologies += (found := [read_nccl_topology(path)])
        case "nccl-tests":
            sources.runs += (found := read_nccl_log(path))
        case "slurm":
            sources.fabrics += (found := [read_slurm_topology(path)])
        case "topograph":
            sources.fabrics += (found := [read_topograph(path)])
        case "galvatron":
            sources.galvatron += (found := [read_galvatron_bandwidth(path)])
        case "pipette":
            sources.pipette += (found := [read_pipette_bandwidth(path)])
        case _:
            sources.models.append(model_spec(parse_config(read_document(path)), source=Path(path).name))
            found = []
    sources.kinds[str(path)] = kind
    sources.unread += [str(note) for each in found for note in each.notes]
    sources.unread += [line for each in found if isinstance(each, NcclRun) for line in _between(each)]


def _between(run: NcclRun) -> Iterator[str]:
    if run.empty_lines:
        yield f"{run.file}: {told_lines(run.empty_lines)}: sizes of no bytes"
    if run.other_lines:
        yield f"{run.file}: {told_lines(run.other_lines)}: no results, written by other programs"
