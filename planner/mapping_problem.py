"""From a ``plan map`` file to the problem that is solved: names resolved, figures in bytes and seconds, all errors at
once."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.readers.bandwidth_csv import read_bandwidth_csv
from planner.specs.document import Document, Place, read_document, spelled
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.mapping import GIGABYTE, BlocksSpec, MappingSpec, Table, figure
from planner.specs.names import meant
from planner.specs.quantity import BANDWIDTH, LATENCY, Dimension
from planner.specs.strict import parse_spec
from solvers.mapping.problem import Blocks, GridProblem, SharedLink, training_grid

MOST_BYTES = 64 * 2**20
MOST_CELLS = 20
"""Wrong figures of a table that are named, one by one."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """``members`` are positions in gpus; ``bytes_per_second`` in each direction."""

    members: tuple[int, ...]
    bytes_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappingProblem:
    """The file in positions, bytes and seconds. ``bandwidth``, ``latency`` [gpus, gpus]; ``fixed`` from (pipeline,
    stage) to a position in ``gpus``."""

    name: str
    objective: Literal["step", "pipette"]
    gpus: tuple[str, ...]
    bandwidth: Floats
    latency: Floats | None
    pipelines: int
    pipeline_stages: int
    pipeline_bytes: float
    data_parallel_bytes: float
    microbatches: int
    shared: tuple[Shared, ...]
    fixed: Mapping[tuple[int, int], int]
    excluded: frozenset[int]
    blocks: BlocksSpec | None
    notes: tuple[str, ...]

    def grid(self) -> GridProblem:
        """The same for the solver: rows are pipelines, columns stages."""
        given = self.blocks
        blocks = given and Blocks(
            size=given.size, kind=given.kind, bytes_per_column=(given.bytes,) * self.pipeline_stages
        )
        return training_grid(
            self.objective,
            bandwidth=self.bandwidth,
            stages=self.pipeline_stages,
            rows=self.pipelines,
            pipeline_bytes=self.pipeline_bytes,
            data_parallel_bytes=self.data_parallel_bytes,
            microbatches=self.microbatches,
            latency=self.latency,
            shared=tuple(SharedLink(members=one.members, bytes_per_second=one.bytes_per_second) for one in self.shared),
            fixed=self.fixed,
            excluded=self.excluded,
            blocks=blocks,
        )


def load_mapping(source: str | Path | Mapping[str, object]) -> MappingProblem:
    """The problem in a YAML or JSON file of ``MappingSpec``'s keys, or in a mapping; a CSV file stands relative to it.

    Raises ``SpecError`` with every problem found.
    """
    if isinstance(source, Mapping):
        document = Document(file="mapping", data=dict(source))
    else:
        document = read_document(source, MOST_BYTES)
    return _Resolution(document=document, spec=parse_spec(MappingSpec, document)).problem()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolution:
    document: Document
    spec: MappingSpec
    problems: list[Problem] = field(default_factory=list)

    def problem(self) -> MappingProblem:
        spec = self.spec
        for name, times in Counter(spec.gpus).items():
            if times > 1:
                self._wrong(("gpus",), f"is named {times} times: give every host a name of its own", name)
        bandwidth = self._bandwidth()
        latency = self._latency()
        shared = tuple(
            Shared(
                members=self._positions(("shared", k, "members"), one.members),
                bytes_per_second=one.bandwidth,
            )
            for k, one in enumerate(spec.shared)
        )
        excluded = frozenset(self._positions(("excluded",), spec.excluded))
        pipelines = self._pipelines(len(spec.gpus) - len(excluded))
        fixed = self._fixed(pipelines, excluded)
        if spec.blocks is not None and pipelines % spec.blocks.size:
            message = f"does not divide {pipelines} pipelines: choose a divisor"
            self._wrong(("blocks", "size"), message, spec.blocks.size)
        if self.problems:
            raise SpecError(sorted(self.problems, key=lambda problem: problem.line or 0))
        assert bandwidth is not None
        return MappingProblem(
            name=spec.name or Path(self.document.file).stem,
            objective=spec.objective,
            gpus=tuple(spec.gpus),
            bandwidth=bandwidth,
            latency=latency,
            pipelines=pipelines,
            pipeline_stages=spec.pipeline_stages,
            pipeline_bytes=spec.pipeline_bytes,
            data_parallel_bytes=spec.data_parallel_bytes,
            microbatches=spec.microbatches,
            shared=shared,
            fixed=fixed,
            excluded=excluded,
            blocks=spec.blocks,
            notes=tuple(_asymmetric(bandwidth)),
        )

    def _bandwidth(self) -> Floats | None:
        given, count = self.spec.bandwidth, len(self.spec.gpus)
        if not isinstance(given, str):
            return self._table(("bandwidth",), given, BANDWIDTH, GIGABYTE, zero=False)
        try:
            table = read_bandwidth_csv(Path(self.document.file).parent / given)
        except SpecError as error:
            self.problems.extend(error.problems)
            return None
        if len(table) != count:
            self._wrong(("bandwidth",), f"has {len(table)} rows for {count} gpus: one for each", given)
            return None
        return table

    def _latency(self) -> Floats | None:
        given, count = self.spec.latency_seconds, len(self.spec.gpus)
        if given is None:
            return None
        if isinstance(given, float):
            return np.full((count, count), given)
        assert isinstance(given, tuple)
        return self._table(("latency_seconds",), given, LATENCY, 1.0, zero=True)

    def _table(self, place: Place, rows: Table, dimension: Dimension, plain: float, *, zero: bool) -> Floats | None:
        """Square, one row for each of gpus; the diagonal is not read and becomes infinite."""
        count, before = len(self.spec.gpus), len(self.problems)
        if len(rows) != count:
            self._wrong(place, f"has {len(rows)} rows for {count} gpus: one for each")
        table = np.full((count, count), np.inf)
        for i, row in enumerate(rows):
            assert isinstance(row, tuple)
            if len(row) != count:
                self._wrong((*place, i), f"has {len(row)} figures for {count} gpus: one for each")
                continue
            for j, value in enumerate(row):
                if i == j or i >= count:
                    continue
                try:
                    table[i, j] = figure(value, dimension, plain, zero=zero)
                except ValueError as error:
                    self._wrong((*place, i, j), str(error), value)
            if len(self.problems) - before >= MOST_CELLS:
                break
        return table if len(self.problems) == before else None

    def _positions(self, place: Place, names: Iterable[str]) -> tuple[int, ...]:
        position = {name: k for k, name in enumerate(self.spec.gpus)}
        found: list[int] = []
        for name in names:
            if name not in position:
                self._wrong(place, f"is none of gpus{meant(name, position)}", name)
            elif position[name] in found:
                self._wrong(place, "is named twice", name)
            else:
                found.append(position[name])
        return tuple(found)

    def _pipelines(self, usable: int) -> int:
        spec = self.spec
        stages = spec.pipeline_stages
        if spec.pipelines is not None:
            if spec.pipelines * stages > usable:
                message = f"of {stages} stages need {spec.pipelines * stages} hosts, there are {usable}"
                self._wrong(("pipelines",), f"{message}: at most {usable // stages}", spec.pipelines)
            return spec.pipelines
        if usable % stages or usable < stages:
            message = f"does not divide {usable} hosts: choose a divisor, or give pipelines and leave hosts spare"
            self._wrong(("pipeline_stages",), message, stages)
        return max(1, usable // stages)

    def _fixed(self, pipelines: int, excluded: frozenset[int]) -> dict[tuple[int, int], int]:
        position = {name: k for k, name in enumerate(self.spec.gpus)}
        found: dict[tuple[int, int], int] = {}
        for (r, c), name in self.spec.fixed.items():
            place: Place = ("fixed", f"{r},{c}")
            if r >= pipelines or c >= self.spec.pipeline_stages:
                message = f"there is no such place: {pipelines} pipelines of {self.spec.pipeline_stages} stages, from 0"
                self._wrong(place, message, name)
            elif name not in position:
                self._wrong(place, f"is none of gpus{meant(name, position)}", name)
            elif position[name] in excluded:
                self._wrong(place, "is excluded as well: drop one of the two", name)
            elif position[name] in found.values():
                self._wrong(place, "has another place already", name)
            else:
                found[r, c] = position[name]
        return found

    def _wrong(self, place: Place, message: str, value: object = None) -> None:
        self.problems.append(
            Problem(
                file=self.document.file,
                key=spelled(place),
                value="" if value is None else shown(value),
                message=message,
                line=self.document.line(place),
            )
        )


def _asymmetric(bandwidth: Floats) -> Iterable[str]:
    unlike = int(np.triu(bandwidth != bandwidth.T, 1).sum())
    if unlike:
        count = len(bandwidth)
        yield f"bandwidth: {unlike} of {count * (count - 1) // 2} pairs differ by direction; the worse one counts"
