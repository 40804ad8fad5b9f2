"""Tables of published training runs: each row to a question for ``planner.predict``, or a refusal.

Columns may be missing or in any order. What a row does not print is assumed, and each assumption is
recorded in words: a prediction is only as good as they are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from costmodels.architecture import Model
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster
from planner.readers.published.cells import Refusal, details, number, text
from planner.readers.published.clusters import cluster_of, gpu_count, within
from planner.readers.published.configurations import configurations, dense_degrees, expert_degrees
from planner.readers.published.jobs import job_of
from planner.readers.published.layouts import stated_boundaries
from planner.readers.published.models import model_of
from planner.readers.published.refusals import refuse_by_name
from planner.readers.published.table import Cells, TableError, read_table
from planner.specs import SpecError, check_job
from planner.splits import Split

GIB, GB = float(2**30), 1e9
Reading = Literal["allocated", "reserved", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRequest:
    """What to predict. ``choices`` holds one configuration, or those a row may have meant: the
    fastest that fits stands for it. ``boundaries`` of those whose cut the row states (see
    ``costmodels.step.price_step``); the others are cut by ``split``."""

    cluster: Cluster
    model: Model
    job: Job
    choices: tuple[Configuration, ...]
    split: Split
    boundaries: Mapping[Configuration, tuple[int, ...]]
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. ``request`` is None when ``refusal`` says why it cannot be predicted.

    ``memory_unit_bytes`` is the row's unit of memory, ``memory_rank`` whether its figure is the last
    pipeline stage's or the largest of all, ``memory_reading`` whether it is of what the
    framework handed out, of what it reserved for that (fragments included), or of all that the driver counts.
    """

    row_id: str
    source_id: str
    cells: Cells
    request: RowRequest | None
    refusal: str
    measured_seconds: float | None
    measured_memory: float | None
    memory_unit_bytes: float
    memory_rank: Literal["max", "last"]
    memory_reading: Reading

    def without_cells(self) -> "Row":
        """The same question and measured values, to compare rows of two tables."""
        return replace(self, cells={})


def read_rows(path: str | Path, cluster: Cluster | None = None) -> Iterator[Row]:
    """Every row of a table, in order: on nodes of ``cluster`` if one is given, else on those that are
    usual for the row's GPU. Raises ``TableError`` when the file is not a table."""
    table = read_table(Path(path))
    for line, cells in enumerate(table.rows, start=2):
        yield read_row(cells, f"line {line}", Path(path).stem, cluster)


def read_row(cells: Cells, row_id: str, source_id: str = "", cluster: Cluster | None = None) -> Row:
    """One row; ``row_id`` and ``source_id`` stand in where its own cells are blank."""
    request, refusal = None, ""
    try:
        request = _request(cells, cluster)
    except Refusal as reason:
        refusal = str(reason)
    except SpecError as error:
        refusal = str(error).splitlines()[0]
    unit, kind = text(cells, "peak_mem_unit").upper(), text(cells, "peak_mem_kind").lower()
    return Row(
        row_id=text(cells, "row_id") or row_id,
        source_id=text(cells, "source_id") or source_id,
        cells=cells,
        request=request,
        refusal=refusal,
        measured_seconds=_measured_seconds(cells, request),
        measured_memory=_positive(number(cells, "peak_mem_gb")),
        memory_unit_bytes=GIB if unit.startswith(("GIB", "MIB")) else GB,
        memory_rank="last" if "last rank" in kind else "max",
        memory_reading="device" if "nvidia-smi" in kind else "reserved" if "reserved" in kind else "allocated",
    )


def _request(cells: Cells, given: Cluster | None) -> RowRequest:
    extra = details(cells)
    refuse_by_name(cells, extra)
    assumptions: list[str] = []
    job = job_of(cells, extra, assumptions)
    dense = tp, pp, cp = dense_degrees(cells, assumptions)
    model = model_of(cells, job.sequence_length, tp, assumptions)
    experts = expert_degrees(cells, extra, model, tp)
    gpus = gpu_count(cells, tp * pp * cp, experts[0] * experts[1] * pp, assumptions)
    cluster = cluster_of(cells, gpus, assumptions) if given is None else within(given, cells, gpus)
    choices = configurations(cells, extra, model, job, gpus, dense, experts, assumptions)
    check_job(job, cluster, model)
    stated = {choice: stated_boundaries(cells, extra, model, choice) for choice in choices}
    if text(cells, "offload") and not job.offloaded_layers:
        assumptions.append("CPU offload not modelled")
    return RowRequest(
        cluster=cluster,
        model=model,
        job=job,
        choices=choices,
        split=_split(cells, extra),
        boundaries={choice: cut for choice, cut in stated.items() if cut is not None},
        assumptions=tuple(dict.fromkeys(assumptions)),
    )


def _split(cells: Cells, extra: dict[str, object]) -> Split:
    """Frameworks cut layers evenly unless the row says otherwise."""
    stated = f"{text(cells, 'schedule')} {text(cells, 'overlap')}".lower()
    if extra.get("method") == "redis" or "redistributed" in stated:
        return "redistributed"
    return "balanced" if "layout" in stated else "even"


def _measured_seconds(cells: Cells, request: RowRequest | None) -> float | None:
    seconds = _positive(number(cells, "step_time_s"))
    rate = _positive(number(cells, "tokens_per_s_per_gpu"))
    if seconds is None and rate is not None and request is not None:
        return request.job.tokens / (rate * request.cluster.gpus)
    return seconds


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


__all__ = ["Row", "RowRequest", "TableError", "read_row", "read_rows"]
