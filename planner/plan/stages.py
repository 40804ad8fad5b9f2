"""Pipeline stages: which part of the model each holds, what it costs and what it occupies."""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from planner.plan.strict import Amount, Count, Index, RecomputeLevel, Strict

Span = tuple[Index, Index]
"""[first, end) of a run of layers, counted from 0."""


class Chunk(Strict):
    """A contiguous part of the model and its seconds per micro-batch.

    ``layers`` are decoder layers, ``mtp_layers`` multi-token-prediction layers; absent when none.
    """

    chunk: Index
    embedding: bool
    layers: Span | None = None
    mtp_layers: Span | None = None
    head: bool
    forward_seconds: Amount
    input_grad_seconds: Amount
    weight_grad_seconds: Amount
    recompute_seconds: Amount

    @property
    def items(self) -> int:
        """Length of the chunk in the chain of embedding, layers, prediction layers and head."""
        spans = [span for span in (self.layers, self.mtp_layers) if span is not None]
        return self.embedding + sum(end - first for first, end in spans) + self.head

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class VocabularyShard(Strict):
    """Padded rows of the input and the output embedding on each rank of the stage; 0: none. Split over the stages,
    all of them as many, or (not interlaced) a share of its own."""

    input_rows: Count
    output_rows: Count


class ParametersPerRank(Strict):
    """Before ZeRO shards them: of the routed experts, and everything else."""

    dense: Amount
    experts: Amount


class StageMemory(Strict):
    """Bytes on each rank of the stage at its peak, the sum of the six items before it.

    ``capacity_bytes`` is the GPU's memory less the cluster's reserve, ``free_bytes`` what the peak
    leaves of it, ``in_flight`` the most micro-batch chunks alive at once.
    """

    weights_bytes: Amount
    gradients_bytes: Amount
    optimizer_bytes: Amount
    activations_bytes: Amount
    workspace_bytes: Amount
    runtime_bytes: Amount
    peak_bytes: Amount
    capacity_bytes: Amount
    free_bytes: float
    in_flight: Index


class Stage(Strict):
    """One pipeline stage. ``send_seconds`` hands one micro-batch to the next stage; ``busy_seconds``
    is the work of a step on each of its ranks, ``vocabulary_seconds`` of it the passes of a vocabulary
    split over the stages."""

    stage: Index
    chunks: tuple[Chunk, ...]
    vocabulary: VocabularyShard
    parameters_per_rank: ParametersPerRank
    recompute: RecomputeLevel
    send_seconds: Amount
    busy_seconds: Amount
    vocabulary_seconds: Amount
    memory: StageMemory
