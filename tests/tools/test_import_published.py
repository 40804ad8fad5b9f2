"""What the import of published tables leaves out, and that it leaves out nothing that matters."""

import csv
import json
from pathlib import Path

from planner.readers.published_rows import read_rows
from tests.planner.published.made import CELLS
from tools.import_published import as_csv, compact, differing, families, originals

ROW = CELLS | {
    "source_ref": "somebody/runs@1234:table.md#L7 (a remark)",
    "task": "pretrain",
    "tokens_per_s_per_gpu": "1000",
    "step_time_s": "2.048",
    "mfu_pct": "40",
    "tp": "8.0",
    "notes": "nothing the reader knows; attention without flash, a third clause",
    "extra_json": json.dumps({"layers": 48, "hidden": 6144, "heads": 64, "vocab": 51200, "header": "table 1"}),
}


def test_unread_columns_keys_and_clauses_are_left_out() -> None:
    (found,) = compact([ROW])
    assert "mfu_pct" not in found  # the reader does not know it
    assert "tokens_per_s_per_gpu" not in found  # the step time stands
    assert "task" not in found  # only LoRA matters
    assert json.loads(found["extra_json"]) == {"layers": 48, "hidden": 6144, "heads": 64, "vocab": 51200}
    assert found["notes"] == "attention without flash"
    assert (found["tp"], found["source_ref"]) == ("8", "somebody/runs@1234:table.md#L7")


def test_what_matters_to_one_row_stays_for_all() -> None:
    tuned, rated = ROW | {"row_id": "made-2", "task": "lora"}, ROW | {"row_id": "made-3", "step_time_s": ""}
    found = compact([ROW, tuned, rated])
    assert [row["task"] for row in found] == ["pretrain", "lora", "pretrain"]
    assert [row["tokens_per_s_per_gpu"] for row in found] == ["1000"] * 3


def test_the_written_table_asks_the_same_and_a_changed_one_is_noticed(tmp_path: Path) -> None:
    path, rows = tmp_path / "made.csv", [ROW, ROW | {"row_id": "made-2", "mbs": "2"}]
    path.write_text(as_csv(compact(rows)))
    assert differing(rows, path) == []
    assert [row.measured_seconds for row in read_rows(path)] == [2.048, 2.048]
    path.write_text(as_csv(compact([ROW, ROW | {"row_id": "made-2", "mbs": "4"}])))
    assert differing(rows, path) == ["made-2"]
    path.write_text(as_csv(compact([ROW])))
    assert differing(rows, path) == ["made-2"]


def test_only_tables_of_runs_are_taken_and_parts_of_a_family_go_together(tmp_path: Path) -> None:
    (tmp_path / "comm.csv").write_text("row_id,busbw_GBps\n1,2\n")
    (tmp_path / "models.csv").write_text("model_key,norm\nx,rms\n")
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerows([ROW | {"source_id": "x-multi"}, ROW | {"source_id": "x-single"}, ROW | {"source_id": "y"}])
    found = families(originals(tmp_path))
    assert {name: len(rows) for name, rows in found.items()} == {"x": 2, "y": 1}
