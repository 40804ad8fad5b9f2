"""The training job."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from costmodels.architecture import Model, Moe
from costmodels.configuration import Job
from costmodels.hardware import Cluster
from planner.specs.document import Document, read_document
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.strict import Strict, parse_spec

Sequences = Annotated[int, Field(ge=1, le=2**20)]
Tokens = Annotated[int, Field(ge=1, le=2**27)]


class JobSpec(Strict):
    """What to train; keys and meanings of ``costmodels.configuration.Job``."""

    global_batch: Sequences = Field(description="sequences per optimizer step")
    sequence_length: Tokens = Field(description="tokens per sequence")
    precision: Literal["fp16", "bf16", "fp8", "fp4"] = Field(default="bf16", description="of the matrix products")
    attention: Literal["flash", "unfused"] = Field(default="flash", description="unfused writes the scores to memory")
    expert_imbalance: Annotated[float, Field(ge=1.0, le=1e6)] = Field(
        default=1.0, description="tokens of the busiest expert rank over the mean"
    )
    gradient_overlap: bool = Field(default=True, description="reduce gradients behind the last backward pass")
    tensor_overlap: bool = Field(default=True, description="run tensor-parallel collectives beside the GEMMs they feed")
    gradients: Literal["fp32", "bf16"] = Field(default="fp32", description="what they are kept and reduced in")
    moments: Literal["fp32", "bf16"] = Field(default="fp32", description="what Adam's two are kept in")
    gradient_sync: Literal["microbatch", "step"] = Field(
        default="microbatch", description="when ZeRO 2 and 3 reduce gradients; until then they stay whole"
    )
    fused_loss: bool = Field(default=False, description="the loss writes its gradient over the logits")
    dropout: bool = Field(default=False, description="drop hidden states and attention probabilities at random")
    offloaded_layers: Annotated[int, Field(ge=0, le=2**16)] = Field(
        default=0, description="layers whose activations wait in host memory"
    )
    dispatch: Literal["all-to-all", "deduplicated"] = Field(default="all-to-all", description="of tokens to experts")
    software: Literal["megatron", "pytorch", "composer"] = Field(default="megatron", description="whose kernels run")
    scaling: Literal["tensor", "block"] = Field(
        default="tensor", description="FP8 scales per tensor (delayed, current) or per block (MXFP8, blockwise)"
    )
    expert_overlap: bool = Field(default=False, description="dispatch and combine beside another micro-batch")
    cuda_graphs: bool = Field(default=False, description="layers are replayed, not launched one kernel at a time")

    def job(self) -> Job:
        return Job(**self.model_dump())


def make_job(**fields: Any) -> Job:
    """A job from the keys of ``JobSpec``; ``global_batch`` and ``sequence_length`` must be given.

    Raises ``SpecError`` with every key that is unknown, missing or out of range.
    """
    return parse_spec(JobSpec, Document(file="job", data=fields)).job()


def load_job(path: str | Path, fields: Mapping[str, Any] | None = None) -> Job:
    """The job in a YAML or JSON file of ``JobSpec``'s keys; ``fields`` stand before the file's.

    Raises ``SpecError`` with every problem found.
    """
    document = read_document(path)
    return parse_spec(JobSpec, replace(document, data={**document.data, **(fields or {})})).job()


def check_job(job: Job, cluster: Cluster, model: Model) -> None:
    """Raises ``SpecError`` unless the GPU has the job's precision, the model enough position
    embeddings and the experts' imbalance a meaning."""
    problems = []

    def wrong(key: str, value: object, message: str) -> None:
        problems.append(Problem(file="job", key=key, value=shown(value), message=message))

    if job.precision not in cluster.gpu.peak_flops:
        known = ", ".join(cluster.gpu.peak_flops)
        wrong("precision", job.precision, f"{cluster.gpu.name} has no {job.precision} peak; it has {known}")
    if 0 < model.positions < job.sequence_length:
        wrong("sequence_length", job.sequence_length, f"{model.name} has {model.positions} position embeddings")
    blocks = [kind.block for kind in model.kinds]
    most = max((b.experts / b.top_k for b in blocks if isinstance(b, Moe)), default=1.0)
    if job.expert_imbalance > most:
        wrong("expert_imbalance", job.expert_imbalance, f"cannot exceed experts / top_k of {model.name}, {most:g}")
    if job.offloaded_layers > len(model.layers):
        wrong("offloaded_layers", job.offloaded_layers, f"{model.name} has {len(model.layers)} layers")
    if problems:
        raise SpecError(problems)
