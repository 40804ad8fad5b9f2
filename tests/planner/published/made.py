"""Predicted rows made up for hand calculations, on the question of a real one."""

from dataclasses import replace
from functools import lru_cache

from planner.published import PredictedRow
from planner.readers.published_rows import Row, read_row

CELLS = {
    "row_id": "made-1",
    "source_id": "made",
    "source_date": "2024-01-01",
    "model": "GPT 22B",
    "model_key": "gpt_inline",
    "gpu": "A100",
    "gpu_mem_gb": "80",
    "n_gpus": "8",
    "precision": "BF16",
    "seq_len": "2048",
    "gbs": "8",
    "mbs": "1",
    "tp": "8",
    "pp": "1",
    "zero_stage": "1",
    "recompute": "none",
    "extra_json": '{"layers": 48, "hidden": 6144, "heads": 64, "vocab": 51200}',
}


@lru_cache(maxsize=256)
def _row(changes: tuple[tuple[str, str], ...]) -> Row:
    return read_row(CELLS | dict(changes), "line 2", "made")


def made(
    measured: float | None = None,
    predicted: float | None = None,
    *,
    memory: tuple[float, float] | None = None,
    status: str = "ok",
    **cells: str,
) -> PredictedRow:
    """A row measured at ``measured`` seconds and predicted at ``predicted``; ``memory``: the same of its GB."""
    row = _row(tuple(sorted(cells.items())))
    peak, said = memory or (None, None)
    row = replace(row, measured_seconds=measured, measured_memory=peak)
    return PredictedRow(row=row, status=status, seconds=predicted, memory=said)
