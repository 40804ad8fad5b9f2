"""A plan with any one field corrupted is caught, by its digest and, where the digest was recomputed
to match, by what the field means."""

import re
from collections.abc import Callable
from importlib import import_module

import pytest

from costmodels.configuration import Job
from costmodels.price import StepPrice
from costmodels.step_price import price_step
from planner.plan import Plan, PlanError
from planner.plan.writing import seal
from planner.solve import SolveOptions, solve
from planner.validate import validate_json
from planner.validate.document import check_canonical, check_digests
from planner.validate.findings import Report
from tests.planner.plan import samples
from tests.planner.validate.mutations import mutations

MEANINGLESS = [
    # names and texts: nothing is computed from them
    r"/(inputs/cluster|ground/machines/\d+)/(name|gpu/name|gpu/architecture)",
    r"/inputs/model/(name|kinds/\d+/name)",
    r"/inputs/calibration/name",
    r"/certificate/method",
    r"/certificate/alternatives/\d+/reason",
    r"/provenance/version",
    r"/(provenance|ground/figures/\d+)/figures/\w+/source",
    r"/ground/figures/\d+/name",
    # effort of the search, which no figure of the plan follows from
    r"/certificate/searched/refined",
]
"""Keys whose corruption leaves a plan that is as right as before: only the digest tells."""


@pytest.fixture(autouse=True)
def priced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most corruptions leave the inputs of a price as they are: each is priced once. A price depends on
    its arguments alone, and on all that ``repr`` shows of them."""
    prices: dict[str, StepPrice] = {}

    def price_once(*arguments: object) -> StepPrice:
        key = repr(arguments)
        if key not in prices:
            prices[key] = price_step(*arguments)  # type: ignore[arg-type]
        return prices[key]

    monkeypatch.setattr(import_module("planner.validate.prices"), "price_step", price_once)


def caught_as_written(document: object) -> bool:
    """The digests, or the schema, tell that the document is not what was written."""
    report = Report()
    try:
        plan = Plan.from_json(document)
    except PlanError:
        return True
    check_canonical(plan, document, report)
    check_digests(plan, report)
    return not report.clean


def assert_all_caught(plan: Plan, inert: list[str], under: str = "") -> None:
    """``inert``: inputs that this plan's configuration happens not to use; ``under``: keys that are corrupted."""
    document = plan.to_json()
    assert validate_json(document) == []
    silent = []
    for path, what, corrupted in mutations(document):
        if not path.startswith(under):
            continue
        assert caught_as_written(corrupted), f"{path} {what}"
        if path in ("", "/inputs", "/digest", "/inputs/digest"):
            continue
        if not validate_json(seal(corrupted)):
            silent.append(f"{path} {what}")
    allowed = re.compile("|".join(f"(?:{pattern}) (?:changed|empty|.* one)" for pattern in MEANINGLESS))
    unexplained = [entry for entry in silent if not allowed.fullmatch(entry)]
    found = [e for e in unexplained if not any(re.fullmatch(pattern, e) for pattern in inert)]
    assert found == [], "\n".join(found)


def solved(model: samples.Model, nodes: int, job: Job, **pins: int) -> Callable[[], Plan]:
    def make() -> Plan:
        outcome = solve(
            samples.h100_cluster(nodes), model, job, options=SolveOptions(pins=pins, top_k=2, forbid=frozenset({"cp"}))
        )
        assert outcome.plan is not None
        return outcome.plan

    return make


def test_interleaved_dense_plan() -> None:
    plan = solved(samples.LLAMA_8B, 2, Job(global_batch=64, sequence_length=4096), tp=2, pp=4, vp=2)()
    assert plan.schedule.name == "interleaved-1f1b"
    assert_all_caught(
        plan,
        [
            r"/inputs/cluster/gpu/peak_flops/(fp16|fp8) .*",  # the job is bf16
            r"/inputs/model/tied_embeddings flipped",  # two stages hold two copies anyway
            r"/inputs/job/expert_imbalance slightly more",  # no experts
            r"/inputs/job/expert_overlap flipped",
            r"/inputs/job/cuda_graphs flipped",  # no launch floor on this GPU, no experts
        ],
    )


def test_plan_with_experts_and_a_prediction_layer() -> None:
    job = Job(global_batch=64, sequence_length=4096, expert_imbalance=1.2)
    plan = solved(samples.LATENT_MOE, 2, job, tp=2, pp=2, ep=4)()
    assert plan.parallelism.ep == 4
    assert_all_caught(
        plan,
        [
            r"/inputs/cluster/gpu/peak_flops/(fp16|fp8) .*",
            r"/inputs/model/tied_embeddings flipped",
        ],
    )


def test_plan_on_one_node_without_a_pipeline() -> None:
    plan = samples.single_stage_windowed()
    assert plan.parallelism.pp == 1
    assert_all_caught(
        plan,
        [
            r"/inputs/cluster/gpu/peak_flops/(bf16|fp8) .*",  # the job is fp16
            r"/inputs/cluster/scale_out/.*",  # one NVLink domain
            r"/inputs/job/tensor_overlap flipped",  # no tensor group
            r"/inputs/job/expert_imbalance slightly more",
            r"/inputs/job/(expert_overlap|cuda_graphs) flipped",  # no experts, no launch floor
            r"/inputs/model/(kinds|layers) swapped",  # one stage: the order of its layers costs nothing
        ],
    )


def test_plan_on_unlike_ground() -> None:
    """The section that other plans do not have."""
    plan = samples.unlike_ground()
    assert plan.ground is not None
    assert_all_caught(
        plan,
        [
            r"/ground/machines/\d/gpu/peak_flops/(fp16|fp8) .*",
            r"/ground/machines/\d/scale_out/.*",  # links of edges and states are written out
            r"/ground/states/0/.*",  # the other stage's reduction ends last
            r"/ground/states/1/latency_seconds slightly more",  # too little to tell
            r"/ground/rows/1/edges/0/\w+ slightly more",
            rf"/ground/figures/1/figures/({UNUSED})/value (slightly more|halved)",
            r"/ground/figures/1/figures/workspace_bytes/value slightly more",
        ],
        under="/ground",
    )


UNUSED = "|".join(
    (
        "all_to_all_fraction|block_scaling_fraction|fp[48]_.*|group.*|moe_.*",  # bf16, no experts
        "attention_.*softmax_width|host_jitter_.*|layer_floor_.*|graphed_.*",  # never the limit
        "in_network_.*|low_latency_.*|tensor_serial_factor|fsdp_.*",  # large messages, no switch, ZeRO 1
        "step_seconds|straggler_.*",  # the other machine's are larger
    )
)
"""Figures of the A100 that the plan on unlike ground does not use."""


def test_a_foreign_value_does_not_count_as_written() -> None:
    """The walk itself: a plan is accepted, and a changed one is not."""
    document = samples.single_stage_windowed().to_json()
    assert not caught_as_written(document)
    assert caught_as_written({**document, "digest": "sha256:0"})


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ({"a": 1}, {"dropped", "less one", "plus one", "huge", "of another type", "with one more key"}),
        ({"a": [1.5, 2.5]}, {"slightly more", "halved", "negative", "grown", "truncated", "swapped"}),
        ({"a": True, "b": None, "c": "x"}, {"flipped", "number", "changed", "empty"}),
    ],
)
def test_mutations_reach_every_value_in_every_way(value: dict[str, object], kinds: set[str]) -> None:
    found = list(mutations(value))
    assert kinds <= {what for _, what, _ in found}
    assert {path for path, _, _ in found} >= {f"/{key}" for key in value}
    assert all(corrupted != value for _, _, corrupted in found)
