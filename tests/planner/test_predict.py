"""A prediction's own figures, and cuts as Megatron makes them."""

from dataclasses import replace

import pytest

from costmodels.configuration import Configuration, Job
from costmodels.flops import model_flops
from planner.predict import even_boundaries, predict
from tests.machines import cluster, dense_model, moe_model

JOB = Job(global_batch=8, sequence_length=2048)


def test_throughput_and_utilisation_follow_from_the_step() -> None:
    """By hand: tokens over seconds and GPUs; model FLOPs over seconds, GPUs and 989 TFLOP/s."""
    found = predict(cluster(1, 4), dense_model(), JOB, Configuration(dp=4))
    assert found.tokens_per_second_per_gpu == pytest.approx(8 * 2048 / (found.step_seconds * 4))
    assert found.mfu == pytest.approx(model_flops(dense_model(), JOB) / (found.step_seconds * 4 * 989e12))


def test_what_is_reserved_is_not_capacity() -> None:
    """By hand: a GPU with a byte more than peak and reserve fits, with 100 bytes less it lacks 99."""
    machine = cluster(1, 4)
    peak = predict(machine, dense_model(), JOB, Configuration(dp=4)).peak_memory_bytes

    def sized(memory_bytes: float) -> tuple[bool, float]:
        other = replace(cluster(1, 4, memory_bytes=memory_bytes), reserve_bytes=1e9)
        found = predict(other, dense_model(), JOB, Configuration(dp=4))
        return found.feasible, found.shortfall_bytes

    assert sized(peak + 1e9 + 1) == (True, 0)
    feasible, short = sized(peak + 1e9 - 99)
    assert not feasible
    assert short == pytest.approx(99)


@pytest.mark.parametrize(
    ("layers", "pp", "vp", "expected"),
    [
        (8, 4, 1, (0, 3, 5, 7, 10)),  # two each, embedding and head riding along
        (8, 2, 2, (0, 3, 5, 7, 10)),
        (6, 4, 1, (0, 2, 4, 6, 8)),  # only with embedding and head as layers
        (7, 4, 1, None),
        (5, 1, 1, (0, 7)),
    ],
)
def test_megatrons_even_cut(layers: int, pp: int, vp: int, expected: tuple[int, ...] | None) -> None:
    """By hand: ``--num-layers`` over stages, or ``--account-for-embedding/loss-in-pipeline-split``."""
    assert even_boundaries(dense_model(layers), Configuration(pp=pp, vp=vp)) == expected


def test_prediction_layers_stay_with_the_head() -> None:
    assert even_boundaries(moe_model(4, mtp=2), Configuration(pp=2)) == (0, 3, 8)


def test_a_split_is_even_only_when_asked_for() -> None:
    """The head here is worth several layers: balanced, the last stage has fewer; evenly, as many."""
    model = dense_model(layers=8, ffn=1024)
    balanced, even = (
        predict(cluster(1, 2), model, JOB, Configuration(pp=2), split=split)
        for split in ("balanced", "even")  # type: ignore[arg-type]
    )
    assert even.boundaries == (0, 5, 10)
    assert balanced.boundaries[1] > 5
    assert balanced.step_seconds < even.step_seconds


def test_an_even_split_that_does_not_exist_is_a_balanced_one() -> None:
    model = dense_model(layers=7)
    balanced, even = (
        predict(cluster(1, 4), model, JOB, Configuration(pp=4), split=split)
        for split in ("balanced", "even")  # type: ignore[arg-type]
    )
    assert balanced == even
