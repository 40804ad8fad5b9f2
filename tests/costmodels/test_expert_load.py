"""Layers with a busiest expert rank of their own, against layers of a job's one ``expert_imbalance``."""

from dataclasses import replace

import numpy as np
import pytest

from costmodels.architecture import Model
from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.expert_load import LoadedMoe, expert_layers, lightened, loaded_model, without_load
from costmodels.step import StepModel
from costmodels.step_price import price_step
from tests.machines import cluster, moe_model

MACHINE = cluster(2, 4)
CALIBRATION = load_calibration(MACHINE.gpu)
JOB = Job(global_batch=16, sequence_length=2048)
EP4 = Configuration(dp=4, pp=2, ep=4)


def model(**more: int) -> Model:
    return moe_model(4, experts=8, dense_prefix=1, **more)


def step(of: Model, job: Job = JOB, configuration: Configuration = EP4) -> StepModel:
    return StepModel(of, MACHINE, job, CALIBRATION, Columns.of([configuration]))


def test_the_same_load_everywhere_is_the_jobs_expert_imbalance() -> None:
    """Second method: the whole step, time and memory, of the job that states the factor."""
    cut = (0, 2, 6)
    stated = price_step(model(), MACHINE, replace(JOB, expert_imbalance=1.375), CALIBRATION, EP4, cut)
    loaded = loaded_model(model(), {4: [1.375] * 3})
    assert price_step(loaded, MACHINE, JOB, CALIBRATION, EP4, cut) == stated
    assert price_step(model(), MACHINE, JOB, CALIBRATION, EP4, cut) != stated


def test_every_layer_has_its_own_load_and_ep_picks_it() -> None:
    """Second method: each layer against a model in which all layers have its load."""
    loaded = loaded_model(model(), {4: [1.0, 1.5, 1.25], 2: [1.0, 1.25, 1.5]})
    for ep, factors in ((4, (1.0, 1.5, 1.25)), (2, (1.0, 1.25, 1.5))):
        configuration = replace(EP4, ep=ep)
        own = step(loaded, configuration=configuration)
        along = own.along(lambda some: some.forward_seconds, 0, (0, 2, 6))
        kept = own.along(lambda some: some.saved_bytes, 0, (0, 2, 6))
        for layer, factor in zip((1, 2, 3), factors, strict=True):
            alike = step(model(), replace(JOB, expert_imbalance=factor), configuration)
            assert along[1 + layer] == alike.along(lambda some: some.forward_seconds, 0, (0, 2, 6))[1 + layer]
            assert kept[1 + layer] == alike.along(lambda some: some.saved_bytes, 0, (0, 2, 6))[1 + layer]
    assert len(loaded.kinds) == 4  # a dense one, and three loads


def test_layers_of_the_same_load_stay_one_kind() -> None:
    loaded = loaded_model(model(), {4: [1.5, 1.25, 1.5]})
    assert loaded.layers == (0, 1, 2, 1)
    assert [without_load(kind) for kind in loaded.kinds] == [model().kinds[0], model().kinds[1], model().kinds[1]]


def test_prediction_layers_without_loads_get_the_mean_of_the_others() -> None:
    given = model(mtp=1)
    assert (expert_layers(given), expert_layers(given, prediction=True)) == ((1, 2, 3), (1, 2, 3, 4))

    def last(factors: list[float]) -> float:
        found = loaded_model(given, {4: factors})
        block = found.kinds[found.mtp_layers[0]].block
        assert isinstance(block, LoadedMoe)
        return float(block.busiest_at(np.array([4]))[0])

    assert last([1.0, 1.5, 1.25]) == 1.25
    assert last([1.0, 1.5, 1.25, 1.75]) == 1.75


def test_a_degree_without_a_load_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"ep 4: no load .* \[2\]"):
        step(loaded_model(model(), {2: [1.0] * 3}))


@pytest.mark.parametrize("factors", [[1.0, 1.0], [1.0] * 5, [1.0, 0.9, 1.0], [1.0, float("inf"), 1.0]])
def test_factors_that_are_none_are_refused(factors: list[float]) -> None:
    with pytest.raises(ValueError, match=r"factors\[4\]"):
        loaded_model(model(), {4: factors})


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_a_lightened_model_is_nowhere_slower_and_keeps_nowhere_more(groups: int) -> None:
    """Layer by layer, for every level of recompute: bounds on it are bounds on the model."""
    rng = np.random.default_rng(3)
    whole = moe_model(9, experts=8, dense_prefix=2)
    loaded = loaded_model(whole, {ep: (1 + rng.random(7)).tolist() for ep in (1, 2, 4)})
    light = lightened(loaded, groups)
    assert len(light.kinds) == 1 + groups
    some = Columns.of(
        [Configuration(dp=8, ep=ep, recompute=level) for ep in (1, 2, 4) for level in ("none", "layernorm+moe", "full")]
    )
    heavy, less = (StepModel(of, MACHINE, JOB, CALIBRATION, some) for of in (loaded, light))
    slack = 0.0
    for table in ("forward_seconds", "backward_seconds", "saved_bytes", "transient_bytes", "weight_grad_bytes"):
        full = getattr(heavy, table)[heavy.chain.types]
        lower = getattr(less, table)[less.chain.types]
        assert (lower <= full * (1 + 1e-12)).all()
        slack += float((full - lower).sum())
    assert slack > 0


def test_a_model_without_loads_is_its_own_lightened_one() -> None:
    given = model()
    assert lightened(given, 4) is given
