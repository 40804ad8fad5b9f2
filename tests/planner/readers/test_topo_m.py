"""``nvidia-smi topo -m``: the layouts of old and new drivers, of terminals and of pasted text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.readers.topo_m import TopoMatrix, looks_like_topo_m, read_topo_m
from planner.specs.errors import SpecError

LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges within a NUMA node
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""
TABS = (
    "\tGPU0\tGPU1\tNIC0\tNIC1\tNIC2\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
    "GPU0\t X \tNV18\tNODE\tPIX\tSYS\t0-63,128-191\t0\t\tN/A\n"
    "GPU1\tNV18\t X \tSYS\tSYS\tPXB\t64-127,192-255\t1\t\tN/A\n"
    "NIC0\tNODE\tSYS\t X \tNODE\tSYS\t\t\t\t\n"
    "NIC1\tPIX\tSYS\tNODE\t X \tSYS\t\t\t\t\n"
    "NIC2\tSYS\tPXB\tSYS\tSYS\t X \t\t\t\t\n"
    + LEGEND
    + "\nNIC Legend:\n\n  NIC0: mlx5_0\n  NIC1: mlx5_2\n  NIC2: mlx5_bond_0\n"
)
BLANKS = """        GPU0    GPU1    GPU2    GPU3    mlx5_0  mlx5_1  CPU Affinity    NUMA Affinity
GPU0     X      NV1     SYS     SYS     NODE    SYS     0-15            0
GPU1    NV1      X      SYS     SYS     NODE    SYS     0-15            0
GPU2    SYS     SYS      X      NV2     SYS     PHB     16-31           1
GPU3    SYS     SYS     NV2      X      SYS     PHB     16-31           1
mlx5_0  NODE    NODE    SYS     SYS      X      SYS
mlx5_1  SYS     SYS     PHB     PHB     SYS      X
"""


def read(tmp_path: Path, text: str) -> list[TopoMatrix]:
    path = tmp_path / "topo.txt"
    path.write_text(text)
    return read_topo_m(path)


def test_tabs_and_numbered_cards_with_their_legend(tmp_path: Path) -> None:
    (matrix,) = read(tmp_path, TABS)
    assert (matrix.gpus, matrix.nics) == (("GPU0", "GPU1"), ("NIC0", "NIC1", "NIC2"))
    assert matrix.nvlinks("GPU0") == {"GPU1": 18}
    assert {gpu: matrix.nearest_nics(gpu) for gpu in matrix.gpus} == {"GPU0": ("NIC1",), "GPU1": ("NIC2",)}
    assert matrix.nic_devices == {"NIC0": "mlx5_0", "NIC1": "mlx5_2", "NIC2": "mlx5_bond_0"}
    assert matrix.cpus == {"GPU0": "0-63,128-191", "GPU1": "64-127,192-255"}
    assert matrix.numa == {"GPU0": 0, "GPU1": 1}
    assert (matrix.links["GPU0", "NIC0"], matrix.links["NIC0", "GPU0"]) == ("NODE", "NODE")
    assert matrix.notes == ()


def test_pasted_blanks_and_cards_by_name(tmp_path: Path) -> None:
    (matrix,) = read(tmp_path, BLANKS + LEGEND)
    assert matrix.nvlinks("GPU3") == {"GPU0": 0, "GPU1": 0, "GPU2": 2}
    assert matrix.nearest_nics("GPU0") == ("mlx5_0",)
    assert matrix.nearest_nics("GPU3") == ("mlx5_1",)
    assert matrix.nic_devices == {"mlx5_0": "mlx5_0", "mlx5_1": "mlx5_1"}
    assert matrix.numa == {"GPU0": 0, "GPU1": 0, "GPU2": 1, "GPU3": 1}
    assert matrix.notes == ()


@pytest.mark.parametrize("mark", ["\x1b[4m", "[4m", "\x1b[1;4m"])
def test_underlining_of_a_terminal_changes_nothing(tmp_path: Path, mark: str) -> None:
    head, _, rest = TABS.partition("\n")
    cells = head.split("\t")
    marked = f"{cells[0]}\t{mark}" + "\t".join(cells[1:]) + "\x1b[0m\n" + rest
    (matrix,), (plain,) = read(tmp_path, marked), read(tmp_path, TABS)
    assert (matrix.links, matrix.numa, matrix.notes) == (plain.links, plain.numa, ())


@given(st.permutations(range(6)), st.permutations(range(6)), st.booleans())
def test_rows_and_columns_may_stand_in_any_order(columns: list[int], rows: list[int], tabs: bool) -> None:
    import tempfile

    lines = [line.split() for line in BLANKS.splitlines()]
    names, table = lines[0][:6], [line[1:7] for line in lines[1:]]
    join = "\t" if tabs else "   "
    text = join + join.join(names[c] for c in columns) + "\n"
    text += "".join(join.join([names[r], *(table[r][c] for c in columns)]) + "\n" for r in rows)
    with tempfile.TemporaryDirectory() as folder:
        (matrix,) = read(Path(folder), text)
        (plain,) = read(Path(folder), BLANKS)
    assert (matrix.gpus, matrix.nics, matrix.links) == (plain.gpus, plain.nics, plain.links)


def test_several_matrices_with_text_between_stay_apart(tmp_path: Path) -> None:
    text = f"# collected\n{TABS}\n=====\nuser@host $ nvidia-smi topo -m\n{BLANKS}{LEGEND}"
    first, second = read(tmp_path, text)
    assert (len(first.gpus), len(second.gpus)) == (2, 4)
    assert [(note.line, note.text) for note in first.notes] == [(24, "user@host $ nvidia-smi topo -m")]
    assert (second.line, second.notes) == (25, ())


def test_a_matrix_of_another_tool_is_passed_over_and_told(tmp_path: Path) -> None:
    rocm = "       GPU0         GPU1\nGPU0   0            XGMI\nGPU1   XGMI         0\n"
    (matrix,) = read(tmp_path, BLANKS + rocm)
    assert len(matrix.gpus) == 4
    assert [str(note).split(": ", 1)[1] for note in matrix.notes] == [
        "lines 8 to 10: a matrix without a connection that 'nvidia-smi topo -m' writes: passed over"
    ]


@pytest.mark.parametrize(
    ("affinities", "numa"),
    [
        ("0-47\t0\t\tN/A", {"GPU0": 0}),
        ("0-47\t\t\tN/A", {}),
        ("0-47\t\t\t1", {}),
        ("0-47\tN/A\t\tN/A", {}),
        ("\t\t\t", {}),
        ("0-47", {}),
    ],
)
def test_numa_cells_that_are_missing_stay_unknown(tmp_path: Path, affinities: str, numa: dict[str, int]) -> None:
    text = "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
    text += f"GPU0\t X \tPHB\t{affinities}\nGPU1\tPHB\t X \t\t\t\t\n"
    (matrix,) = read(tmp_path, text)
    assert (matrix.numa, matrix.notes) == (numa, ())


def test_a_figure_that_may_belong_to_either_column_is_not_taken(tmp_path: Path) -> None:
    text = "      GPU0  GPU1  CPU Affinity  NUMA Affinity  GPU NUMA ID\n"
    text += "GPU0  X  PHB  0-47  3\nGPU1  PHB  X  0-47  0  N/A\n"
    (matrix,) = read(tmp_path, text)
    assert matrix.numa == {"GPU1": 0}
    assert [(note.line, note.text) for note in matrix.notes] == [(2, "3")]


def test_unknown_cells_and_short_rows_are_told_and_the_rest_read(tmp_path: Path) -> None:
    text = "\tGPU0\tGPU1\tGPU2\nGPU0\t X \tNV4\t???\nGPU1\tNV4\t X \tNV4\nGPU2\tNV4\n"
    (matrix,) = read(tmp_path, text)
    assert matrix.links == {
        ("GPU0", "GPU1"): "NV4",
        ("GPU1", "GPU0"): "NV4",
        ("GPU1", "GPU2"): "NV4",
        ("GPU2", "GPU1"): "NV4",
    }
    assert [(note.line, note.text) for note in matrix.notes] == [(2, "???"), (4, "GPU2\tNV4"), (1, "GPU2")]


def test_gpus_listed_in_the_same_file_give_their_names(tmp_path: Path) -> None:
    listed = "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-0)\nGPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-1)\n"
    (matrix,) = read(tmp_path, listed + TABS)
    assert matrix.gpu_names == ("NVIDIA A100-SXM4-80GB",) * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing here\n", "holds no matrix"),
        ("\tGPU0\tGPU1\nGPU0\t X \tNV4\nGPU1\tPHB\t X \n", "line 3"),
        ("\tGPU0\tGPU0\nGPU0\t X \tNV4\n", "two columns"),
        ("\tGPU0\tGPU1\nGPU0\t X \tNV4\nGPU0\t X \tNV4\n", "has a row already, line 2"),
    ],
)
def test_what_cannot_be_true_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value).replace("topo.txt:3", "line 3")


def test_prose_about_gpus_is_no_matrix() -> None:
    assert not looks_like_topo_m("GPU0 and GPU1 are fine\nGPU0 is hot\n")
    assert looks_like_topo_m(TABS)
