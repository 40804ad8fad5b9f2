"""What the plan was made from, resolved: enough to make or check it again with no other file."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from costmodels.architecture import LayerKind, Model
from costmodels.configuration import Job
from planner.plan.cluster import ClusterInput
from planner.plan.experts import ExpertLoadsInput
from planner.plan.strict import Strict

MOST_LAYERS = 10_000

Run = tuple[int, int]
"""(index into ``kinds``, how many layers of it in a row)."""


class ModelInput(Strict):
    """``costmodels.architecture.Model`` with its layers run-length coded."""

    name: str
    hidden: int
    vocabulary: int
    kinds: tuple[LayerKind, ...]
    layers: tuple[Run, ...]
    mtp_layers: tuple[Run, ...]
    tied_embeddings: bool
    positions: int
    final_norm_parameters: int

    @field_validator("layers", "mtp_layers")
    @classmethod
    def _of_sane_length(cls, runs: tuple[Run, ...]) -> tuple[Run, ...]:
        if any(kind < 0 or count < 1 for kind, count in runs):
            raise ValueError("each run is [index into kinds, count of at least 1]")
        if sum(count for _, count in runs) > MOST_LAYERS:
            raise ValueError(f"more than {MOST_LAYERS} layers")
        return runs

    def model(self) -> Model:
        return Model(
            name=self.name,
            hidden=self.hidden,
            vocabulary=self.vocabulary,
            kinds=self.kinds,
            layers=_expand(self.layers),
            mtp_layers=_expand(self.mtp_layers),
            tied_embeddings=self.tied_embeddings,
            positions=self.positions,
            final_norm_parameters=self.final_norm_parameters,
        )

    @classmethod
    def of(cls, model: Model) -> "ModelInput":
        return cls(
            name=model.name,
            hidden=model.hidden,
            vocabulary=model.vocabulary,
            kinds=model.kinds,
            layers=_runs(model.layers),
            mtp_layers=_runs(model.mtp_layers),
            tied_embeddings=model.tied_embeddings,
            positions=model.positions,
            final_norm_parameters=model.final_norm_parameters,
        )


def _runs(layers: Iterable[int]) -> tuple[Run, ...]:
    return tuple((kind, len(list(run))) for kind, run in groupby(layers))


def _expand(runs: Iterable[Run]) -> tuple[int, ...]:
    return tuple(kind for kind, count in runs for _ in range(count))


class PlanOptions(Strict):
    """What the user demanded of the search beside cluster, model and job.

    ``pins`` fixes fields of the configuration; ``forbid`` names fields held at their neutral value
    (1; 0 for ``sp`` and ``zero``; none for ``recompute``, whole for ``vocabulary``, 1f1b for ``schedule``), and
    ``folding`` where experts keep to the attention's own groups (``Configuration.folded``);
    ``allow`` names fields that few runtimes execute and that were searched all the same; ``gap`` is the relative
    gap at which a plan counts as proven; ``split`` says how the chain was cut: for the least time, for the
    least bottleneck, or evenly.
    """

    pins: dict[str, int | str] = Field(default_factory=dict)
    forbid: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    gap: float = Field(default=0.0, ge=0.0, lt=1.0)
    split: Literal["best", "balanced", "even"] = "best"


class CalibrationInput(Strict):
    """The calibrated figures the plan was priced with; ``provenance`` says where each comes from."""

    name: str
    values: dict[str, float]


class Inputs(Strict):
    """Resolved inputs and the SHA-256 of their canonical JSON. ``expert_loads`` where experts are placed by them."""

    cluster: ClusterInput
    model: ModelInput
    job: Job
    options: PlanOptions
    calibration: CalibrationInput
    expert_loads: ExpertLoadsInput | None = None
    digest: str

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}
