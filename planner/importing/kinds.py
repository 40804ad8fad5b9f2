"""Which kind of file a user has, by what stands in it."""

import re
from pathlib import Path

from planner.readers.galvatron_bandwidth import is_galvatron
from planner.readers.nccl_tests import ROW
from planner.readers.pipette_bandwidth import is_pipette
from planner.readers.topo_m import looks_like_topo_m
from planner.readers.topograph import is_topograph
from planner.specs.document import Document, read_document, read_text
from planner.specs.errors import SpecError, refuse
from planner.specs.huggingface import is_config

KINDS = {
    "topo-m": "what 'nvidia-smi topo -m' prints",
    "nccl-topology": "NCCL's topology XML",
    "nccl-tests": "a log of nccl-tests",
    "slurm": "Slurm's topology.conf",
    "topograph": "a model of NVIDIA's topograph",
    "galvatron": "Galvatron's measured bandwidths",
    "pipette": "Pipette's bandwidths of pairs",
    "huggingface": "a Hugging Face config.json",
}
MOST_BYTES = 64 * 2**20
_SLURM = re.compile(r"^[ \t]*(?:SwitchName|BlockName)=", re.I | re.M)


def recognise(path: str | Path) -> str:
    """One of ``KINDS``; raises ``SpecError`` where the file is none, or is a spec of ours already."""
    text = read_text(path, MOST_BYTES)
    if re.match(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:system|!DOCTYPE)\b", text, re.S):
        return "nccl-topology"
    if looks_like_topo_m(text):
        return "topo-m"
    if _SLURM.search(text):
        return "slurm"
    if any(map(ROW.search, text.splitlines())):
        return "nccl-tests"
    known = ", ".join(f"{kind} ({what})" for kind, what in KINDS.items())
    try:
        document = read_document(path, MOST_BYTES)
    except SpecError:
        refuse(str(path), f"is of no known kind: {known}; --kind says which")
    return _of_mapping(document, known)


def _of_mapping(document: Document, known: str) -> str:
    if "node_groups" in document.data or {"hidden", "kinds"} <= document.data.keys():
        refuse(document.file, "is a spec already: use it as it is")
    tests = {"galvatron": is_galvatron, "pipette": is_pipette, "topograph": is_topograph, "huggingface": is_config}
    found = [kind for kind, is_kind in tests.items() if is_kind(document)]
    if not found:
        refuse(document.file, f"is of no known kind: {known}; --kind says which")
    return found[0]
