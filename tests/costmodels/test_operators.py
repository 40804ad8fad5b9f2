"""Operators: what a linear layer's casts to narrow precisions cost in each pass, by hand."""

import numpy as np

from costmodels.configuration import Precision
from costmodels.operators import Gemm, GroupedGemm, Passes, System
from tests.bare import bare_calibration, bare_cluster


def cast_seconds(operator: Gemm | GroupedGemm, precision: Precision) -> list[float]:
    """Seconds that 4 bytes a cast element, at 1 byte a second, add to the passes of ``operator``."""

    def passes(cast_bytes: float) -> Passes:
        calibration = bare_calibration(fp8_cast_bytes=cast_bytes)
        cluster = bare_cluster(memory=1.0)
        return operator.passes(System(cluster=cluster, calibration=calibration, precision=precision))

    with_casts, without = passes(4.0), passes(0.0)
    return [
        float((getattr(with_casts, name) - getattr(without, name)).item())
        for name in ("forward", "input_grad", "weight_grad")
    ]


def test_inputs_and_gradients_are_cast_once() -> None:
    # X is 3 x 7, dY 3 x 5; the weight gradient finds both cast
    linear = Gemm(m=np.array([3.0]), n=5.0, k=7.0)
    assert cast_seconds(linear, "fp8") == [4 * 21, 4 * 15, 0]
    assert cast_seconds(linear, "bf16") == [0, 0, 0]


def test_what_stays_in_bf16_is_not_cast() -> None:
    assert cast_seconds(Gemm(m=np.array([3.0]), n=5.0, k=7.0, wide=True), "fp8") == [0, 0, 0]


def test_the_rows_of_every_expert_are_cast() -> None:
    experts = GroupedGemm(groups=np.array([2.0]), m=np.array([3.0]), n=5.0, k=7.0)
    assert cast_seconds(experts, "fp8") == [2 * 4 * 21, 2 * 4 * 15, 0]
