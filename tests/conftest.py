"""What several packages of tests share."""

import pickle
from pathlib import Path

import pytest

from planner.published import PredictedRow, predict_rows
from planner.published.bundled import bundled_rows


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> list[PredictedRow]:
    """Every bundled published run, predicted once; the processes of one run of the tests share it by a file."""
    if worker_id == "master":
        return list(predict_rows(bundled_rows()))
    shared = tmp_path_factory.getbasetemp().parent / "published"
    if not shared.exists():
        draft = Path(f"{shared}.{worker_id}")
        draft.write_bytes(pickle.dumps(list(predict_rows(bundled_rows()))))
        draft.replace(shared)
    found: list[PredictedRow] = pickle.loads(shared.read_bytes())
    return found
