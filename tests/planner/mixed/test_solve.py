"""Plans on unlike groups: whole, valid, and better than those that overlook the differences."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from costmodels.configuration import Job
from planner.mixed.baselines import baselines
from planner.mixed.islands import Islands, Trunk
from planner.mixed.search import search
from planner.mixed.solve import solve_mixed
from planner.solve import SolveOptions
from planner.space import IllegalConfiguration
from planner.specs import load_cluster, load_model
from planner.validate import validate
from solvers.solution import Stop
from tests.machines import dense_model
from tests.planner.cli.conftest import run  # noqa: F401 - a fixture
from tests.planner.mixed.machines import CALIBRATION, SLOW_LINK, group, islands

MODEL = dense_model(layers=8, hidden=2048, ffn=8192)
JOB = Job(global_batch=16, sequence_length=4096)
PINS: dict[str, int | str] = {"sp": 0, "cp": 1, "recompute": "none", "zero": 1, "mbs": 1}
OPTIONS = SolveOptions(pins=PINS, calibration=CALIBRATION)


def test_islands_keep_data_parallel_traffic_inside() -> None:
    """Two islands of equal GPUs and a slow trunk: pipelines run across it, no gradient does; a planner that does not
    see the trunk keeps replicas on both sides, and its step takes longer."""
    where = islands(group("here", 4), group("there", 4), link=replace(SLOW_LINK, bytes_per_second=2e9))
    outcome = solve_mixed(where, MODEL, JOB, options=replace(OPTIONS, pins={**PINS, "tp": 1}))
    assert outcome.status == "optimal"
    assert outcome.standing is not None
    for stage in range(outcome.standing.configuration.pp):
        assert len({lane.groups[stage] for lane in outcome.standing.lanes}) == 1
    blind, slowest = outcome.baselines
    assert blind.seconds is not None
    assert slowest.seconds is not None
    assert outcome.standing.seconds < blind.seconds
    assert outcome.standing.seconds < slowest.seconds


def test_unlike_gpus_hold_layers_by_their_speed_and_each_stage_fits() -> None:
    """4 A100 and 4 H100 nodes, Llama 2 70B: A100 stages hold fewer layers than any H100 stage, the plan is faster than
    both that overlook the difference, and the validator, which prices it anew, agrees."""
    a100 = replace(load_cluster("dgx-a100-80gb-8"), name="a100", nodes=4)
    h100 = replace(load_cluster("dgx-h100-8"), name="h100", nodes=4)
    where = Islands.joined((a100, h100), Trunk(link=a100.scale_out))
    pins: dict[str, int | str] = {"tp": 4, "sp": 1, "cp": 1, "recompute": "none", "zero": 1, "mbs": 1}
    job = Job(global_batch=64, sequence_length=4096)
    outcome = solve_mixed(where, load_model("llama-2-70b"), job, options=SolveOptions(pins=pins))
    plan, standing = outcome.plan, outcome.standing
    assert plan is not None
    assert standing is not None
    assert outcome.status == "optimal"
    assert validate(plan) == []
    layers = [sum(chunk.items for chunk in stage.chunks) for stage in plan.stages]
    (lane,) = standing.lanes
    by_group = {g: [n for n, on in zip(layers, lane.groups, strict=True) if on == g] for g in (0, 1)}
    assert max(by_group[0]) < min(by_group[1])
    assert standing.price.over_bytes <= 0
    assert all(one.seconds is None or one.seconds > standing.seconds for one in outcome.baselines)


def test_a_plan_for_the_mean_gpu_may_not_fit_the_smaller_one() -> None:
    """All of it fits 26 GB on the mean GPU, not on the one with 12."""
    where = islands(group("small", 1, 1.0, 7e9), group("large", 1, 1.0, 40e9), link=group("x", 1).scale_out)
    blind, slowest = baselines(where, [CALIBRATION] * 2, MODEL, JOB, OPTIONS)
    assert blind.seconds is None
    assert "GB short" in blind.why
    outcome = solve_mixed(where, MODEL, JOB, options=OPTIONS, compare=False)
    assert outcome.standing is not None
    assert outcome.standing.price.over_bytes <= 0
    assert slowest.seconds is None or slowest.seconds >= outcome.standing.seconds


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (replace(OPTIONS, pins={"vp": 2}), "vp is not searched"),
        (replace(OPTIONS, pins={"schedule": "zb-h1"}), "schedule is not searched"),
        (replace(OPTIONS, allow=frozenset({"vocabulary"})), "vocabulary is not searched"),
        (replace(OPTIONS, pins={"recompute": "full:uniform:2"}), "recompute=full:uniform:2"),
        (replace(OPTIONS, skip_ratio=0.5), "skip_ratio"),
    ],
)
def test_what_is_not_searched_on_unlike_groups_is_refused_by_name(options: SolveOptions, named: str) -> None:
    with pytest.raises(IllegalConfiguration, match=named):
        solve_mixed(islands(group("a", 1), group("b", 1, 0.5)), MODEL, JOB, options=options)


def test_the_time_limit_counts_from_the_start_and_leaves_an_answer_or_says_unknown() -> None:
    """A clock that has run out before anything was bounded, and one that runs out during the search."""
    where = islands(group("a", 2), group("b", 2, 0.5), link=group("x", 1).scale_out)
    nothing = solve_mixed(where, MODEL, JOB, options=replace(OPTIONS, time_limit_seconds=1e-9))
    assert nothing.status == "unknown"
    assert nothing.plan is None
    assert nothing.infeasibility is None
    found = search(where, [CALIBRATION] * 2, MODEL, JOB, pins=PINS, stop=_Third())
    assert found.best is not None
    assert found.result.status == "feasible"
    whole = search(where, [CALIBRATION] * 2, MODEL, JOB, pins=PINS)
    assert found.result.lower_bound <= whole.result.value * (1 + 1e-9)


class _Third:
    """Stops from the third time on that it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, evaluations: int) -> Stop | None:
        self.asked += 1
        return "time_limit" if self.asked >= 3 else None


def test_the_same_groups_give_the_same_plan() -> None:
    where = islands(group("a", 2), group("b", 2, 0.5), link=group("x", 1).scale_out)
    plans = [solve_mixed(where, MODEL, JOB, options=OPTIONS, compare=False).plan for _ in range(2)]
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[0].text() == plans[1].text()


def test_plan_solve_tells_which_group_holds_what(run: Callable[..., Result], tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "plan.json"
    asked = ("--model", "llama-2-70b", "--global-batch", 64, "--seq-len", 4096)
    pins = "tp=4,sp=1,cp=1,pp=4,mbs=1,zero=1,recompute=none"
    result = run("solve", "a100-h100-64", *asked, "--pin", pins, "-o", path)
    assert result.exit_code == 0
    for told in (
        "32 x a100-sxm-80gb + 32 x h100-sxm-80gb",
        "pipelines of 16 micro-batches",
        "h100-1..h100-4",
        "longer",
    ):
        assert told in result.stdout
    assert run("validate", path).exit_code == 0
    assert run("validate", path, "--cluster", "a100-h100-64").exit_code == 0
    elsewhere = run("validate", path, "--cluster", "two-islands-a100-64")
    assert elsewhere.exit_code == 1
    assert "is no group of nodes of the cluster" in elsewhere.stdout


def test_plan_solve_says_which_group_lacks_memory(run: Callable[..., Result]) -> None:  # noqa: F811
    asked = ("--model", "llama-2-70b", "--global-batch", 64, "--seq-len", 4096)
    result = run("solve", "a100-h100-64", *asked, "--pin", "tp=1,cp=1,pp=2,mbs=1,zero=0,sp=0,recompute=none")
    assert result.exit_code == 4
    assert "GB short" in result.stdout
    assert "a GPU of group" in result.stdout


def test_plan_predict_says_what_takes_unlike_nodes(run: Callable[..., Result]) -> None:  # noqa: F811
    asked = ("--model", "llama-2-70b", "--global-batch", 64, "--seq-len", 4096, "--config", "tp=8,pp=8")
    result = run("predict", "a100-h100-64", *asked)
    assert result.exit_code == 1
    assert "only plan solve takes unlike nodes" in result.output


def test_the_readme_s_pipelines_are_those_of_its_command(run: Callable[..., Result]) -> None:  # noqa: F811
    """Pinned to the degrees that won, which spares the search."""
    text = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if line.startswith("plan solve a100-h100-64"))
    shown = text.split(command)[1].split("```")[2].strip().splitlines()
    pins = "tp=4,sp=1,cp=1,pp=4,mbs=1,zero=1,recompute=none"
    told = run(*command.split()[1:], "--pin", pins).stdout.splitlines()
    beside = ("Overlooked", "               blind", "               all")
    lines = [line for line in shown if not line.startswith(beside)]
    assert len(lines) == 5
    assert all(line in told for line in lines)
