"""Files are known by what stands in them, whatever they are called."""

from pathlib import Path

import pytest

from planner.importing import KINDS, recognise
from planner.specs.errors import SpecError

FILES = {
    "topo-m": "\tGPU0\tGPU1\nGPU0\t X \tNV4\nGPU1\tNV4\t X \n",
    "nccl-topology": '<?xml version="1.0"?>\n<!-- dump -->\n<system version="1"></system>\n',
    "nccl-tests": "[1,0]<stdout>:  1024  256  float  sum  -1  10.1  0.1  0.2  0  10.0  0.1  0.2  0\n",
    "slurm": "# nodes\n  switchname=s0 Nodes=n[1-2]\n",
    "topograph": "switches: {s0: {nodes: [n1]}}\n",
    "galvatron": '{"pp_size_2": 7.5}',
    "pipette": '{"gpus": ["a", "b"], "bandwidth": [[1, 2], [2, 1]]}',
    "huggingface": '{"model_type": "qwen3", "hidden_size": 64}',
}


def test_there_is_an_example_of_every_kind() -> None:
    assert FILES.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", FILES)
def test_content_tells_the_kind(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(FILES[kind])
    assert recognise(path) == kind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "is of no known kind"),
        ("a: 1\n", "is of no known kind"),
        ("name: x\nnode_groups: []\n", "is a spec already"),
        ("name: x\nhidden: 8\nkinds: {}\n", "is a spec already"),
    ],
)
def test_what_is_none_of_them_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        recognise(path)
    assert message in str(caught.value)
