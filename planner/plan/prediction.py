"""What the plan is expected to reach, and where every calibrated number comes from."""

from typing import Literal

from planner.plan.strict import Amount, Degree, Index, Strict
from planner.uncertainty import Meaning

MfuConvention = Literal[
    "6 x multiply-adds of GEMMs per token (lookup excluded, output head included) + causal attention; "
    "dense peak of the job's precision"
]


class Interval(Strict):
    """Around one figure of the prediction: value x (1 - ``share``), but not below 0, to value x
    (1 + ``share``). ``kind``: the published runs the share comes from; ``sources``: rows of each source,
    ``rows`` of them all."""

    share: Amount
    low: Amount
    high: Amount
    kind: str
    rows: Degree
    sources: dict[str, Degree]


class Intervals(Strict):
    """How far published runs of the plan's kind, or of a coarser one, were from their predictions."""

    meaning: Meaning
    step_seconds: Interval
    peak_memory_bytes: Interval


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
    uncertainty: Intervals


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
