"""Four processes run exported schedules in PyTorch's pipeline runtime and match one process that has it all."""

import json
from multiprocessing import set_forkserver_preload
from pathlib import Path
from typing import Any

import pytest

from costmodels.timeline import schedule_order
from planner.exports import export
from planner.exports.torch_csv import schedule_csv
from tests.consumers.orders import made
from tests.consumers.required import need_consumer
from tests.planner.plan import samples

need_consumer("torch", "torch")

DEVICES = 4
SCHEDULES = ("plan", "1f1b", "zb-h1", "v", "capped")


def exported() -> dict[str, str]:
    """``plan``: a whole plan, interleaved 1F1B with two chunks a rank."""
    return {
        "plan": export(samples.interleaved_dense(), "torch-csv")["schedule.csv"],
        "1f1b": schedule_csv(schedule_order("1f1b", DEVICES, 1, 8)),
        "zb-h1": schedule_csv(schedule_order("zb-h1", DEVICES, 1, 8)),
        "v": schedule_csv(schedule_order("v-half", DEVICES, 2, 6)),
        "capped": schedule_csv(made(DEVICES, 8, 3.0)),
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By schedule, what each rank found."""
    from torch.multiprocessing.spawn import start_processes

    from tests.consumers.torch_run import run

    folder = tmp_path_factory.mktemp("schedules")
    for name, text in exported().items():
        (folder / f"{name}.csv").write_text(text)
    set_forkserver_preload(["tests.consumers.torch_run"])  # PyTorch is imported once, not in every process
    start_processes(run, args=(DEVICES, str(folder)), nprocs=DEVICES, start_method="forkserver")

    def read(name: str, rank: int) -> Any:
        return json.loads(Path(folder, f"{name}.{rank}.json").read_text())

    return {name: [read(name, rank) for rank in range(DEVICES)] for name in SCHEDULES}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_loss_is_that_of_a_single_process(name: str, results: dict[str, list[dict[str, Any]]]) -> None:
    """The mean over equal micro-batches is the mean over the batch."""
    (losses,) = (rank["losses"] for rank in results[name] if rank["losses"])
    assert len(losses) == {"plan": 16, "v": 6}.get(name, 8)
    assert sum(losses) / len(losses) == pytest.approx(results[name][0]["alone"], rel=1e-13)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_gradient_is_that_of_a_single_process(name: str, results: dict[str, list[dict[str, Any]]]) -> None:
    """In float64 sums in another order differ in the last digits alone. An attention chunk has 12 tensors, a
    feed-forward chunk 5."""
    ranks = results[name]
    held = [chunk for rank in ranks for chunk in rank["chunks"]]
    assert sorted(held) == list(range(8 if name in ("plan", "v") else 4))
    assert sum(rank["gradients"] for rank in ranks) == len(held) // 2 * (12 + 5)
    for rank in ranks:
        assert rank["missing"] == 0
        assert rank["largest_gradient"] > 1e-3
        assert rank["largest_difference"] < 1e-13


def test_the_v_keeps_its_ends_on_one_rank(results: dict[str, list[dict[str, Any]]]) -> None:
    assert [rank["chunks"] for rank in results["v"]] == [[0, 7], [1, 6], [2, 5], [3, 4]]
