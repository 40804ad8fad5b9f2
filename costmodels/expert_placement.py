"""Seconds of one mixture-of-experts layer for experts that stand where a placement says.

n GPUs, r in each of D NVLink domains, bring t tokens each, every one to k experts. A placement is seen by the share
s_g of all n t k copies that GPU g gets, and, where copies are merged, by the parts p_g and q_d of all tokens that need
GPU g and domain d at all. Tokens come from all GPUs alike. Kernels run as long as on the busiest GPU, the exchange as
long as its busiest link takes, dispatch and combine alike (``own`` is what a copy within the GPU counts):

    rows        n t k max s_g
    every copy  near  t k max s_g (r - 1 + own)
                far   t k max s_g (n - r)
    merged      near  t max p_g (n - 1) + own t
                far   t max q_d (n - r) / r

times the bytes of a token. That is what the busiest receives; nothing sends more: to other domains, say, a GPU sends
t k (1 - S_d), S_d the share of its own, and of the n - r GPUs there one gets at least (1 - S_d) / (n - r). With
s_g = 1/n, p_g = 1 - (1 - 1/n)^k and q_d = 1 - (1 - 1/D)^k this is the exchange that ``costmodels.layers`` prices for
even routing. The grouped GEMM follows ``costmodels.kernels``: each expert has its rows padded by the calibrated edge,
what partly filled tiles cost on average, so that its time depends on the rows of a GPU and the number of its experts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Model, Moe
from costmodels.calibration import Calibration
from costmodels.collectives import exchange_seconds
from costmodels.configuration import Dispatch, Job, Precision
from costmodels.groups import group_shape
from costmodels.hardware import Cluster
from costmodels.layers import LayerBuilder, PlacedExperts
from costmodels.operators import BF16_BYTES, Exchange, Operator, System
from costmodels.sharding import Column, Shards

Shares = NDArray[np.float64]
TABULATED = 2049
"""Loads of the busiest GPU at which ``estimate`` knows the kernels' seconds."""
MOST_TOGETHER = 1 << 14
"""Placements priced in one call of the layer's operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedSeconds:
    """Of the forward pass of a layer's expert block, [placements] each: ``exchange`` of tokens there and back,
    ``experts`` (all kernels that wait for the busiest GPU: permutation, grouped GEMMs, activation), and ``rest``,
    which no placement changes: norm, router, shared experts, what the host takes for routing."""

    exchange: Column
    experts: Column
    rest: Column

    @property
    def total(self) -> Column:
        return self.exchange + self.experts + self.rest


class PlacedLayer:
    """Prices placements of one layer of ``model`` over ``gpus`` GPUs of ``cluster`` that bring ``tokens_per_gpu``
    tokens each, in the forward pass.

    Raises ``ValueError`` for GPUs that do not fill their NVLink domains, or a model without experts.
    """

    def __init__(
        self,
        model: Model,
        cluster: Cluster,
        calibration: Calibration,
        *,
        gpus: int,
        tokens_per_gpu: int,
        precision: Precision = "bf16",
        dispatch: Dispatch = "all-to-all",
    ) -> None:
        blocks = [kind.block for kind in model.kinds if isinstance(kind.block, Moe)]
        if not blocks:
            raise ValueError(f"model: {model.name} has no experts")
        domain = min(cluster.domain_gpus, gpus)
        if gpus % domain:
            raise ValueError(f"gpus: {gpus} do not fill NVLink domains of {domain} GPUs")
        self.block, self.hidden = blocks[0], model.hidden
        self.gpus, self.per_domain, self.domains = gpus, domain, gpus // domain
        self.tokens, self.merged = float(tokens_per_gpu), dispatch == "deduplicated"
        self.calibration, self.cluster = calibration, cluster
        self.job = Job(
            global_batch=gpus,
            sequence_length=tokens_per_gpu,
            precision=precision,
            dispatch=dispatch,
            expert_imbalance=1.0,
        )
        self.system = System.of(cluster, calibration, self.job)

    def traffic(self, shares: Shares, on_gpus: Shares | None, on_domains: Shares | None) -> tuple[Column, Column]:
        """Bytes over the busiest NVLink and NIC share of each placement, [placements] each.

        ``shares`` and ``on_gpus`` are [placements, gpus], ``on_domains`` [placements, domains]: s, p and q above; the
        last two count where copies are merged alone.
        """
        n, r, t, k = self.gpus, self.per_domain, self.tokens, self.block.top_k
        own, size = self.calibration.own_part_fraction, BF16_BYTES * self.hidden
        if self.merged:
            assert on_gpus is not None
            assert on_domains is not None
            near = t * (n - 1) * on_gpus.max(axis=1) + own * t
            return size * near, size * t * (n - r) / r * on_domains.max(axis=1)
        copies = size * t * k * shares.max(axis=1)
        return copies * (r - 1 + own), copies * (n - r)

    def seconds(
        self, slots: int, shares: Shares, on_gpus: Shares | None = None, on_domains: Shares | None = None
    ) -> PlacedSeconds:
        """Of each placement, [placements]; arguments as in ``traffic``, ``slots`` experts on each GPU."""
        near, far = self.traffic(shares, on_gpus, on_domains)
        return self.of_figures(slots, shares.max(axis=1) * self.gpus, near, far)

    def estimate(self, slots: int) -> Callable[[Shares, Shares | None, Shares | None], Column]:
        """A function of ``seconds``'s other arguments that is quick to call: kernels between tabulated loads, which
        the kernels' piecewise linear time is close to."""
        busiest = np.linspace(1.0, float(self.gpus), TABULATED)
        nothing = np.zeros(TABULATED)
        table = self.of_figures(slots, busiest, nothing, nothing)
        kernels = table.experts + table.rest

        def seconds(shares: Shares, on_gpus: Shares | None, on_domains: Shares | None) -> Column:
            near, far = self.traffic(shares, on_gpus, on_domains)
            group = group_shape(self.gpus, 1, self.cluster.domain_gpus)
            once = exchange_seconds(near, far, group, self.cluster, self.calibration)
            return np.asarray(2 * once + np.interp(shares.max(axis=1) * self.gpus, busiest, kernels))

        return seconds

    def of_figures(self, slots: int, busiest: Column, near_bytes: Column, far_bytes: Column) -> PlacedSeconds:
        """Of each load of the busiest GPU over the mean and of the busiest links, [placements] each: monotone in all,
        so that bounds on them give a bound on the seconds."""
        parts = [
            self._together(
                slots, *(column[start : start + MOST_TOGETHER] for column in (busiest, near_bytes, far_bytes))
            )
            for start in range(0, len(busiest), MOST_TOGETHER)
        ]
        exchange, experts, rest = (np.concatenate(column) for column in zip(*parts, strict=True))
        return PlacedSeconds(exchange=exchange, experts=experts, rest=rest)

    def _together(self, slots: int, busiest: Column, near: Column, far: Column) -> tuple[Column, Column, Column]:
        ones = np.ones(len(busiest), dtype=np.int64)
        shards = Shards(tp=ones, sp=0 * ones, cp=ones, ep=self.gpus * ones, etp=ones, mbs=ones)
        build = LayerBuilder(self.hidden, self.job, shards, self.system)
        group = group_shape(self.gpus * ones, ones, self.cluster.domain_gpus)
        exchange = Exchange(group=group, near_bytes=near, far_bytes=far)
        placed = PlacedExperts(busiest=busiest, experts=slots * ones.astype(np.float64), exchange=exchange)
        found = self._sum(build.moe(self.block, placed), len(busiest))
        idle = PlacedExperts(busiest=0.0 * busiest, experts=placed.experts, exchange=exchange)
        rest = self._sum(build.moe(self.block, idle), len(busiest))[1]
        return found[0], found[1] - rest, rest + self.calibration.moe_layer_seconds

    def _sum(self, operators: list[Operator], count: int) -> tuple[Column, Column]:
        """Forward seconds of the exchanges and of everything else."""
        exchanged, other = np.zeros(count), np.zeros(count)
        for operator in operators:
            seconds = operator.passes(self.system).forward
            if operator.work == "expert":
                exchanged = exchanged + seconds
            else:
                other = other + seconds
        return exchanged, other
