"""What a step costs, as data: per chunk, per stage, in all. Everything here is modelled."""

from dataclasses import dataclass, field

from costmodels.configuration import Recompute


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPrice:
    """Seconds of one micro-batch in one model chunk."""

    forward_seconds: float
    input_grad_seconds: float
    weight_grad_seconds: float
    recompute_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on each rank of a stage at its peak; ``in_flight`` live micro-batch chunks.

    ``runtime_bytes`` is what the framework's allocator does not hand out: CUDA context, loaded
    kernels, NCCL, and fragments. ``allocated_bytes`` is what ``torch.cuda.max_memory_allocated`` sees.
    """

    weights_bytes: float
    gradients_bytes: float
    optimizer_bytes: float
    activations_bytes: float
    workspace_bytes: float
    runtime_bytes: float
    in_flight: int

    @property
    def allocated_bytes(self) -> float:
        state = self.weights_bytes + self.gradients_bytes + self.optimizer_bytes
        return state + self.activations_bytes + self.workspace_bytes

    @property
    def peak_bytes(self) -> float:
        return self.allocated_bytes + self.runtime_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePrice:
    """One pipeline stage: its chunks in order, its level of recompute, parameters and memory of each of its
    ranks. ``vocabulary_seconds`` of ``busy_seconds`` go to the passes of a vocabulary split over the stages.
    """

    chunks: tuple[ChunkPrice, ...]
    send_seconds: float
    busy_seconds: float
    vocabulary_seconds: float
    dense_parameters: float
    expert_parameters: float
    recompute: Recompute = field(compare=False)  # a name, no price
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPrice:
    """What one optimizer step takes. Everything here is modelled, not measured."""

    step_seconds: float
    pipeline_seconds: float
    gradient_seconds: float
    optimizer_seconds: float
    parameter_seconds: float
    overhead_seconds: float
    bubble_fraction: float
    exposed_seconds: dict[str, float]
    stages: tuple[StagePrice, ...]

    @property
    def peak_bytes(self) -> float:
        return max(stage.memory.peak_bytes for stage in self.stages)
