"""The exact cut of a candidate, its recompute and its bounds, against every cut priced alone."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground, PipelineRow
from costmodels.ground_step import GroundModel
from costmodels.hardware import Link
from costmodels.step import StepModel
from costmodels.step_price import price_cut
from planner.partition import Partition, exactly_cut
from planner.predict import predict
from planner.solve import SolveOptions, solve
from planner.splits import Split
from planner.validate import validate
from tests.machines import H100, cluster, dense_model, mla, moe_model

JOB = Job(global_batch=32, sequence_length=2048)
MODELS = {
    "dense": dense_model(6),
    "experts": moe_model(layers=6, dense_prefix=2, mtp=1, attention=mla()),
}
LEVELS = ["none", "full", "full:1", "full:2", "full:fit", "layernorm+moe_act"]


def model_of(name: str, level: str, zero: int, memory_bytes: float | None = None) -> StepModel:
    machine = cluster(2, 4, memory_bytes=memory_bytes)
    configuration = Configuration(pp=4, dp=2, zero=zero, mbs=2, recompute=level)
    return StepModel(MODELS[name], machine, JOB, load_calibration(machine.gpu), Columns.of([configuration]))


def every_cut(partition: Partition) -> list[tuple[int, ...]]:
    items = partition.bounds.shape[1] - 1
    return [(0, *inner, items) for inner in itertools.combinations(range(1, items), 3)]


@pytest.mark.parametrize("zero", [0, 1, 3])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", MODELS)
def test_tables_are_the_prices_of_every_cut_and_the_best_is_found(name: str, level: str, zero: int) -> None:
    """With ample memory, and with caps between the least and the greatest peak of any cut."""
    ample = model_of(name, level, zero)
    cuts = every_cut(Partition.of(ample, 0))
    peaks = [price_cut(ample, 0, Partition.of(ample, 0).boundaries(np.array(cut))).peak_bytes for cut in cuts[::7]]
    for memory in (None, np.quantile(peaks, 0.3), np.quantile(peaks, 0.8), min(peaks) * 0.93):
        step = model_of(name, level, zero, memory)
        partition = Partition.of(step, 0)
        best = np.inf
        for cut in cuts:
            price = price_cut(step, 0, partition.boundaries(np.array(cut)))
            over = [stage.memory.peak_bytes - step.cluster.capacity_bytes for stage in price.stages]
            stage = np.arange(4)
            assert partition.rows[0].tables.over_bytes[stage, cut[:-1], cut[1:]] == pytest.approx(over, rel=0, abs=1)
            seconds = partition.step_seconds(np.array([cut]))[0]
            assert seconds == pytest.approx(price.step_seconds, rel=1e-12)
            if max(over) <= 0:
                best = min(best, seconds)
                assert partition.bounds[stage, cut[:-1], cut[1:]].max() <= seconds
        solution = partition.solve()
        assert solution.value == pytest.approx(best, rel=1e-9)
        assert partition.lower_bound() <= best
        assert solution.status == ("infeasible" if np.isinf(best) else "optimal")


def test_what_no_cut_fits_lacks_is_exact() -> None:
    """Second method: the least peak of any cut, priced alone."""
    step = model_of("dense", "none", 0, 3e9)
    partition = Partition.of(step, 0)
    least = min(
        price_cut(step, 0, partition.boundaries(np.array(cut))).peak_bytes - step.cluster.capacity_bytes
        for cut in every_cut(partition)
    )
    assert least > 0
    assert partition.solve().shortfall == pytest.approx(least, rel=1e-9)


def test_what_has_memory_or_time_beyond_its_own_items_is_not_cut_exactly() -> None:
    plain = Configuration(pp=2, dp=4)
    others = [
        replace(plain, pp=1),
        replace(plain, vp=2),
        replace(plain, vocabulary="vocab-1"),
        replace(plain, recompute="full/2"),
    ]
    step = StepModel(MODELS["dense"], cluster(), JOB, load_calibration(cluster().gpu), Columns.of([plain, *others]))
    assert exactly_cut(step).tolist() == [True, False, False, False, False]


# -- recompute as memory needs ---------------------------------------------------------------------


def tight() -> tuple[float, Configuration]:
    """A cap that the first stages of four pass with no layer recomputed, and the last do not."""
    configuration = Configuration(pp=4, dp=2, zero=1, mbs=4, recompute="full:fit")
    roomy = predict(cluster(2, 4), dense_model(12, ffn=4096), JOB, configuration)
    peaks = [stage.memory.peak_bytes for stage in roomy.price.stages]
    return (peaks[0] + peaks[1]) / 2, configuration


def test_each_stage_recomputes_just_as_many_layers_as_its_memory_needs() -> None:
    """Second method: on the found cut, every stage priced at every level of first layers."""
    cap, configuration = tight()
    machine, model = cluster(2, 4, memory_bytes=cap), dense_model(12, ffn=4096)
    found = predict(machine, model, JOB, configuration)
    assert found.feasible
    levels = [stage.recompute for stage in found.price.stages]
    assert levels[0] != "none"
    assert levels[-1] == "none"
    uniform = {
        first: predict(
            machine,
            model,
            JOB,
            replace(configuration, recompute=f"full:{first}" if first else "none"),
            boundaries=found.boundaries,
        ).price
        for first in range(7)
    }
    for index, level in enumerate(levels):
        fitting = [first for first, price in uniform.items() if price.stages[index].memory.peak_bytes <= cap]
        assert level == (f"full:{fitting[0]}" if fitting[0] else "none")
        assert found.price.stages[index].chunks == uniform[fitting[0]].stages[index].chunks


@pytest.mark.parametrize("pp", [1, 2, 4])
@pytest.mark.parametrize("vp", [1, 2])
def test_a_pinned_fit_becomes_a_plan_that_passes(pp: int, vp: int) -> None:
    """No slower than the best uniform level of first layers under the same pins, which it contains."""
    if pp == 1 and vp > 1:
        return
    machine, model = cluster(1, 4, memory_bytes=5.5e9), dense_model(12, ffn=4096)
    pins: dict[str, int | str] = {"pp": pp, "vp": vp, "mbs": 2, "tp": 1}
    outcome = solve(machine, model, JOB, options=SolveOptions(pins={**pins, "recompute": "full:fit"}))
    assert outcome.plan is not None
    assert validate(outcome.plan) == []
    levels = {stage.recompute for stage in outcome.plan.stages}
    assert all(level == "none" or level.startswith("full:") for level in levels)
    assert "full:fit" not in levels
    for level in ("none", *(f"full:{n}" for n in range(1, 13 // pp))):
        other = solve(machine, model, JOB, options=SolveOptions(pins={**pins, "recompute": level})).plan
        if other is not None and vp == 1:
            assert outcome.plan.prediction.step_seconds <= other.prediction.step_seconds * (1 + 1e-12)


def test_a_stage_level_that_is_not_what_memory_needs_is_found() -> None:
    cap, _ = tight()
    parts = cluster(2, 4, memory_bytes=cap), dense_model(12, ffn=4096), JOB
    pins: dict[str, int | str] = {"pp": 4, "mbs": 4, "tp": 1, "cp": 1, "vp": 1, "zero": 1, "recompute": "full:fit"}
    plan = solve(*parts, options=SolveOptions(pins=pins)).plan
    assert plan is not None
    for level, rule in (("full:99", "stages.recompute"), ("full", "stages.recompute"), ("none", "price.recompute")):
        assert plan.stages[0].recompute != level
        stages = (plan.stages[0].model_copy(update={"recompute": level}), *plan.stages[1:])
        found = validate(plan.model_copy(update={"stages": stages}).sealed())
        assert rule in {finding.rule for finding in found}


# -- no layer is lost ------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["best", "balanced", "even", "redistributed"])
@pytest.mark.parametrize(
    ("layers", "pp", "vp"), [(61, 16, 1), (62, 8, 1), (13, 5, 1), (12, 4, 1), (30, 4, 4), (12, 2, 3)]
)
@pytest.mark.parametrize("level", ["none", "full:fit"])
def test_every_cut_holds_every_layer_once_and_in_order(split: Split, layers: int, pp: int, vp: int, level: str) -> None:
    job = Job(global_batch=64, sequence_length=2048)
    for model in (dense_model(layers), moe_model(layers=layers, dense_prefix=3, mtp=1)):
        configuration = Configuration(pp=pp, vp=vp, mbs=1, recompute=level)
        cut = predict(cluster(pp, 1), model, job, configuration, split=split).boundaries
        length = layers + 2 + len(model.mtp_layers)
        held = [item for a, b in itertools.pairwise(cut) for item in range(a, b)]
        assert held == list(range(length))
        assert len(cut) == pp * vp + 1
        assert all(a < b for a, b in itertools.pairwise(cut))


def test_cuts_over_unlike_rows_are_those_of_the_slowest_row() -> None:
    """Two rows of unlike machines, edges and shares of the batch: every cut is priced on its own by
    ``GroundModel``, and the best of all found."""
    half = replace(H100, name="half", peak_flops={k: v / 2 for k, v in H100.peak_flops.items()}, memory_bytes=60e9)
    new = cluster(nodes=4)
    old, slow = replace(new, gpu=half), Link(bytes_per_second=1e9, latency_seconds=1e-5)
    job = Job(global_batch=12, sequence_length=4096)
    rows = (
        PipelineRow(replicas=1, microbatches=8, machines=(0, 0, 1, 1), edges=(new.scale_out, slow, new.scale_out)),
        PipelineRow(replicas=1, microbatches=4, machines=(1, 1, 1, 0), edges=(slow,) * 3),
    )
    ground = Ground(machines=(new, old), states=(new.scale_out, slow, slow, slow), rows=rows)
    configuration = Configuration(tp=4, sp=1, pp=4, dp=2)
    model = GroundModel(dense_model(layers=9), job, configuration, ground, [load_calibration(H100)] * 2)
    partition = Partition.on(model)
    cuts = every_cut(partition)
    priced = [model.price(partition.boundaries(np.array(cut))) for cut in cuts]
    for cut, price in zip(cuts, priced, strict=True):
        seconds = float(partition.step_seconds(np.array([cut], dtype=np.intp))[0])
        assert seconds == pytest.approx(price.step.step_seconds, rel=1e-12)
        assert partition.bounds[np.arange(4), cut[:-1], cut[1:]].max() <= price.step.step_seconds
    best = partition.solve()
    assert best.status == "optimal"
    fitting = [price.step.step_seconds for price in priced if price.over_bytes <= 0]
    assert best.value == pytest.approx(min(fitting), rel=1e-12)
