"""What the stages of a configuration stand on, where it is not one machine with one kind of link.

Pipelines of a job that are alike make a row of their own; each of their stages stands on one of the
``machines``, hands its micro-batches on over an edge of its own, and reduces its gradients with the same
stage of all other pipelines over the link of ``states``. A measured cluster has one row for each set of
links between hosts; unlike node groups have one for each way to chain them.
"""

from dataclasses import dataclass, replace

from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster, Link


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRow:
    """``replicas`` alike pipelines, each of ``microbatches`` a step. ``machines`` [pp]: where each stage stands, an
    index into those of the ground. ``edges`` [pp - 1]: one GPU's share of the link from each stage to the next,
    [pp] where chunks are interleaved: the last leads from the last stage back to the first."""

    replicas: int
    microbatches: int
    machines: tuple[int, ...]
    edges: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """``machines``: GPU, NVLink domain, and as ``scale_out`` one GPU's share of the network inside a stage (context
    and expert groups); each counts the nodes of the whole job. ``states`` [pp]: one GPU's share of the links that
    carry a stage's gradients and weights between its replicas."""

    machines: tuple[Cluster, ...]
    states: tuple[Link, ...]
    rows: tuple[PipelineRow, ...]

    def problems(self, configuration: Configuration, job: Job) -> list[str]:
        """Why ``configuration`` cannot stand here; empty where it can."""
        stages, found = configuration.pp, []
        if len(self.states) != stages:
            found.append(f"states: {len(self.states)} links for {stages} stages; one a stage")
        edges = 0 if stages == 1 else stages - 1 if configuration.vp == 1 else stages
        for number, row in enumerate(self.rows):
            if len(row.machines) != stages or not all(0 <= k < len(self.machines) for k in row.machines):
                found.append(f"rows[{number}].machines: {row.machines}: not {stages} of {len(self.machines)} machines")
            if len(row.edges) != edges:
                found.append(f"rows[{number}].edges: {len(row.edges)} for {stages} stages; it needs {edges}")
            if row.replicas < 1 or row.microbatches < 1:
                found.append(
                    f"rows[{number}]: {row.replicas} pipelines of {row.microbatches} micro-batches; at least 1"
                )
        pipelines = sum(row.replicas for row in self.rows)
        if pipelines != configuration.dp:
            found.append(f"rows: {pipelines} pipelines for dp={configuration.dp}")
        sequences = configuration.mbs * sum(row.replicas * row.microbatches for row in self.rows)
        if sequences != job.global_batch:
            found.append(f"rows: {sequences} sequences in all, the global batch has {job.global_batch}")
        if configuration.vocabulary != "whole":
            found.append(f"vocabulary={configuration.vocabulary}: a split vocabulary is priced on equal machines alone")
        if configuration.schedule == "best":
            found.append("schedule=best: an order is made for equal machines alone")
        return found


def even_ground(cluster: Cluster, configuration: Configuration, job: Job) -> Ground:
    """The ground that a cluster of equal nodes and links is."""
    row = PipelineRow(
        replicas=configuration.dp,
        microbatches=configuration.microbatches(job.global_batch),
        machines=(0,) * configuration.pp,
        edges=(cluster.scale_out,) * (configuration.pp if configuration.vp > 1 else configuration.pp - 1),
    )
    return Ground(machines=(cluster,), states=(cluster.scale_out,) * configuration.pp, rows=(row,))


def edge_between(stage: int, other: int, stages: int) -> int:
    """The edge of a row that two stages use: neighbours share one both ways, the last leads back to the first."""
    return min(stage, other) if abs(stage - other) == 1 else stages - 1


def undominated(ground: Ground) -> list[int]:
    """Rows that may be the slowest: all but those that another covers (of several equal ones the first)."""
    return sorted(set(_covering(ground)))


def covered(ground: Ground) -> Ground:
    """The same ground for prices: pipelines of a row that another covers counted with that one, and machines that no
    row stands on any more left out."""
    by_row = _covering(ground)
    replicas = dict.fromkeys(sorted(set(by_row)), 0)
    for row, own in zip(by_row, ground.rows, strict=True):
        replicas[row] += own.replicas
    rows = [replace(ground.rows[row], replicas=count) for row, count in replicas.items()]
    used = sorted({machine for row in rows for machine in row.machines})
    return replace(
        ground,
        machines=tuple(ground.machines[machine] for machine in used),
        rows=tuple(replace(row, machines=tuple(used.index(k) for k in row.machines)) for row in rows),
    )


def _covering(ground: Ground) -> list[int]:
    """The row that covers each: itself, or one that no row covers with as many micro-batches, and no machine's links
    nor edge faster."""
    rows, kept = ground.rows, list[int]()
    found = list(range(len(rows)))
    for i in sorted(found, key=lambda i: (-rows[i].microbatches, _slowness(ground, rows[i]), i)):
        found[i] = next((j for j in kept if _covers(ground, rows[j], rows[i])), i)
        if found[i] == i:
            kept.append(i)
    return found


def _slowness(ground: Ground, row: PipelineRow) -> float:
    links = [*row.edges, *(ground.machines[machine].scale_out for machine in row.machines)]
    return -sum(link.latency_seconds + 1.0 / link.bytes_per_second for link in links)


def _covers(ground: Ground, slower: PipelineRow, row: PipelineRow) -> bool:
    machines = ground.machines
    return (
        slower.microbatches >= row.microbatches
        and all(_no_faster(a, b) for a, b in zip(slower.edges, row.edges, strict=True))
        and all(
            a == b
            or (
                replace(machines[a], scale_out=machines[b].scale_out) == machines[b]
                and _no_faster(machines[a].scale_out, machines[b].scale_out)
            )
            for a, b in zip(slower.machines, row.machines, strict=True)
        )
    )


def _no_faster(link: Link, other: Link) -> bool:
    return link.bytes_per_second <= other.bytes_per_second and link.latency_seconds >= other.latency_seconds
