"""The fit finds the figures that synthetic measurements were made with, and says what it cannot find."""

from dataclasses import replace

import numpy as np
import pytest

from costmodels import kernels
from costmodels.calibration import Calibration, CalibrationError, bundled_calibration
from planner.calibrate.fit import fit, folds_of, held_out, summary
from planner.calibrate.kernels import Kernels
from planner.calibrate.measurements import Errors
from planner.calibrate.parameters import NOMINAL, Parameter
from tests.machines import H100

TRUTH = {"gemm_peak_fraction": 0.70, "kernel_launch_seconds": 1.2e-5}
BASE = {"h100": bundled_calibration("h100"), "h200": bundled_calibration("h200")}


def gemms(name: str = "h100", noise: float = 0.0, outlier: float = 1.0, truth: dict[str, float] = TRUTH) -> Kernels:
    """BF16 GEMMs from 0.1 to 35 TFLOP as a GPU of ``truth`` runs them."""
    m, n, k = (a.ravel().astype(float) for a in np.meshgrid([256, 2048, 16384], [1024, 4096, 16384], [512, 2048, 8192]))

    def price(calibration: Calibration) -> np.ndarray:
        return kernels.gemm_seconds(m, n, k, H100, "bf16", calibration)

    measured = price(BASE[name].adjusted(kind="assumed", source="truth", **truth))
    measured = measured * np.exp(noise * np.random.default_rng(3).normal(size=len(measured)))
    measured[4] *= outlier
    return Kernels(
        name="GEMMs",
        calibration=name,
        labels=tuple(f"gemm {i}" for i in range(len(m))),
        groups=tuple(f"n={int(x)}" for x in n),
        measured=measured,
        price=price,
    )


def parameters(*figures: str, calibrations: tuple[str, ...] = ("h100",)) -> list[Parameter]:
    return [Parameter(figure=figure, calibrations=calibrations) for figure in figures]


def test_known_figures_are_recovered_from_exact_measurements() -> None:
    found = fit([gemms()], parameters(*TRUTH), BASE)
    assert found.converged
    for figure in found.figures:
        truth = TRUTH[figure.parameter.figure]
        assert figure.error is not None
        assert figure.new == pytest.approx(truth, rel=0.01)
        assert abs(figure.new - truth) <= 3 * figure.error
    assert found.calibrations["h100"].gemm_peak_fraction == pytest.approx(0.70, rel=0.01)
    assert found.calibrations["h200"] is BASE["h200"]


def test_noise_and_an_outlier_leave_the_truth_within_three_stated_errors() -> None:
    found = fit([gemms(noise=0.04, outlier=5.0)], parameters(*TRUTH), BASE)
    for figure in found.figures:
        assert figure.identified
        assert figure.error is not None
        assert abs(figure.new - TRUTH[figure.parameter.figure]) <= 3 * figure.error
        assert figure.error < 0.25 * figure.new


def test_a_figure_that_no_measurement_depends_on_is_kept_and_reported() -> None:
    found = fit([gemms()], parameters("fp8_gemm_speedup", *TRUTH), BASE)
    fp8 = found.figures[0]
    assert (fp8.identified, fp8.new, fp8.error) == (False, BASE["h100"].fp8_gemm_speedup, None)
    assert len(found.identified) == 2
    assert set(found.changed("h100", "a test")) == set(TRUTH)


def test_of_two_figures_that_only_count_together_not_both_are_claimed() -> None:
    """Large GEMMs depend on the product of peak and sustained fractions alone."""
    found = fit(
        [gemms(truth={"gemm_peak_fraction": 0.7})], parameters("gemm_peak_fraction", "gemm_sustained_fraction"), BASE
    )
    product = found.calibrations["h100"].gemm_peak_fraction * found.calibrations["h100"].gemm_sustained_fraction
    assert product == pytest.approx(0.7 * BASE["h100"].gemm_sustained_fraction, rel=0.01)
    assert sum(f.error / f.new > 0.05 for f in found.identified if f.error) == len(found.identified)


def test_few_noisy_measurements_do_not_bend_a_figure() -> None:
    """One GEMM at half the usual speed moves the figure part of the way, not all."""
    alone = gemms(truth={"gemm_peak_fraction": 0.42}).take(np.array([26]))
    (figure,) = fit([alone], parameters("gemm_peak_fraction"), BASE).figures
    assert 0.42 * 1.05 < figure.new < figure.old


def test_a_shared_figure_gets_one_value_from_the_measurements_of_both() -> None:
    sets = [gemms("h100", truth={"gemm_peak_fraction": 0.66}), gemms("h200", truth={"gemm_peak_fraction": 0.74})]
    shared = parameters("gemm_peak_fraction", calibrations=("h100", "h200"))
    found = fit(sets, shared, BASE).calibrations
    assert found["h100"].gemm_peak_fraction == found["h200"].gemm_peak_fraction
    assert 0.67 < found["h100"].gemm_peak_fraction < 0.73
    own = [Parameter(figure="gemm_peak_fraction", calibrations=(name,)) for name in BASE]
    apart = fit(sets, own, BASE).calibrations
    assert apart["h100"].gemm_peak_fraction == pytest.approx(0.66, rel=0.01)
    assert apart["h200"].gemm_peak_fraction == pytest.approx(0.74, rel=0.01)


def test_a_floor_that_lies_below_every_time_at_first_is_found() -> None:
    """No slope leads there from 0, where H100's layer_floor_seconds is; probing does."""

    def price(calibration: Calibration) -> np.ndarray:
        return np.maximum(calibration.layer_floor_seconds, np.array([1e-4, 2e-4, 5e-3]))

    floors = replace(gemms().take(np.arange(3)), chosen=None, price=price, measured=np.array([6e-4, 6e-4, 5e-3]))
    (figure,) = fit([floors], parameters("layer_floor_seconds"), BASE).figures
    assert figure.old == 0.0
    assert figure.new == pytest.approx(6e-4, rel=0.05)


def test_held_out_errors_come_from_fits_that_did_not_see_the_group() -> None:
    """All GEMMs of n = 4096 are twice as slow as the others: only a fit without them misses them so."""
    odd = gemms()
    slow = np.array([g == "n=4096" for g in odd.groups])
    odd = replace(odd, measured=np.where(slow, 2 * odd.measured, odd.measured))
    (errors,) = held_out([odd], parameters(*TRUTH), BASE, folds_of([odd], 4))
    assert np.isfinite(errors).all()
    assert errors[slow] == pytest.approx(-0.5, abs=0.02)  # half of what they take, as the others say
    seen = fit([odd], parameters(*TRUTH), BASE).after[0]
    assert np.abs(seen[slow]).mean() < np.abs(errors[slow]).mean()


def test_folds_hold_every_group_once_and_a_single_group_has_none() -> None:
    folds = folds_of([gemms()], 2)
    assert sorted(group for fold in folds for group in fold) == ["n=1024", "n=16384", "n=4096"]
    assert len(folds) == 2
    assert folds_of([gemms().take(np.array([0]))], 4) == []


def test_summaries_leave_out_what_no_fold_held() -> None:
    """By hand: 10, 20 and 30 %: mean 20 %, 90th percentile 28 %."""
    found = summary([np.array([0.1, np.nan]), np.array([-0.2, 0.3])])
    assert (found.rows, found.mean, found.p90) == (3, pytest.approx(0.2), pytest.approx(0.28))
    assert Errors.of([]).mean is None


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (Parameter(figure="gemm_speed", calibrations=("h100",)), "gemm_speed: unknown figure"),
        (Parameter(figure="step_seconds", calibrations=("b200",)), r"step_seconds.*b200.*h100, h200"),
        (Parameter(figure="step_seconds", calibrations=()), "step_seconds: calibrations"),
        (Parameter(figure="step_seconds", calibrations=("h100",), low=2.0, high=-1.0), "low must be below high"),
        (Parameter(figure="step_seconds", calibrations=("h100",), width=-1.0), "width"),
    ],
)
def test_a_parameter_of_no_sense_is_refused_by_name(parameter: Parameter, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        fit([gemms()], [parameter], BASE)


def test_no_share_of_what_hardware_can_do_exceeds_one() -> None:
    for figure in NOMINAL:
        assert Parameter(figure=figure, calibrations=("h100",)).scale(BASE).high == 1.0
