"""A damaged file is read in part or refused with a ``SpecError``; nothing else happens."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.importing import Wanted, import_files, recognise
from planner.readers.galvatron_bandwidth import read_galvatron_bandwidth
from planner.readers.nccl_topology import read_nccl_topology
from planner.readers.pipette_bandwidth import read_pipette_bandwidth
from planner.readers.slurm_topology import read_slurm_topology
from planner.readers.topo_m import read_topo_m
from planner.readers.topograph import read_topograph
from planner.specs.errors import SpecError
from tests.planner.readers import test_nccl_topology, test_slurm_topology, test_topo_m, test_topograph

READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "tabs": (read_topo_m, test_topo_m.TABS),
    "blanks": (read_topo_m, test_topo_m.BLANKS),
    "tree": (read_slurm_topology, test_slurm_topology.TREE + test_slurm_topology.BLOCKS),
    "blocks": (read_topograph, test_topograph.BLOCKS),
    "nodes": (read_topograph, test_topograph.NODES),
    "old": (read_topograph, test_topograph.OLD),
    "xml": (read_nccl_topology, test_nccl_topology.DUMP),
    "galvatron": (read_galvatron_bandwidth, '{"allreduce_size_16_consec_1": 45.5, "pp_size_2": 7.5}'),
    "pipette": (read_pipette_bandwidth, '{"gpus": ["a", "b"], "bandwidth": [[200, 16.5], [12, 1]]}'),
}
PIECES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["\t", "\n", "NV18", "GPU0", "[", "]", "=", "{", "}", ": ", "- ", "<", ">", '"', "0", "-1", "1e999"]
    ),
)


@pytest.mark.parametrize("layout", READERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cuts_and_insertions_never_crash_a_reader(layout: str, data: st.DataObject) -> None:
    reader, text = READERS[layout]
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 40)))
        text = text[:begin] + data.draw(PIECES) + text[end:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_text(text, encoding="utf-8")
        for use in (reader, recognise, lambda path: import_files([path], Wanted(gpu="a100-sxm-40gb"))):
            with suppress(SpecError):
                use(path)
