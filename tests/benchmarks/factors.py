"""The factors of the cost models, and how each is switched off: what ``tests.benchmarks.ablations`` compares.

A factor goes by other figures of the calibration, by another job, cluster or configuration, or by a plainer
function in the place of one of the cost models' own while a prediction is made. The product is not edited.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from costmodels import collectives, items, kernels, layers, states, step
from costmodels.calibration import Calibration, load_calibration
from costmodels.configuration import Configuration, Job, Software
from costmodels.groups import Group
from costmodels.hardware import Cluster, Gpu
from costmodels.operators import BF16_BYTES
from costmodels.recompute import NONE, modules_of
from costmodels.timeline import Order
from planner.predict import Prediction, predict
from planner.published import rows
from planner.readers.published_rows import RowRequest

Seconds = NDArray[np.float64]
Kind = Literal["time", "memory"]

NEVER = 1e-9
"""For figures that may not be 0."""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """``kind``: what its absence is judged by. ``figures`` may depend on the calibration; ``plainer`` are
    replacements as (owner, attribute, value)."""

    name: str
    kind: Kind = "time"
    figures: Mapping[str, float] | Callable[[Calibration], Mapping[str, float]] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)
    plainer: tuple[tuple[Any, str, Any], ...] = ()
    configuration: Callable[[Configuration], Configuration] | None = None
    no_latency: bool = False

    @contextmanager
    def off(self) -> Iterator[None]:
        """The plainer functions in place."""
        with ExitStack() as stack:
            for owner, attribute, value in self.plainer:
                stack.enter_context(patch.object(owner, attribute, value))
            yield

    def without(self, request: RowRequest, choice: Configuration) -> "Inputs":
        """What ``choice`` is priced from when the factor is off."""
        calibration = _adjusted(self, request.cluster.gpu, request.job.software)
        cluster = request.cluster
        if self.no_latency:
            up, out = (replace(link, latency_seconds=0.0) for link in (cluster.scale_up, cluster.scale_out))
            cluster = replace(cluster, scale_up=up, scale_out=out)
        changed = replace(request.job, **self.job) if self.job else request.job
        return Inputs(cluster, changed, self.configuration(choice) if self.configuration else choice, calibration)

    def predict(self, request: RowRequest, choice: Configuration) -> Prediction | None:
        """``choice`` priced without the factor, to be called under ``off``; None where its absence leaves
        everything that goes into the price as it is.

        Raises ``IllegalConfiguration`` where the configuration cannot run.
        """
        inputs = self.without(request, choice)
        if self is not FULL_MODEL and not self.plainer and inputs == FULL_MODEL.without(request, choice):
            return None
        return predict(
            inputs.cluster,
            request.model,
            inputs.job,
            inputs.choice,
            split=request.split,
            boundaries=request.boundaries.get(choice),
            calibration=inputs.calibration,
        )


class Inputs(NamedTuple):
    """What a prediction is made from, the model apart."""

    cluster: Cluster
    job: Job
    choice: Configuration
    calibration: Calibration


_known: dict[tuple[str, str, str], Calibration] = {}


def _adjusted(factor: Factor, gpu: Gpu, software: Software) -> Calibration:
    """The GPU's calibration without the factor; the same object where nothing changes."""
    key = factor.name, gpu.name, software
    if key not in _known:
        bundled = (
            load_calibration(gpu, software=software) if factor is FULL_MODEL else _adjusted(FULL_MODEL, gpu, software)
        )
        figures = factor.figures(bundled) if callable(factor.figures) else factor.figures
        other = {name: value for name, value in figures.items() if value != getattr(bundled, name)}
        _known[key] = bundled.adjusted(kind="assumed", source=f"without {factor.name}", **other) if other else bundled
    return _known[key]


FULL_MODEL = Factor(name="the full model")


# -- plainer functions ------------------------------------------------------------------------

_ring_gather = collectives.all_gather_seconds
_chunk_seconds = step.StepModel.chunk_seconds
_timeline = step.StepModel.timeline
_tensor_collectives = layers.LayerBuilder._tensor_collectives


def _one_rail(group: Group) -> Group:
    """The same ranks, one of each domain sending all that leaves it."""
    return replace(group, ranks_per_domain=np.where(group.domains > 1, 1, group.ranks_per_domain))


def _gather_over_one_rail(size: Any, group: Group, *machine: Any) -> Seconds:
    return _ring_gather(size, _one_rail(group), *machine)


def _reduce_over_one_rail(size: Any, group: Group, *machine: Any, price: Any = collectives.all_reduce_seconds) -> Any:
    return price(size, _one_rail(group), *machine)


def _ring_all_reduce(size: Any, group: Group, *machine: Any) -> Seconds:
    """A reduce-scatter and an all-gather by rings, one after the other."""
    return 2.0 * _ring_gather(size, group, *machine)


def _wide_gathers(builder: Any, *arguments: Any, **named: Any) -> Any:
    """Tensor collectives that carry bf16 whatever the GEMMs take."""
    narrow, builder.operand_bytes = builder.operand_bytes, BF16_BYTES
    try:
        return _tensor_collectives(builder, *arguments, **named)
    finally:
        builder.operand_bytes = narrow


def _head_spread_evenly(model: step.StepModel, index: int, cut: step.Cut) -> Any:
    """Every chunk does an equal share of the loss head; layers stay where they are cut."""
    head = np.array([table[-1, index] for table in (model.forward_seconds, *model.backward_parts)])
    spread = []
    for seconds, share in zip(_chunk_seconds(model, index, cut), head, strict=True):
        even = seconds + share / len(seconds)
        even[-1] -= share
        spread.append(even)
    return tuple(spread)


@dataclass(frozen=True, kw_only=True)
class _Formula:
    device_end_seconds: Seconds
    busy_seconds: Seconds


def _formula(model: step.StepModel, index: int, forward: Seconds, input_grad: Seconds, weight_grad: Seconds) -> Any:
    """(m + (p - 1) / v) times the slowest stage, sends free (arXiv 2104.04473, section 2.2); a split
    vocabulary has no such formula and is simulated."""
    order = model.order(index)
    if order.splits_vocabulary:
        return _timeline(model, index, forward, input_grad, weight_grad)
    stages = (forward + input_grad + weight_grad).reshape(-1, order.devices).sum(axis=0)
    rounds = order.microbatches + (order.devices - 1) / order.chunks_per_device
    return _Formula(
        device_end_seconds=np.full(order.devices, rounds * stages.max()), busy_seconds=order.microbatches * stages
    )


def _all_in_flight(order: Order, sizes: Seconds, waiting: Seconds | float, softmax_bytes: float) -> Seconds:
    """Every stage holds as many micro-batches as there are stages, of each of its chunks, each whole."""
    live = min(order.devices, order.microbatches)
    return live * np.asarray(sizes).reshape(-1, order.devices).sum(axis=0) + softmax_bytes


def _free(*arguments: Any, **_: Any) -> Any:
    """No seconds for what is moved."""
    return np.zeros_like(np.asarray(arguments[0], dtype=np.float64))


def _free_update(_: states.StateTraffic, dense: Seconds, experts: Seconds) -> Seconds:
    return np.zeros_like(dense + experts)


def _no_sends(model: step.StepModel, index: int) -> Seconds:
    return np.zeros(int(model.columns.pp[index] * model.columns.vp[index]) - 1)


def _nothing_late(communication: Seconds, *_: Any) -> Seconds:
    return np.zeros_like(communication)


def _runs_whole(pricer: Any, _: Any) -> Seconds:
    return np.zeros(len(pricer.shards))


def _no_lookup_gradient(model: step.StepModel) -> Seconds:
    return np.zeros(len(model.columns))


def _without_modules(choice: Configuration) -> Configuration:
    return replace(choice, recompute=NONE) if modules_of(choice.recompute) else choice


def _gemm_like_attention(c: Calibration) -> dict[str, float]:
    """Attention at a large GEMM's share of the peak; its backward pass 2.5 times the forward one's FLOPs."""
    return {
        "attention_forward_fraction": c.gemm_peak_fraction,
        "attention_keys_half": 0.0,
        "attention_softmax_width": 0.0,
        "attention_backward_softmax_width": 0.0,
        "attention_backward_ratio": 2.5,
    }


EDGES = dict.fromkeys(("gemm_edge_half", "fp8_edge_half", "fp4_edge_half"), NEVER)
DEPTHS = dict.fromkeys(("gemm_k_half", "fp8_k_half", "fp4_k_half"), NEVER)
STARTS = ("collective_launch_seconds", "low_latency_launch_seconds", "low_latency_step_seconds", "scale_up_step_factor")

FACTORS: tuple[Factor, ...] = (
    Factor(name="sustained clock", figures={"gemm_sustained_fraction": 1.0}),
    Factor(name="GEMM edges", figures=EDGES),
    Factor(name="GEMM depth", figures=DEPTHS),
    Factor(name="GEMM shape: edges and depth", figures=EDGES | DEPTHS),
    Factor(name="casts to FP8 and FP4", figures={"fp8_cast_bytes": 0.0, "fp4_cast_bytes": 0.0}),
    Factor(
        name="attention's softmax width",
        figures={"attention_softmax_width": 0.0, "attention_backward_softmax_width": 0.0},
    ),
    Factor(name="attention's keys", figures={"attention_keys_half": 0.0}),
    Factor(name="attention's own efficiency", figures=_gemm_like_attention),
    Factor(name="element-wise traffic", plainer=((kernels, "memory_seconds", _free),)),
    Factor(name="loss traffic", figures={"loss_bytes_per_logit": NEVER}),
    Factor(name="optimizer traffic", plainer=((states.StateTraffic, "optimizer_seconds", _free_update),)),
    Factor(name="kernel launches", figures={"kernel_launch_seconds": 0.0}),
    Factor(name="launch floor", figures={"layer_floor_seconds": 0.0}),
    Factor(name="host jitter", figures={"host_jitter_per_doubling": 0.0}),
    Factor(name="CUDA graphs", figures={"graphed_host_fraction": 1.0}),
    Factor(name="host per micro-batch", figures={"microbatch_seconds": 0.0}),
    Factor(name="host per step", figures={"step_seconds": 0.0}),
    Factor(name="host per MoE layer", figures={"moe_layer_seconds": 0.0}),
    Factor(name="grouped GEMMs", figures={"grouped_gemm_fraction": 1.0}),
    Factor(name="experts started one by one", figures={"group_launch_seconds": 0.0}),
    Factor(name="expert overlap", job={"expert_overlap": False}),
    Factor(name="deduplicated dispatch", job={"dispatch": "all-to-all"}),
    Factor(name="expert exchange", plainer=((collectives, "all_to_all_seconds", _free),)),
    Factor(
        name="NIC rails",
        plainer=(
            (collectives, "all_gather_seconds", _gather_over_one_rail),
            (collectives, "all_reduce_seconds", _reduce_over_one_rail),
        ),
    ),
    Factor(name="in-switch all-reduce", figures={"in_network_fraction": 0.0}),
    Factor(name="tree and in-switch all-reduce", plainer=((collectives, "all_reduce_seconds", _ring_all_reduce),)),
    Factor(name="collectives' starts and steps", figures=dict.fromkeys(STARTS, 0.0), no_latency=True),
    Factor(name="small messages' protocol", figures={"low_latency_fraction": NEVER}),
    Factor(name="tensor overlap: all exposed", figures={"tensor_exposed_fraction": 1.0}),
    Factor(
        name="tensor overlap: none exposed",
        figures={"tensor_exposed_fraction": 0.0},
    ),
    Factor(name="serial tensor collectives slower", figures={"tensor_serial_factor": 1.0}),
    Factor(name="FP8 gathers", plainer=((layers.LayerBuilder, "_tensor_collectives", _wide_gathers),)),
    Factor(name="overlap contention", figures={"overlap_contention": 0.0}),
    Factor(name="FSDP: all exposed", figures={"fsdp_exposed_fraction": 1.0}),
    Factor(name="FSDP: hidden where it can", figures={"fsdp_exposed_fraction": 0.0}),
    Factor(name="gradient overlap: none", job={"gradient_overlap": False}),
    Factor(name="gradient overlap: all hidden", plainer=((step, "_overlapped", _nothing_late),)),
    Factor(name="stragglers", figures={"straggler_fraction_per_doubling": 0.0}),
    Factor(name="block scaling", figures={"block_scaling_fraction": 1.0}),
    Factor(name="head on the last stage", plainer=((step.StepModel, "chunk_seconds", _head_spread_evenly),)),
    Factor(name="event simulation", plainer=((step.StepModel, "timeline", _formula),)),
    Factor(name="sends between stages", plainer=((step.StepModel, "link_seconds", _no_sends),)),
    Factor(name="recompute stops early", plainer=((items._Pricer, "_not_redone", _runs_whole),)),
    Factor(name="logits' work space", kind="memory", figures={"logit_workspace_bytes_per_element": 0.0}),
    Factor(name="weights' work space", kind="memory", figures={"weight_workspace_bytes_per_element": 0.0}),
    Factor(name="fixed work space", kind="memory", figures={"workspace_bytes": 0.0}),
    Factor(
        name="lookup's gradient",
        kind="memory",
        plainer=((step.StepModel, "lookup_gradient_bytes", property(_no_lookup_gradient)),),
    ),
    Factor(name="in-flight counts", kind="memory", plainer=((step, "peak_with_softmaxes", _all_in_flight),)),
    Factor(name="dropout masks", kind="memory", job={"dropout": False}),
    Factor(name="fused loss", kind="memory", job={"fused_loss": False}),
    Factor(name="recompute of modules", kind="memory", configuration=_without_modules),
    Factor(name="reserved over allocated", kind="memory", plainer=((rows, "RESERVED_OVER_ALLOCATED", 1.0),)),
)
