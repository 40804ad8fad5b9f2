"""What a layer executes: GEMMs, attention, element-wise work and collectives, by shape.

Every operator knows its seconds in the three passes (forward, gradient of its input, gradient of its
weights), the bytes it keeps for the backward pass, and the parameters it holds. Shapes are columns:
one entry per shard (``costmodels.sharding``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from costmodels import collectives, kernels
from costmodels.calibration import Calibration
from costmodels.configuration import Job, Precision, Scaling
from costmodels.groups import Group
from costmodels.hardware import Cluster
from costmodels.sharding import Column

Work = Literal["gemm", "attention", "memory", "tensor", "context", "expert"]
Modules = tuple[str, ...]
"""Of ``costmodels.recompute.MODULES``."""
Collective = Literal["all_gather", "reduce_scatter", "all_reduce", "all_to_all"]
FP32_BYTES = 4
BF16_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The machine an operator runs on, as its prices see it."""

    cluster: Cluster
    calibration: Calibration
    precision: Precision
    tensor_overlap: bool = True
    scaling: Scaling = "tensor"

    @classmethod
    def of(cls, cluster: Cluster, calibration: Calibration, job: Job) -> "System":
        return cls(
            cluster=cluster,
            calibration=calibration,
            precision=job.precision,
            tensor_overlap=job.tensor_overlap,
            scaling=job.scaling,
        )

    @property
    def narrow(self) -> bool:
        """Whether operands of GEMMs are cast to 8 bits or fewer."""
        return self.precision in ("fp8", "fp4")

    @property
    def operand_bytes(self) -> int:
        """Of one element that a GEMM keeps for its weight gradient: narrow precisions keep it cast."""
        return 1 if self.narrow else BF16_BYTES

    def scaled_speed(self, precision: Precision) -> float:
        """Speed of a GEMM in ``precision`` over that with one scale a tensor."""
        return self.calibration.block_scaling_fraction if precision == "fp8" and self.scaling == "block" else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Seconds of one operator or layer in each pass."""

    forward: Column
    input_grad: Column
    weight_grad: Column


class Operator(Protocol):
    """One step of a layer. ``redone_by``: modules whose recompute runs its forward pass again;
    ``dropped_by``: those whose recompute does not keep its ``saved_bytes``."""

    @property
    def work(self) -> Work: ...
    @property
    def saved_bytes(self) -> Column | float: ...
    @property
    def parameters(self) -> Column | float: ...
    @property
    def expert(self) -> bool: ...
    @property
    def redone_by(self) -> Modules: ...
    @property
    def dropped_by(self) -> Modules: ...

    def passes(self, system: System) -> Passes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """[m, k] x [k, n]; both gradients are GEMMs of the same volume (m k n and n m k).

    ``owned=False``: the weights are counted where they are kept. ``wide=True``: never narrower than
    bf16 (router, output head). ``saves_input=False``: its input is kept by another operator. Narrow
    precisions cast the input forward and the output's gradient backward; weights are cast once a step.
    """

    m: Column
    n: Column | float
    k: Column | float
    bias: Column | float = 0.0
    saved_bytes: Column | float = 0.0
    saves_input: bool = True
    owned: bool = True
    wide: bool = False
    work: Work = "gemm"
    expert: bool = False
    redone_by: Modules = ()
    dropped_by: Modules = ()

    @property
    def parameters(self) -> Column | float:
        return self.owned * (self.n * self.k + self.bias)

    def passes(self, system: System) -> Passes:
        gpu, calibration = system.cluster.gpu, system.calibration
        precision: Precision = "bf16" if self.wide and system.narrow else system.precision

        def seconds(m: Column | float, n: Column | float, k: Column | float) -> Column:
            return kernels.gemm_seconds(m, n, k, gpu, precision, calibration) / system.scaled_speed(precision)

        def cast(elements: Column | float) -> Column:
            return kernels.cast_seconds(elements, gpu, precision, calibration)

        return _three_products(seconds, cast, self.m, self.n, self.k)

    def weight_grad_bytes(self, system: System) -> Column | float:
        """What dW = X' dY reads, kept from the input gradient on: X as it was saved (a tensor rank's share
        of it, under sequence parallelism), and dY."""
        element = BF16_BYTES if self.wide else system.operand_bytes
        saved = np.minimum(self.saved_bytes, element * self.m * self.k) if self.saves_input else 0.0
        return saved + element * self.m * self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedGemm:
    """One GEMM per local expert, run as one kernel."""

    groups: Column
    m: Column
    n: Column | float
    k: Column | float
    bias: Column | float = 0.0
    saved_bytes: Column | float = 0.0
    work: Work = "gemm"
    expert: bool = True
    redone_by: Modules = ()
    dropped_by: Modules = ()

    @property
    def parameters(self) -> Column | float:
        return self.groups * (self.n * self.k + self.bias)

    def passes(self, system: System) -> Passes:
        gpu, precision, calibration = system.cluster.gpu, system.precision, system.calibration

        def seconds(m: Column | float, n: Column | float, k: Column | float) -> Column:
            once = kernels.grouped_gemm_seconds(self.groups, m, n, k, gpu, precision, calibration)
            return once / system.scaled_speed(precision)

        def cast(elements: Column | float) -> Column:
            return kernels.cast_seconds(self.groups * elements, gpu, precision, calibration)

        return _three_products(seconds, cast, self.m, self.n, self.k)

    def weight_grad_bytes(self, system: System) -> Column | float:
        """``Gemm``'s, of all experts."""
        return self.saved_bytes + self.groups * system.operand_bytes * self.m * self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreAttention:
    """Scores, softmax and values of ``heads`` local heads.

    ``keys`` per query: with FlashAttention the mean number attended to, else the whole sequence,
    masked ones computed too. ``saved_bytes`` are the scores; queries, keys and values are kept by
    the operator that made them.
    """

    flash: bool
    batch: Column
    heads: Column
    queries: Column
    keys: float
    query_dim: int
    value_dim: int
    saved_bytes: Column | float = 0.0
    parameters: Column | float = 0.0
    work: Work = "attention"
    expert: bool = False
    redone_by: Modules = ("core_attn",)
    dropped_by: Modules = ("core_attn",)

    def passes(self, system: System) -> Passes:
        gpu, calibration = system.cluster.gpu, system.calibration
        if self.flash:
            forward, backward = kernels.attention_seconds(
                self.batch,
                self.heads,
                self.queries,
                self.keys,
                self.query_dim,
                self.value_dim,
                gpu,
                calibration,
            )
        else:
            forward, backward = kernels.unfused_attention_seconds(
                self.batch,
                self.heads,
                self.queries,
                self.keys,
                self.query_dim,
                self.value_dim,
                gpu,
                calibration,
            )
        return Passes(forward=forward, input_grad=backward, weight_grad=np.zeros_like(forward))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBound:
    """Element-wise work: what it reads and writes in each direction."""

    forward_bytes: Column
    backward_bytes: Column
    saved_bytes: Column | float = 0.0
    parameters: Column | float = 0.0
    work: Work = "memory"
    expert: bool = False
    redone_by: Modules = ()
    dropped_by: Modules = ()

    def passes(self, system: System) -> Passes:
        def seconds(moved: Column) -> Column:
            return kernels.memory_seconds(moved, system.cluster.gpu, system.calibration)

        backward = seconds(self.backward_bytes)
        return Passes(forward=seconds(self.forward_bytes), input_grad=backward, weight_grad=np.zeros_like(backward))


@dataclass(frozen=True, slots=True, kw_only=True)
class Communication:
    """A collective over the layer's tensor, context or expert group.

    ``calls`` says how often it runs in the forward, input-gradient and weight-gradient pass.
    ``hidden_behind`` seconds of computation run at the same time in each pass (context exchange
    behind attention): what remains is exposed, and the hidden part slows its host by the
    contention factor. Tensor collectives expose the calibrated share, or all where not overlapped.
    ``merged_copies``: an all-to-all sends that many copies of a token, once to each domain and rank.
    """

    collective: Collective
    group: Group
    size_bytes: Column
    calls: tuple[float, float, float]
    work: Work
    hidden_behind: tuple["Column | float", "Column | float"] = (0.0, 0.0)
    merged_copies: int | None = None
    saved_bytes: Column | float = 0.0
    parameters: Column | float = 0.0
    expert: bool = False
    redone_by: Modules = ()
    dropped_by: Modules = ()

    def passes(self, system: System) -> Passes:
        price = getattr(collectives, f"{self.collective}_seconds")
        merged = {} if self.merged_copies is None else {"merged_copies": self.merged_copies}
        once: Column = price(self.size_bytes, self.group, system.cluster, system.calibration, **merged)
        forward, input_grad, weight_grad = (count * once for count in self.calls)
        if self.work == "tensor":
            calibration = system.calibration
            share = calibration.tensor_exposed_fraction if system.tensor_overlap else calibration.tensor_serial_factor
            return Passes(forward=share * forward, input_grad=share * input_grad, weight_grad=share * weight_grad)
        contention = system.calibration.overlap_contention
        return Passes(
            forward=exposed_seconds(forward, self.hidden_behind[0], contention),
            input_grad=exposed_seconds(input_grad, self.hidden_behind[1], contention),
            weight_grad=weight_grad,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Dispatch of tokens to experts, or their return, where links do not carry alike: bytes over the busiest
    rank's NVLink and over the busiest share of the NICs, the same on the way back."""

    group: Group
    near_bytes: Column
    far_bytes: Column
    saved_bytes: Column | float = 0.0
    parameters: Column | float = 0.0
    work: Work = "expert"
    expert: bool = False
    redone_by: Modules = ()
    dropped_by: Modules = ()

    def passes(self, system: System) -> Passes:
        once = collectives.exchange_seconds(
            self.near_bytes, self.far_bytes, self.group, system.cluster, system.calibration
        )
        return Passes(forward=once, input_grad=once, weight_grad=np.zeros_like(once))


def _three_products(
    seconds: Callable[[Column | float, Column | float, Column | float], Column],
    cast: Callable[[Column | float], Column],
    m: Column | float,
    n: Column | float,
    k: Column | float,
) -> Passes:
    """A linear layer's products: Y = X W, dX = dY W', dW = X' dY. X and dY are cast before their first
    product, which also leaves what dW needs; weights are cast once a step, which is not counted."""
    return Passes(
        forward=seconds(m, n, k) + cast(m * k),
        input_grad=seconds(m, k, n) + cast(m * n),
        weight_grad=seconds(n, k, m),
    )


def exposed_seconds(communication: Column, compute: Column | float, contention: float) -> Column:
    """Added seconds of ``communication`` run beside ``compute``: what outlasts it, and the slow-down.

    Overlap is contention, not subtraction (Galvatron; Calculon): while both run, the computation
    takes ``1 + contention`` times as long. Never less than 0, never more than the communication
    itself, non-decreasing in both the communication's time and the contention.
    """
    hidden = np.minimum(communication, compute)
    return np.asarray(communication - hidden + np.minimum(contention, 1.0) * hidden, dtype=np.float64)
