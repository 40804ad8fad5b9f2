"""Placements of experts in seconds: what the cost model needs to know of a problem, and each layer's figures."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from costmodels.architecture import Model, Moe
from costmodels.calibration import load_calibration
from costmodels.expert_placement import PlacedLayer
from costmodels.hardware import Cluster
from planner.expert_traces import Traces
from planner.plan.experts_result import LayerTime
from planner.specs.experts import ExpertsSpec
from solvers.experts.time_layer import Seconds, Standing, TimeLayer


@dataclass(frozen=True, kw_only=True)
class ExpertTiming:
    """``priced`` prices a placement of any layer; ``groups`` and ``limit`` of the router; ``gpus_per_domain`` share
    NVLink. ``move_bytes_per_second`` a GPU takes weights from another node's, or its own node's where there is one."""

    priced: PlacedLayer
    groups: int
    limit: int
    move_bytes_per_second: float

    @property
    def gpus_per_domain(self) -> int:
        return self.priced.per_domain

    def layer(self, counts: Traces, k: int, slots: int, replicated: bool) -> TimeLayer:
        """Layer ``k`` of some counts. Tokens are counted one by one where they are known and each expert has a slot."""
        priced = self.priced
        known = bool(counts.routes) and not replicated and priced.merged
        return TimeLayer(
            loads=counts.pooled_loads()[k],
            gpus=priced.gpus,
            gpus_per_node=priced.per_domain,
            seconds=_estimate(self.priced, slots),
            merged=priced.merged,
            top_k=priced.block.top_k,
            groups=self.groups,
            limit=self.limit,
            routes=counts.routes[k][0] if known else None,
            tokens=counts.routes[k][1] if known else None,
        )

    def figures(self, counts: Traces, k: int, row: tuple[int, ...]) -> LayerTime:
        """Of layer ``k`` with the experts ``row`` in its slots."""
        slots = len(row) // self.priced.gpus
        held = np.array(row, dtype=np.intp).reshape(self.priced.gpus, slots)
        layer = self.layer(counts, k, slots, len(row) != counts.loads[0].shape[1])
        standing = Standing(layer=layer, held=held)
        parts = (standing.on_gpus[None], standing.on_nodes[None]) if layer.merged else (None, None)
        found = self.priced.seconds(slots, standing.shares[None], *parts)
        return LayerTime(
            exchange_seconds=float(found.exchange[0]),
            expert_seconds=float(found.experts[0]),
            other_seconds=float(found.rest[0]),
            nodes_per_token=float(standing.on_nodes.sum()) if layer.merged else None,
        )

    def bound(self, slots: int, busiest: float, distinct: tuple[float, float]) -> float:
        """Seconds that no placement of a layer is below: none whose busiest GPU has less than ``busiest`` times the
        mean, or whose tokens need fewer than ``distinct`` GPUs and nodes on average."""
        priced = self.priced
        n, r = priced.gpus, priced.per_domain
        shares = np.full((1, n), 1 / n)
        if priced.merged:
            near, far = priced.traffic(
                shares, np.full((1, n), distinct[0] / n), np.full((1, n // r), distinct[1] * r / n)
            )
        else:
            near, far = priced.traffic(np.full((1, n), 1 / n), None, None)
            near, far = near * busiest, far * busiest
        found = priced.of_figures(slots, np.array([busiest]), near, far)
        return float(found.total[0]) * (1 - 1e-12)


def timing_of(spec: ExpertsSpec, cluster: Cluster, model: Model) -> ExpertTiming:
    """Raises ``ValueError``, key first, for what the cost model does not price."""
    block = next(kind.block for kind in model.kinds if isinstance(kind.block, Moe))
    assert spec.tokens_per_gpu is not None
    if spec.gpus > cluster.gpus:
        raise ValueError(f"gpus: {spec.gpus}, {cluster.name} has {cluster.gpus}")
    if spec.precision not in cluster.gpu.peak_flops:
        raise ValueError(
            f"precision: {cluster.gpu.name} has no {spec.precision}; it has {', '.join(cluster.gpu.peak_flops)}"
        )
    calibration = load_calibration(cluster.gpu)
    priced = PlacedLayer(
        model,
        cluster,
        calibration,
        gpus=spec.gpus,
        tokens_per_gpu=spec.tokens_per_gpu,
        precision=spec.precision,
        dispatch=spec.dispatch,
    )
    groups, limit = (spec.routing.groups, spec.routing.limit) if spec.routing is not None else (1, 1)
    if block.experts % groups:
        raise ValueError(f"routing: {groups} groups do not divide the {block.experts} experts")
    if limit > min(groups, block.top_k):
        raise ValueError(f"routing: {limit} groups of a token exceed its {block.top_k} experts or the {groups} groups")
    out, up = cluster.scale_out, cluster.scale_up
    rate = out.bytes_per_second * calibration.scale_out_fraction
    if priced.domains == 1:
        rate = up.bytes_per_second * calibration.scale_up_fraction
    return ExpertTiming(priced=priced, groups=groups, limit=limit, move_bytes_per_second=rate)


@cache
def _estimate(priced: PlacedLayer, slots: int) -> Seconds:
    return priced.estimate(slots)


def distinct_at_least(layer: TimeLayer) -> tuple[float, float]:
    """GPUs and nodes that a token needs on average in any placement; 1 where only loads are known."""
    if layer.routes is None:
        return 1.0, 1.0
    from solvers.experts.traffic import traffic_problem
    from solvers.experts.traffic_bounds import traffic_lower_bound

    found = []
    for gpus, node in ((1.0, 0.0), (0.0, 1.0)):
        problem = traffic_problem(
            layer.routes,
            tokens=layer.tokens,
            experts=len(layer.loads),
            gpus=layer.gpus,
            gpus_per_node=layer.gpus_per_node,
            gpu_weight=gpus,
            node_weight=node,
        )
        weight = problem.weights[0] + problem.weights[1]
        found.append(max(1.0, traffic_lower_bound(problem) / weight) if weight > 0 else 1.0)
    return found[0], found[1]
