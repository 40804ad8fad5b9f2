"""The +- that predictions carry."""

from pathlib import Path

import pytest

from costmodels.configuration import Configuration, Job
from planner.predict import predict
from planner.specs import load_cluster, load_model
from planner.uncertainty import ANY, Residuals, Spread, bundled_residuals, facets, kinds, uncertainty_of

JOB = Job(global_batch=64, sequence_length=4096)


def spread(kind: str, share: float) -> Spread:
    return Spread(kind=kind, share=share, sources={"a": 20})


@pytest.mark.parametrize(
    ("cluster", "model", "precision", "expected"),
    [
        ("dgx-h100-1", "llama-3-8b", "bf16", ("megatron", "hopper", "dense", "one NVLink domain", "16 bits")),
        (
            "dgx-h100-2",
            "llama-3-8b",
            "fp8",
            ("megatron", "hopper", "dense", "several NVLink domains", "8 bits or fewer"),
        ),
        (
            "dgx-a100-80gb-8",
            "mixtral-8x7b",
            "fp16",
            ("megatron", "ampere", "experts", "several NVLink domains", "16 bits"),
        ),
    ],
)
def test_facets_of_a_configuration(cluster: str, model: str, precision: str, expected: tuple[str, ...]) -> None:
    job = Job(global_batch=64, sequence_length=4096, precision=precision)  # type: ignore[arg-type]
    assert facets(load_cluster(cluster), load_model(model), job) == expected


def test_kinds_grow_coarser_from_the_last_facet_on() -> None:
    assert list(kinds(("a", "b", "c"))) == ["a, b, c", "a, b", "a", ANY]


def test_the_finest_kind_that_is_known_is_taken() -> None:
    table = {"hopper": spread("hopper", 0.1), "hopper, dense": spread("hopper, dense", 0.05), ANY: spread(ANY, 0.2)}
    residuals = Residuals(step_seconds=table, peak_memory_bytes={ANY: spread(ANY, 0.3)})
    found = uncertainty_of(("hopper", "dense", "one NVLink domain"), residuals)
    assert (found.step_seconds.share, found.peak_memory_bytes.share) == (0.05, 0.3)
    assert uncertainty_of(("volta", "dense"), residuals).step_seconds.kind == ANY


def test_the_interval_is_the_share_of_the_value_and_never_below_nothing() -> None:
    found = spread(ANY, 0.25).around(8.0)
    assert (found["low"], found["high"], found["rows"]) == (6.0, 10.0, 20)
    assert spread(ANY, 1.5).around(8.0)["low"] == 0.0


def test_a_prediction_carries_the_spread_of_its_kind_whatever_the_calibration(tmp_path: Path) -> None:
    cluster, model = load_cluster("dgx-h100-1"), load_model("llama-3-8b")
    figure = "{value: 0.5, unit: fraction, kind: assumed, source: test}"
    (tmp_path / "own.yaml").write_text(f"name: own\nfigures:\n  gemm_sustained_fraction: {figure}\n")
    given, own = (
        predict(cluster, model, JOB, Configuration(tp=2, sp=1, dp=4), calibration=calibration)
        for calibration in (None, tmp_path / "own.yaml")
    )
    assert own.step_seconds > given.step_seconds
    assert own.uncertainty == given.uncertainty == uncertainty_of(facets(cluster, model, JOB))


def test_bundled_shares_are_parts_of_one_and_name_their_sources() -> None:
    table = bundled_residuals()
    for spreads in (table.step_seconds, table.peak_memory_bytes):
        assert ANY in spreads
        for kind, found in spreads.items():
            assert found.kind == kind
            assert 0 < found.share < 1
            assert found.rows > 0
