"""Predictions of published rows: the paper tables, choices, and scores worked out by hand."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from planner.published import PredictedRow, best_choice, predict_rows, printed_bytes, scores
from planner.readers.published_rows import Row, read_rows

GPT = {
    "source_date": "2022-05",
    "model_key": "gpt_inline",
    "gpu": "A100",
    "gpu_mem_gb": "80",
    "gpus_per_node": "8",
    "precision": "FP16",
    "seq_len": "2048",
    "tp": "8",
    "zero_stage": "0",
}
SHAPES = {
    "22B": (48, 6144, 64),
    "175B": (96, 12288, 96),
    "530B": (105, 20480, 128),
    "1T": (128, 25600, 160),
}
TABLE_5 = [  # Korthikanti et al., arXiv 2205.05198, Tables 3 and 5: full recompute, then sp + selective
    ("22B", 8, 4, 4, 1, 1, "full", 1.42),
    ("22B", 8, 4, 4, 1, 1, "selective", 1.10),
    ("175B", 64, 64, 1, 8, 3, "full", 18.13),
    ("175B", 64, 64, 1, 8, 3, "selective", 13.75),
    ("530B", 280, 280, 1, 35, 3, "full", 49.05),
    ("530B", 280, 280, 1, 35, 3, "selective", 37.83),
    ("1T", 512, 512, 1, 64, 1, "full", 94.42),
    ("1T", 512, 512, 1, 64, 1, "selective", 71.49),
]
TABLE_1 = [  # Narayanan et al., arXiv 2104.04473, Table 1: seconds from its TFLOP/s per GPU by its equation 3
    (30, 3072, 32, 2, 1, 64, 512, 3.6974),
    (36, 4096, 32, 4, 1, 128, 512, 3.6963),
    (48, 8192, 64, 8, 2, 512, 1536, 14.4535),
    (80, 12288, 96, 8, 8, 1536, 2304, 24.8174),
    (128, 25600, 160, 8, 64, 3072, 3072, 102.63),
]


def rows(folder: Path, cells: list[dict[str, str]]) -> list[Row]:
    path = folder / "runs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted({column for row in cells for column in row}))
        writer.writeheader()
        writer.writerows(cells)
    return list(read_rows(path))


def inline(layers: int, hidden: int, heads: int) -> str:
    return f'{{"layers": {layers}, "hidden": {hidden}, "heads": {heads}, "vocab": 51200}}'


def mean_error(found: list[PredictedRow]) -> float:
    errors = [abs(row.time_error) for row in found if row.time_error is not None]
    assert len(errors) == len(found)
    return sum(errors) / len(errors)


def table_5() -> list[dict[str, str]]:
    return [
        GPT
        | {
            "source_id": "korthikanti22",
            "extra_json": inline(*SHAPES[name]),
            "n_gpus": str(gpus),
            "gbs": str(batch),
            "mbs": str(mbs),
            "pp": str(pp),
            "vp": str(vp),
            "recompute": recompute,
            "sp": str(int(recompute == "selective")),
            "step_time_s": str(seconds),
        }
        for name, gpus, batch, mbs, pp, vp, recompute, seconds in TABLE_5
    ]


def table_1() -> list[dict[str, str]]:
    return [
        GPT
        | {
            "source_id": "narayanan21",
            "source_date": "2021-08",
            "extra_json": inline(layers, hidden, heads),
            "n_gpus": str(gpus),
            "gbs": str(batch),
            "tp": str(tp),
            "pp": str(pp),
            "recompute": "full",
            "schedule": "interleaved 1F1B + scatter/gather",
            "step_time_s": str(seconds),
        }
        for layers, hidden, heads, tp, pp, gpus, batch, seconds in TABLE_1
    ]


def test_the_a100_tables_of_both_megatron_papers_are_met_within_15_percent(tmp_path: Path) -> None:
    first = list(predict_rows(rows(tmp_path, table_5())))
    assert [row.status for row in first] == ["ok"] * len(TABLE_5)
    assert mean_error(first) <= 0.15
    second = list(predict_rows(rows(tmp_path, table_1())))
    assert [row.status for row in second] == ["ok"] * len(TABLE_1)
    assert mean_error(second) <= 0.15


def test_of_several_choices_the_fastest_that_fits_stands_for_the_row(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, table_1()[3:4])
    assert row.request is not None
    assert len(row.request.choices) > 1
    best = best_choice(row.request)
    alone = [best_choice(replace(row.request, choices=(choice,))) for choice in row.request.choices]
    assert best.step_seconds == min(found.step_seconds for found in alone if found.feasible)
    (predicted,) = predict_rows([row])
    chosen = best.configuration
    assert predicted.assumptions[-1] == f"mbs={chosen.mbs} vp={chosen.vp} recompute={chosen.recompute}"


def test_memory_is_that_of_the_rank_and_unit_of_the_row(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, table_5()[3:4])
    assert row.request is not None
    found = best_choice(row.request)
    inside = [s.memory.peak_bytes - s.memory.runtime_bytes for s in found.price.stages]
    assert inside[0] != inside[-1]
    assert printed_bytes(found, row) == max(inside)
    assert printed_bytes(found, replace(row, memory_rank="last")) == inside[-1]
    (predicted,) = predict_rows([replace(row, memory_unit_bytes=float(2**30))])
    assert predicted.memory == max(inside) / 2**30


def test_a_configuration_that_does_not_exist_is_unsupported_and_not_an_error(tmp_path: Path) -> None:
    cells = table_5()[2] | {"gbs": "63", "mbs": "2"}
    (predicted,) = predict_rows(rows(tmp_path, [cells]))
    assert predicted.status.startswith("unsupported: ")
    assert predicted.reason
    assert predicted.seconds is None


def test_a_run_over_memory_is_priced_and_called_infeasible(tmp_path: Path) -> None:
    """530B without recompute needs more than 80 GB per GPU (arXiv 2205.05198, Figure 1)."""
    cells = table_5()[4] | {"recompute": "none"}
    (predicted,) = predict_rows(rows(tmp_path, [cells]))
    assert predicted.status == "infeasible"
    assert predicted.seconds is not None


def test_scores_are_means_and_percentiles_of_absolute_errors(tmp_path: Path) -> None:
    """By hand: errors +10 %, -20 %, +30 % have mean 20 % and, interpolated, 90th percentile 28 %."""
    row = rows(tmp_path, table_5()[:1])[0]
    measured = replace(row, measured_seconds=10.0, measured_memory=None)
    found = [PredictedRow(row=measured, status="ok", seconds=seconds) for seconds in (11.0, 8.0, 13.0)]
    found.append(PredictedRow(row=measured, status="unsupported: LoRA"))
    (score,) = scores(found)
    assert (score.name, score.rows, score.predicted) == ("korthikanti22", 4, 3)
    assert score.time is not None
    assert (score.time.rows, score.time.mean, score.time.p90) == (3, pytest.approx(0.2), pytest.approx(0.28))
    assert score.time.bias == pytest.approx(0.2 / 3)
    assert score.memory is None
    assert score.refused == {"LoRA": 1}
