"""Uneven shares of a vocabulary split over the stages: chosen with the cut, priced, planned, checked."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job, Vocabulary
from costmodels.step import StepModel
from costmodels.step_price import price_cut, price_step
from costmodels.vocabulary import split_vocabulary
from planner.plan import Plan
from planner.predict import predict
from planner.pricing import Pricing
from planner.shared_cut import MOST_SHARES, shared_cut
from planner.solve import SolveOptions, solve
from planner.validate import validate, validate_json
from tests.machines import cluster, dense_model, moe_model

MACHINE = cluster(1, 4)
JOB = Job(global_batch=64, sequence_length=2048)
MODEL = replace(dense_model(layers=7), vocabulary=128000)
UNEVEN: tuple[Vocabulary, ...] = ("vocab-1", "vocab-2")
CUT = (0, 3, 5, 7, 9)


def step_of(configuration: Configuration, model=MODEL, machine=MACHINE, job=JOB) -> StepModel:  # type: ignore[no-untyped-def]
    return StepModel(model, machine, job, load_calibration(machine.gpu), Columns.of([configuration]))


@pytest.mark.parametrize("method", UNEVEN)
def test_a_stage_of_some_rows_is_one_of_a_vocabulary_of_which_that_is_the_even_share(method: Vocabulary) -> None:
    """Second method: for each stage another model, whose even share is what the stage holds here."""
    rows = (16000, 24000, 40000, 48000)
    configuration = Configuration(pp=4, vocabulary=method)
    uneven = price_step(MODEL, MACHINE, JOB, load_calibration(MACHINE.gpu), configuration, CUT, vocabulary_rows=rows)
    for stage, own in enumerate(rows):
        model = replace(MODEL, vocabulary=4 * own)
        even = price_step(model, MACHINE, JOB, load_calibration(MACHINE.gpu), configuration, CUT).stages[stage]
        found = uneven.stages[stage]
        assert found.vocabulary_seconds == even.vocabulary_seconds
        assert found.busy_seconds == pytest.approx(even.busy_seconds, rel=1e-12)
        assert found.dense_parameters == even.dense_parameters
        assert found.memory == even.memory


@pytest.mark.parametrize("method", UNEVEN)
def test_even_rows_given_are_even_shares(method: Vocabulary) -> None:
    arguments = (MODEL, MACHINE, JOB, load_calibration(MACHINE.gpu), Configuration(pp=4, vocabulary=method), CUT)
    assert price_step(*arguments, vocabulary_rows=(32000,) * 4) == price_step(*arguments)


@pytest.mark.parametrize(
    ("vocabulary", "rows", "message"),
    [
        ("whole", (1, 1, 1, 1), "vocabulary=whole has no shares"),
        ("interlaced", (1, 1, 1, 1), "vocabulary=interlaced has no shares"),
        ("vocab-1", (1, 1), "2 figures for pp=4"),
    ],
)
def test_rows_that_no_stage_can_have_are_refused(vocabulary: Vocabulary, rows: tuple[int, ...], message: str) -> None:
    calibration = load_calibration(MACHINE.gpu)
    with pytest.raises(ValueError, match=message):
        price_step(
            MODEL, MACHINE, JOB, calibration, Configuration(pp=4, vocabulary=vocabulary), CUT, vocabulary_rows=rows
        )


@pytest.mark.parametrize("method", UNEVEN)
def test_even_shares_take_least_in_all(method: Vocabulary) -> None:
    """What bounds of uneven shares rest on: from one row on the seconds rise, ever faster or as fast."""
    step = step_of(Configuration(pp=4, vocabulary=method))
    rows = np.unique(np.geomspace(1, 128000, 200).round())
    columns = Columns.of([Configuration(pp=4, vocabulary=method)] * len(rows))
    seconds = split_vocabulary(MODEL, JOB, columns, step.system, rows).busy_seconds(64)
    slopes = np.diff(seconds) / np.diff(rows)
    assert (slopes > 0).all()
    assert (np.diff(slopes) >= -1e-9 * slopes[1:]).all()


TINY = replace(dense_model(layers=4), vocabulary=1024)


def every_answer(units: int):  # type: ignore[no-untyped-def]
    """All cuts of 6 items into 3 stages, all shares of so many units of 128 rows."""
    for inner in combinations(range(1, 6), 2):
        for shares in product(range(1, units - 1), repeat=3):
            if sum(shares) == units:
                yield (0, *inner, 6), tuple(128 * own for own in shares)


@pytest.mark.parametrize("method", UNEVEN)
@pytest.mark.parametrize("room", [1.0, 0.999, 0.99, 0.97, 0.9])
def test_brute_force_finds_nothing_that_is_less_busy(method: Vocabulary, room: float) -> None:
    """All cuts and all shares, each priced whole; ``room``: of the bytes that the best of them needs without a cap."""
    machine, configuration = cluster(1, 3), Configuration(pp=3, zero=1, vocabulary=method)
    step = step_of(configuration, TINY, machine)
    assert int(step.even_rows[0]) == 384
    priced = [(price_cut(step.running(None, rows), 0, cut), cut, rows) for cut, rows in every_answer(1152 // 128)]
    free, _, _ = min(priced, key=lambda one: max(stage.busy_seconds for stage in one[0].stages))
    capacity = free.peak_bytes * room * (1 + 1e-9)
    tight = step_of(configuration, TINY, replace(machine, gpu=replace(machine.gpu, memory_bytes=capacity)))
    fitting = [one for one in priced if one[0].peak_bytes <= capacity]
    found = shared_cut(tight, 0, tight.order(0))
    if not fitting:
        assert found is None
        return
    best = min(max(stage.busy_seconds for stage in price.stages) for price, _, _ in fitting)
    assert found is not None
    assert found.busy_seconds == pytest.approx(best, rel=1e-9)
    again = price_cut(tight.running(None, found.rows), 0, found.boundaries)
    assert again.peak_bytes <= capacity
    assert max(stage.busy_seconds for stage in again.stages) == pytest.approx(best, rel=1e-9)
    assert sum(found.rows) == 1152
    pricing = Pricing(tight.cluster, TINY, JOB, tight.calibration, tight.columns)
    bound = pricing.coarse_bounds()[0]
    assert bound <= min(price.step_seconds for price, _, _ in fitting)


def test_no_stage_holds_more_than_four_even_shares() -> None:
    """A stage with one small layer would take nearly all; the others wait for its passes."""
    model = replace(dense_model(layers=15), vocabulary=16384)
    step = step_of(Configuration(pp=8, vocabulary="vocab-1"), model, cluster(1, 8))
    found = shared_cut(step, 0, step.order(0))
    assert found is not None
    assert max(found.rows) <= MOST_SHARES * step.even_rows[0]
    assert sum(found.rows) == 16384


def test_layers_that_divide_leave_the_shares_even() -> None:
    """8 layers on 4 stages: a final norm's worth of seconds is not worth shares of their own."""
    model = replace(MODEL, layers=(0,) * 8)
    found = predict(MACHINE, model, JOB, Configuration(pp=4, vocabulary="vocab-1"))
    assert found.vocabulary_rows is None
    assert len({stage.vocabulary_seconds for stage in found.price.stages}) == 1


def planned(method: Vocabulary, **pins: str | int) -> Plan:
    pins = {"vocabulary": method, "pp": 4, "mbs": 1, **pins}
    plan = solve(MACHINE, MODEL, JOB, options=SolveOptions(pins=pins, top_k=2, order_seconds=0.0)).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize("method", UNEVEN)
def test_seven_layers_on_four_stages_are_planned_in_uneven_shares(method: Vocabulary) -> None:
    """Second methods: even shares priced under every cut; the validator's own counts."""
    plan = planned(method)
    assert validate(plan) == []
    assert Plan.loads(plan.text()) == plan
    rows = plan.vocabulary_rows()
    assert rows is not None
    assert sum(rows) == 128000
    fewest = min(plan.stages, key=lambda stage: sum(c.layers[1] - c.layers[0] for c in stage.chunks if c.layers))
    assert fewest.vocabulary.output_rows == max(rows)
    step = step_of(plan.configuration())
    even = [price_cut(step, 0, (0, *inner, 9)).step_seconds for inner in combinations(range(1, 9), 3)]
    assert plan.prediction.step_seconds < min(even) * (1 - 1e-3)


def test_an_order_made_for_uneven_shares_is_sound() -> None:
    plan = planned("vocab-1", schedule="best", recompute="none", zero=1)
    assert validate(plan) == []
    assert plan.vocabulary_rows() is not None
    assert sum(plan.vocabulary_rows() or ()) == 128000


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({0: ("output_rows", 64)}, "stages.vocabulary"),  # no longer covers
        ({0: ("output_rows", 64), 1: ("output_rows", -64)}, "stages.vocabulary"),  # no multiple of 128
        ({0: ("output_rows", 1280), 1: ("output_rows", -1280)}, "stages.vocabulary"),  # not the input's
        ({0: ("both", 1280), 1: ("both", -1280)}, "price.stage"),
        ({0: ("both", 1280), 1: ("both", -1280)}, "stages.parameters"),
        ({0: ("both", 1280), 1: ("both", -1280)}, "price.step"),
    ],
)
def test_rows_that_the_plan_does_not_hold_are_found(change: dict[int, tuple[str, int]], rule: str) -> None:
    document = planned("vocab-1").to_json()
    for stage, (name, more) in change.items():
        shard = document["stages"][stage]["vocabulary"]
        for key in ("input_rows", "output_rows") if name == "both" else (name,):
            shard[key] += more
    assert any(finding.rule.startswith(rule) for finding in validate_json(document))


@pytest.mark.parametrize("rows", [[32000, 32000], [32000, 32000, 32000, 32064], [0, 64000, 32000, 32000]])
def test_an_alternative_whose_rows_cover_nothing_is_found(rows: list[int]) -> None:
    document = planned("vocab-1").to_json()
    document["certificate"]["alternatives"][0]["vocabulary_rows"] = rows
    assert "alternatives.vocabulary" in {finding.rule for finding in validate_json(document)}


def test_in_step_all_stages_hold_the_same() -> None:
    assert planned("interlaced").vocabulary_rows() is None
    with pytest.raises(ValueError, match="interlaced"):
        price_step(
            MODEL,
            MACHINE,
            JOB,
            load_calibration(MACHINE.gpu),
            Configuration(pp=4, vocabulary="interlaced"),
            CUT,
            vocabulary_rows=(1, 1, 1, 1),
        )


def test_a_whole_vocabulary_has_no_shares() -> None:
    plan = solve(MACHINE, moe_model(6, mtp=1), JOB, options=SolveOptions(top_k=1)).plan
    assert plan is not None
    assert plan.vocabulary_rows() is None


def test_with_too_little_memory_for_vocab_1_a_shallower_order_is_made() -> None:
    """vocab-1 keeps p + 2 micro-batches on the first stage. With the memory of half a micro-batch less than that
    takes, its own order does not fit, however the four layers are cut and with shares of one unit each; one that keeps
    p + 1 at most is made, and is the plan."""
    model, job = replace(dense_model(layers=4), vocabulary=512), Job(global_batch=16, sequence_length=4096)
    pins: dict[str, int | str] = {
        "pp": 4, "tp": 1, "cp": 1, "dp": 1, "mbs": 1, "vp": 1, "zero": 0, "recompute": "none", "vocabulary": "vocab-1"
    }  # fmt: skip
    roomy = solve(MACHINE, model, job, options=SolveOptions(pins={**pins, "schedule": "1f1b"}, top_k=1)).plan
    assert roomy is not None
    first = roomy.stages[0].memory
    assert first.in_flight == 6
    assert roomy.prediction.peak_memory_stage == 0
    short = replace(MACHINE, gpu=replace(MACHINE.gpu, memory_bytes=first.peak_bytes - first.activations_bytes / 12))
    refused = solve(short, model, job, options=SolveOptions(pins={**pins, "schedule": "1f1b"}))
    assert refused.status == "infeasible"
    options = SolveOptions(pins={**pins, "schedule": "best"}, order_seconds=1.0)
    made = solve(short, model, job, options=options).plan
    assert made is not None
    assert made.parallelism.schedule == "best"
    assert validate(made) == []
    assert max(stage.memory.in_flight for stage in made.stages) <= 5
    assert made.prediction.peak_memory_bytes <= short.capacity_bytes
