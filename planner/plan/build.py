"""Assembles a plan from a solved configuration and its price. No choice is made here."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Configuration, Job
from costmodels.flops import model_flops
from costmodels.hardware import Cluster
from costmodels.placement import placement_of, schedule_of, stage_of_chunk
from costmodels.price import StagePrice, StepPrice
from costmodels.sharding import vocabulary_rows as even_rows
from planner.plan.certificate import Certificate, scope
from planner.plan.cluster import ClusterInput
from planner.plan.document import SCHEMA_VERSION, Plan
from planner.plan.experts import ExpertLoadsInput, Experts
from planner.plan.ground import PROOF, PlanGround
from planner.plan.inputs import ModelInput, PlanOptions
from planner.plan.prediction import MfuConvention
from planner.plan.writing import seal
from planner.uncertainty import facets, uncertainty_of


def build_plan(
    cluster: Cluster,
    model: Model,
    job: Job,
    calibration: Calibration,
    configuration: Configuration,
    boundaries: Sequence[int],
    price: StepPrice,
    certificate: Certificate,
    options: PlanOptions | None = None,
    operations: Sequence[str] | None = None,
    vocabulary_rows: Sequence[int] | None = None,
    expert_loads: ExpertLoadsInput | None = None,
    experts: Experts | None = None,
    ground: PlanGround | None = None,
) -> Plan:
    """The sealed plan for ``configuration`` with the chain cut at ``boundaries``.

    ``boundaries`` are pp x vp + 1 indices into the chain (embedding, decoder layers,
    multi-token-prediction layers, head); ``price`` is ``price_step`` of the same arguments. The certificate's scope is
    written from ``options``. ``operations``: of each stage, where ``schedule`` is ``best`` (``planner.plan.order``).
    ``vocabulary_rows`` on each rank of every stage of a vocabulary split over them, None for even shares.
    ``ground``: what its stages stand on where that is not ``cluster``; ``price`` is then of its row ``shown``.
    ``expert_loads`` and the ``experts`` placed by them go together; ``price`` is then of ``experts.loaded(model)``.
    """
    options = options or PlanOptions()
    stages = [
        _stage(
            ground.capacity_bytes(stage) if ground else cluster.capacity_bytes,
            model,
            configuration,
            boundaries,
            stage,
            priced,
            vocabulary_rows[stage] if vocabulary_rows else None,
        )
        for stage, priced in enumerate(price.stages)
    ]
    microbatches = ground.rows[ground.shown].microbatches if ground else configuration.microbatches(job.global_batch)
    peak_flops = ground.mean_peak_flops(job) if ground else cluster.gpu.peak_flops[job.precision]
    document = {
        "schema_version": SCHEMA_VERSION,
        "inputs": {
            "cluster": ClusterInput.of(cluster).model_dump(mode="json"),
            "model": ModelInput.of(model).model_dump(mode="json"),
            "job": asdict(job),
            "options": options.model_dump(mode="json"),
            "calibration": {
                "name": calibration.name,
                "values": {name: figure.value for name, figure in calibration.figures.items()},
            },
            **({"expert_loads": expert_loads.model_dump(mode="json")} if expert_loads is not None else {}),
        },
        "parallelism": {
            **asdict(configuration),
            "edp": configuration.edp,
            "microbatches": microbatches,
            "gpus": configuration.gpus,
        },
        "stages": stages,
        "ranks": _ranks(cluster, configuration),
        **({"ground": ground.model_dump(mode="json")} if ground is not None else {}),
        "schedule": {
            "name": schedule_name(configuration),
            "microbatches": microbatches,
            "chunks_per_stage": configuration.vp,
            "placement": placement_of(configuration),
            **({"operations": list(operations)} if operations is not None else {}),
        },
        **({"experts": experts.model_dump(mode="json")} if experts is not None else {}),
        "prediction": _prediction(cluster, model, job, price, peak_flops),
        "certificate": certificate.model_dump(mode="json")
        | {"scope": scope(options, certificate.cuts, experts is not None, PROOF[ground.kind] if ground else "")},
        "provenance": {
            "tool": "meshwright",
            "version": tool_version(),
            "figures": {name: asdict(figure) for name, figure in calibration.figures.items()},
        },
    }
    return Plan.from_json(seal(document))


def schedule_name(configuration: Configuration) -> str:
    if configuration.vocabulary == "whole" or configuration.schedule == "best":
        return schedule_of(configuration)
    return configuration.vocabulary


def tool_version() -> str:
    try:
        return version("meshwright")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


def _ranks(cluster: Cluster, configuration: Configuration) -> dict[str, Any]:
    return {
        "order": "tp-cp-dp-pp",
        "expert_order": "etp-ep-edp-pp",
        "sizes": {name: getattr(configuration, name) for name in ("tp", "cp", "dp", "pp", "etp", "ep", "edp")},
        "gpus_per_node": cluster.gpus_per_node,
        "nodes": cluster.nodes,
        "world_size": configuration.gpus,
    }


def _stage(
    capacity: float,
    model: Model,
    configuration: Configuration,
    boundaries: Sequence[int],
    stage: int,
    price: StagePrice,
    own_rows: int | None,
) -> dict[str, Any]:
    own = np.flatnonzero(stage_of_chunk(configuration) == stage).tolist()
    chunks = [
        {"chunk": c, **_content(model, boundaries[c], boundaries[c + 1]), **asdict(seconds)}
        for c, seconds in zip(own, price.chunks, strict=True)
    ]
    split = configuration.vocabulary != "whole"
    shares = configuration.pp if split else 1
    rows = own_rows or int(even_rows(model.vocabulary, np.array(configuration.tp), shares))
    memory = {name: value for name, value in asdict(price.memory).items() if name != "in_flight"}
    return {
        "stage": stage,
        "chunks": chunks,
        "vocabulary": {
            "input_rows": rows * (split or any(chunk["embedding"] for chunk in chunks)),
            "output_rows": rows * (split or any(chunk["head"] for chunk in chunks)),
        },
        "parameters_per_rank": {"dense": price.dense_parameters, "experts": price.expert_parameters},
        "recompute": price.recompute,
        "send_seconds": price.send_seconds,
        "busy_seconds": price.busy_seconds,
        "vocabulary_seconds": price.vocabulary_seconds,
        "memory": {
            **memory,
            "peak_bytes": price.memory.peak_bytes,
            "capacity_bytes": capacity,
            "free_bytes": capacity - price.memory.peak_bytes,
            "in_flight": price.memory.in_flight,
        },
    }


def _content(model: Model, first: int, end: int) -> dict[str, Any]:
    """What items [first, end) of the chain are."""
    layers, prediction_layers = len(model.layers), len(model.mtp_layers)

    def span(name: str, offset: int, count: int) -> dict[str, list[int]]:
        low, high = max(first - offset, 0), min(end - offset, count)
        return {name: [low, high]} if low < high else {}

    return {
        "embedding": first == 0,
        **span("layers", 1, layers),
        **span("mtp_layers", 1 + layers, prediction_layers),
        "head": end == layers + prediction_layers + 2,
    }


def _prediction(cluster: Cluster, model: Model, job: Job, price: StepPrice, peak_flops: float) -> dict[str, Any]:
    tokens_per_second = job.tokens / price.step_seconds
    peaks = [stage.memory.peak_bytes for stage in price.stages]
    peak = max(peaks)
    return {
        "kind": "modelled",
        "step_seconds": price.step_seconds,
        "pipeline_seconds": price.pipeline_seconds,
        "gradient_seconds": price.gradient_seconds,
        "optimizer_seconds": price.optimizer_seconds,
        "parameter_seconds": price.parameter_seconds,
        "overhead_seconds": price.overhead_seconds,
        "bubble_fraction": price.bubble_fraction,
        "exposed_seconds": dict(price.exposed_seconds),
        "tokens_per_second": tokens_per_second,
        "tokens_per_second_per_gpu": tokens_per_second / cluster.gpus,
        "model_flops_per_step": model_flops(model, job),
        "mfu": model_flops(model, job) / (price.step_seconds * cluster.gpus * peak_flops),
        "mfu_convention": get_args(MfuConvention)[0],
        "peak_memory_bytes": peak,
        "peak_memory_stage": peaks.index(peak),
        "uncertainty": uncertainty_of(facets(cluster, model, job)).around(price.step_seconds, peak),
    }
