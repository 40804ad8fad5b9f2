"""What the plan is expected to reach, and where every calibrated number comes from."""

from typing import Literal

from planner.plan.strict import Amount, Index, Strict

MfuConvention = Literal[
    "6 x multiply-adds of GEMMs per token (lookup excluded, output head included) + causal attention; "
    "dense peak of the job's precision"
]


class Prediction(Strict):
    """Modelled figures of one optimizer step.

    The step is pipeline + exposed gradient reduction + optimizer + exposed gather of updated weights
    + overhead. ``exposed_seconds`` of communication inside the pipeline's passes, by kind of group,
    on the stage with most of it. ``peak_memory_stage`` is the first stage at the highest peak.
    """

    kind: Literal["modelled"]
    step_seconds: Amount
    pipeline_seconds: Amount
    gradient_seconds: Amount
    optimizer_seconds: Amount
    parameter_seconds: Amount
    overhead_seconds: Amount
    bubble_fraction: float
    exposed_seconds: dict[str, Amount]
    tokens_per_second: Amount
    tokens_per_second_per_gpu: Amount
    model_flops_per_step: Amount
    mfu: Amount
    mfu_convention: MfuConvention
    peak_memory_bytes: Amount
    peak_memory_stage: Index


class FigureSource(Strict):
    """One calibrated number: whether measured, fitted or assumed, and on what."""

    value: float
    unit: str
    kind: Literal["measured", "fitted", "assumed"]
    source: str


class Provenance(Strict):
    tool: Literal["meshwright"]
    version: str
    figures: dict[str, FigureSource]
