"""Galvatron's hardware profiles: attained bandwidth by size of group.

``allreduce_bandwidth_{n}nodes_{g}gpus_per_node.json`` maps ``allreduce_size_8_consec_1`` to a figure,
``p2p_bandwidth_...`` maps ``pp_size_2``. Both are nccl-tests' average bus bandwidth in GB/s (1e9 bytes), each group
alone; ``consec_1`` groups neighbouring ranks, ``consec_0`` those a stride apart (Galvatron,
``profile_bandwidth`` and ``generate_allreduce_groups``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planner.readers.notes import Note
from planner.specs.document import Document, read_document
from planner.specs.errors import refuse, shown

_ALLREDUCE = re.compile(r"allreduce_size_(\d{1,7})_consec_([01])")
_P2P = re.compile(r"pp_size_(\d{1,7})")
_IN_NAME = re.compile(r"(\d{1,6})nodes_(\d{1,6})gpus_per_node")


@dataclass(frozen=True, slots=True, kw_only=True)
class GalvatronBandwidth:
    """Bytes per second: ``allreduce`` by (ranks, whether neighbouring), ``p2p`` by number of stages.

    ``nodes`` and ``gpus_per_node`` are the file name's, None where it does not tell.
    """

    file: str
    nodes: int | None
    gpus_per_node: int | None
    allreduce: Mapping[tuple[int, bool], float]
    p2p: Mapping[int, float]
    notes: tuple[Note, ...]


def read_galvatron_bandwidth(path: str | Path) -> GalvatronBandwidth:
    """The figures of one file; raises ``SpecError`` where it holds none, or one that is no bandwidth."""
    document = read_document(path)
    allreduce: dict[tuple[int, bool], float] = {}
    p2p: dict[int, float] = {}
    notes: list[Note] = []
    for key, value in document.data.items():
        if match := _ALLREDUCE.fullmatch(str(key)):
            allreduce[int(match[1]), match[2] == "1"] = _figure(document, str(key), value)
        elif match := _P2P.fullmatch(str(key)):
            p2p[int(match[1])] = _figure(document, str(key), value)
        else:
            why = "is neither allreduce_size_N_consec_C nor pp_size_N: passed over"
            notes.append(Note(file=document.file, line=document.line((key,)), text=str(key), why=why))
    if not allreduce and not p2p:
        refuse(document.file, "holds no bandwidth: no key such as allreduce_size_8_consec_1 or pp_size_2")
    named = _IN_NAME.search(Path(path).name)
    return GalvatronBandwidth(
        file=document.file,
        nodes=int(named[1]) if named else None,
        gpus_per_node=int(named[2]) if named else None,
        allreduce=allreduce,
        p2p=p2p,
        notes=tuple(notes),
    )


def is_galvatron(document: Document) -> bool:
    return any(_ALLREDUCE.fullmatch(str(key)) or _P2P.fullmatch(str(key)) for key in document.data)


def _figure(document: Document, key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e12:
        message = "must be a bandwidth above zero, in GB/s"
        refuse(document.file, message, line=document.line((key,)), key=key, value=shown(value))
    return float(value) * 1e9
