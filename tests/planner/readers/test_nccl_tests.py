"""Logs of nccl-tests: every layout, whatever stands before and between its lines."""

from pathlib import Path

import pytest

from planner.readers.nccl_tests import NcclRun, read_nccl_log
from planner.specs.errors import SpecError

RANKS = "\n".join(
    f"#  Rank {i:2d} Group  0 Pid  91{i} on node{i // 4} device {i % 4} [0x1b] NVIDIA H100 80GB HBM3" for i in range(8)
)
HEADER = """# nThread 1 nGpus 1 minBytes 8388608 maxBytes 33554432 step: 2(factor) warmup iters: 5 iters: 20
#
# Using devices
"""
OLD = """#       size         count    type   redop     time   algbw   busbw  error     time   algbw   busbw  error
     8388608       2097152   float     sum    162.0   51.79   90.63    N/A    160.0   52.44   91.77    N/A
  8589934592    2147483648   float     sum    63896  134.44  235.26    N/A    63959  134.30  235.03    N/A
"""
NEW = """#       size         count      type   redop    root   time   algbw   busbw #wrong   time   algbw  busbw #wrong
    16777216       8388608  bfloat16     sum      -1    101.5  165.29  289.26      0    100.0  167.77  293.60      0
    33554432      16777216  bfloat16     sum      -1    180.2  186.21  325.86      0    179.9  186.52  326.41      0
# Out of bounds values : 0 OK
"""


def read(tmp_path: Path, text: str, name: str = "job.log", **told: object) -> list[NcclRun]:
    path = tmp_path / name
    path.write_text(text)
    return read_nccl_log(path, **told)  # type: ignore[arg-type]


def seconds(run: NcclRun) -> list[tuple[float, float]]:
    return [(t.size_bytes, pytest.approx(t.seconds)) for t in run.timings]


def test_the_old_layout_without_root_column_is_read(tmp_path: Path) -> None:
    (run,) = read(tmp_path, HEADER + RANKS + "\n" + OLD)
    assert seconds(run) == [(8388608.0, 162e-6), (8589934592.0, 63896e-6)]
    assert (run.gpus, run.hosts, run.gpu_names) == (8, 2, ("NVIDIA H100 80GB HBM3",))
    assert run.collective == "all_reduce"  # 235.26 / 134.44 is 2 (8 - 1) / 8


def test_the_layout_with_root_and_wrong_columns_is_read(tmp_path: Path) -> None:
    (run,) = read(tmp_path, HEADER + RANKS + "\n" + NEW)
    assert seconds(run) == [(16777216.0, 101.5e-6), (33554432.0, 180.2e-6)]
    assert run.timings[0].line == 13
    assert run.notes == ()


def test_blank_redop_columns_of_all_to_all_are_no_figures(tmp_path: Path) -> None:
    line = (
        "    16777216        524288   float             160.4  104.62   91.55    N/A    158.8  105.64   92.43    N/A\n"
    )
    (run,) = read(tmp_path, HEADER + RANKS + "\n" + line, name="nccl_alltoall.log")
    assert seconds(run) == [(16777216.0, 160.4e-6)]
    assert run.collective == "all_to_all"  # by the file's name: its bandwidths are an all-gather's too


def test_a_root_of_zero_is_not_taken_for_a_time(tmp_path: Path) -> None:
    line = "  16777216  4194304  float  none  0  88.1  190.43  190.43  0  87.9  190.87  190.87  0\n"
    (run,) = read(tmp_path, "# Collective test starting: broadcast_perf\n" + HEADER + RANKS + "\n" + line)
    assert seconds(run) == [(16777216.0, 88.1e-6)]
    assert run.collective == "broadcast"


def test_in_place_times_stand_in_where_out_of_place_is_not_run(tmp_path: Path) -> None:
    line = "  16777216  4194304  float  sum  -1  N/A  N/A  N/A  N/A  87.9  190.87  334.02  0\n"
    (run,) = read(tmp_path, HEADER + RANKS + "\n" + line)
    assert seconds(run) == [(16777216.0, 87.9e-6)]


@pytest.mark.parametrize("prefix", ["[1,0]<stdout>:", "0: ", "2025-06-01T10:00:00.123Z ", "nccl-worker-0 | "])
def test_prefixes_and_interleaved_lines_change_nothing(tmp_path: Path, prefix: str) -> None:
    between = "node0:91:91 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read\n"
    plain = (HEADER + RANKS + "\n" + NEW).splitlines()
    noisy = "".join(f"{prefix}{line}\n{between}" for line in plain)
    (run,), (wanted,) = read(tmp_path, noisy), read(tmp_path, "\n".join(plain))
    assert seconds(run) == [(t.size_bytes, t.seconds) for t in wanted.timings]
    assert (run.collective, run.gpus, run.hosts, run.gpu_names) == (
        wanted.collective,
        wanted.gpus,
        wanted.hosts,
        wanted.gpu_names,
    )


def test_time_stamps_after_a_line_are_dropped(tmp_path: Path) -> None:
    stamped = "\n".join(f"{line}  2025-06-01 10:00:00" for line in NEW.splitlines()[1:3])
    (run,) = read(tmp_path, HEADER + RANKS + "\n" + stamped)
    assert seconds(run) == [(16777216.0, 101.5e-6), (33554432.0, 180.2e-6)]


def test_several_runs_in_one_file_stay_apart(tmp_path: Path) -> None:
    first = "$ srun all_reduce_perf -b 8M\n" + HEADER + RANKS + "\n" + NEW
    second = "# Collective test starting: all_gather_perf\n" + HEADER + RANKS.replace("node1", "node0") + "\n" + NEW
    runs = read(tmp_path, first + second)
    assert [(run.collective, run.hosts, len(run.timings)) for run in runs] == [
        ("all_reduce", 2, 2),
        ("all_gather", 1, 2),
    ]


def test_lines_cut_in_two_and_wrong_results_are_left_out_and_told(tmp_path: Path) -> None:
    cut = "    67108864      33554432  bfloat16     sum      -1  node0:91 NCCL INFO comm 0x55 rank 0\n"
    wrong = "  134217728  67108864  bfloat16  sum  -1  700.1  191.70  335.47  3  699.9  191.76  335.58  0\n"
    (run,) = read(tmp_path, HEADER + RANKS + "\n" + NEW + cut + wrong)
    assert len(run.timings) == 2
    assert [note.split(": ", 1)[1] for note in run.notes] == [
        "1 broken lines passed over: line 16",
        "1 sizes with wrong results left out: line 17",
    ]


def test_what_the_log_does_not_say_is_told_by_the_caller(tmp_path: Path) -> None:
    (run,) = read(tmp_path, NEW, gpus=16, nodes=2, collective="reducescatter")
    assert (run.gpus, run.hosts, run.collective) == (16, 2, "reduce_scatter")


@pytest.mark.parametrize(
    ("text", "told", "message"),
    [
        ("hello\n", {}, r"job\.log: .*nccl-tests log"),
        (NEW, {}, "how many GPUs and nodes"),
        (NEW, {"gpus": 9, "nodes": 2}, "9 ranks on 2 nodes"),
        (
            NEW.replace("sum", "none").replace("289.26", "144.6").replace("325.86", "162.9"),
            {"gpus": 8},
            "all_gather=FILE",
        ),
        (NEW, {"gpus": 8, "collective": "gossip"}, "gossip: must be one of all_reduce"),
        (
            HEADER + RANKS + "\n    67108864  33554432  half  sum  -1  broken\n",
            {},
            "no line of results is whole: line 12",
        ),
    ],
)
def test_a_log_that_cannot_be_used_is_refused_with_place_and_remedy(
    tmp_path: Path, text: str, told: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        read(tmp_path, text, **told)
