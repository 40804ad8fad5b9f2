"""Bytes of parameters, gradients and optimizer states, and the traffic that keeps them equal.

Mixed-precision Adam keeps 2 bytes of bf16 weights, 4 of gradients (2 where they are kept in bf16) and 12
of fp32 master weights and moments (8 with moments in bf16) per parameter (Megatron-LM
``theoretical_memory_usage``: 18, or 6 + 12/d with the distributed optimizer); ZeRO stage 1 shards the
optimizer over the d replicas, 2 the gradients too, 3 the weights too (Rajbhandari et al., arXiv
1910.02054). PyTorch's own trainers (FSDP2 with its mixed-precision policy) shard fp32 parameters, which are
the master weights, and gather 16-bit copies when needed: 16 bytes under stage 3; they reduce gradients in
the precision that those are kept in.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels import collectives
from costmodels.columns import Columns
from costmodels.configuration import GradientPrecision, Job, MomentPrecision, Software
from costmodels.groups import Group, group_shape
from costmodels.operators import System
from costmodels.sharding import Column

Flags = NDArray[np.bool_] | bool

WEIGHT_BYTES = 2.0
GRADIENT_BYTES: dict[GradientPrecision, float] = {"fp32": 4.0, "bf16": 2.0}
MASTER_BYTES = 4.0
MOMENT_BYTES: dict[MomentPrecision, float] = {"fp32": 4.0, "bf16": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class StateBytes:
    weights: Column
    gradients: Column
    optimizer: Column

    @property
    def total(self) -> Column:
        return self.weights + self.gradients + self.optimizer


def state_bytes(
    dense: Column,
    experts: Column,
    columns: Columns,
    gradients: GradientPrecision = "fp32",
    moments: MomentPrecision = "fp32",
    software: Software = "megatron",
    whole_gradients: Flags = False,
) -> StateBytes:
    """``dense`` and ``experts``: parameters on one rank, last axis the configurations, as is that of
    ``whole_gradients``: whether a stage that shards gradients does so only at the end of a step."""

    def sharded(bytes_per_parameter: float | Column, from_stage: int, but: Flags = False) -> Column:
        divide = (columns.zero >= from_stage) & np.logical_not(but)
        dense_ranks = np.where(divide, columns.dense_replicas, 1)
        expert_ranks = np.where(divide, columns.expert_replicas, 1)
        return np.asarray(bytes_per_parameter * (dense / dense_ranks + experts / expert_ranks))

    weights_are_masters = (columns.zero == 3) & (software == "pytorch")
    return StateBytes(
        weights=sharded(np.where(weights_are_masters, 0.0, WEIGHT_BYTES), 3),
        gradients=sharded(GRADIENT_BYTES[gradients], 2, but=whole_gradients),
        optimizer=sharded(MASTER_BYTES + 2 * MOMENT_BYTES[moments], 1),
    )


def whole_gradients(columns: Columns, job: Job) -> NDArray[np.bool_]:
    """Where gradients that could be sharded stay whole from micro-batch to micro-batch."""
    several = columns.microbatches(job.global_batch) > 1
    return (job.gradient_sync == "step") & (columns.zero >= 2) & several


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTraffic:
    """Collectives over the replicas of a rank's parameters, and the optimizer's own work."""

    system: System
    columns: Columns
    dense_group: Group
    expert_group: Group
    gradients: GradientPrecision = "fp32"
    moments: MomentPrecision = "fp32"
    software: Software = "megatron"
    whole_gradients: Flags = False

    @classmethod
    def of(
        cls,
        columns: Columns,
        system: System,
        gradients: GradientPrecision = "fp32",
        moments: MomentPrecision = "fp32",
        software: Software = "megatron",
        whole_gradients: Flags = False,
    ) -> "StateTraffic":
        domain = system.cluster.domain_gpus
        return cls(
            system=system,
            columns=columns,
            dense_group=group_shape(columns.dense_replicas, columns.tp, domain),
            expert_group=group_shape(columns.expert_replicas, columns.ep * columns.etp, domain),
            gradients=gradients,
            moments=moments,
            software=software,
            whole_gradients=whole_gradients,
        )

    @classmethod
    def of_job(cls, columns: Columns, system: System, job: Job) -> "StateTraffic":
        """As the job keeps its states."""
        return cls.of(columns, system, job.gradients, job.moments, job.software, whole_gradients(columns, job))

    def _both(self, collective: str, bytes_per_parameter: float, dense: Column, experts: Column) -> Column:
        price = getattr(collectives, f"{collective}_seconds")
        cluster, calibration = self.system.cluster, self.system.calibration
        over_dense: Column = price(bytes_per_parameter * dense, self.dense_group, cluster, calibration)
        over_experts: Column = price(bytes_per_parameter * experts, self.expert_group, cluster, calibration)
        return np.where(dense > 0, over_dense, 0.0) + np.where(experts > 0, over_experts, 0.0)

    def gradient_seconds(self, dense: Column, experts: Column) -> Column:
        """Once a step: all-reduce of the gradients, or their reduce-scatter under ZeRO 1 and where they stay
        whole. Else, from ZeRO 2 on, gradients are reduced in every micro-batch instead."""
        width = GRADIENT_BYTES[self.gradients]
        whole = self._both("all_reduce", width, dense, experts)
        scattered = self._both("reduce_scatter", width, dense, experts)
        zero = self.columns.zero
        return np.where(zero == 0, whole, np.where((zero == 1) | self.whole_gradients, scattered, 0.0))

    def parameter_seconds(self, dense: Column, experts: Column) -> Column:
        """Once a step: all-gather of the updated bf16 weights (ZeRO 1 and 2)."""
        gathered = self._both("all_gather", WEIGHT_BYTES, dense, experts)
        return np.where((self.columns.zero == 1) | (self.columns.zero == 2), gathered, 0.0)

    def microbatch_seconds(self, dense: Column, experts: Column) -> tuple[Column, Column]:
        """Forward and backward traffic of every micro-batch: ZeRO 3 gathers weights in both, ZeRO 2
        and 3 reduce-scatter gradients, unless they stay whole: in bf16, PyTorch in what they are kept in."""
        gathered = np.where(self.columns.zero == 3, self._both("all_gather", WEIGHT_BYTES, dense, experts), 0.0)
        width = GRADIENT_BYTES[self.gradients] if self.software == "pytorch" else WEIGHT_BYTES
        each_time = (self.columns.zero >= 2) & np.logical_not(self.whole_gradients)
        reduced = np.where(each_time, self._both("reduce_scatter", width, dense, experts), 0.0)
        return gathered, gathered + reduced

    def optimizer_seconds(self, dense: Column, experts: Column) -> Column:
        """The update reads and writes each sharded state once: bound by memory bandwidth. The calibrated
        traffic is with fp32 moments; narrower ones save their difference, read and written."""
        sharded = self.columns.zero >= 1
        local = dense / np.where(sharded, self.columns.dense_replicas, 1) + experts / np.where(
            sharded, self.columns.expert_replicas, 1
        )
        calibration, gpu = self.system.calibration, self.system.cluster.gpu
        rate = gpu.memory_bytes_per_second * calibration.memory_fraction
        saved = 4 * (MOMENT_BYTES["fp32"] - MOMENT_BYTES[self.moments])
        return np.asarray((calibration.optimizer_bytes_per_parameter - saved) * local / rate)
