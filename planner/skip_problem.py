"""From a ``plan skip`` file to the problem that is solved: every figure spelled out, all errors at once."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import cases
from costmodels.hardware import Cluster
from planner.outlier_links import TIMES, Outlier, outlier_links
from planner.readers.bandwidth_csv import read_bandwidth_csv
from planner.readers.latency_bandwidth_csv import Network, read_latency_matrix, read_pairs
from planner.readers.skip_instance import PublishedSchedule, published_schedule
from planner.specs.document import Document, Place, read_document, spelled
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.machines import load_cluster
from planner.specs.names import meant
from planner.specs.pipeline import Figures
from planner.specs.skip import MOST_NODES, SkipSpec
from planner.specs.strict import parse_spec
from solvers.skip.problem import PROFILES, Rules, SkipProblem, SwapRules

SKIPPIPE, FORCED_ENDS = "skippipe", "forced-ends"
LOSS_OVER_FWD = {SKIPPIPE: 0.25, FORCED_ENDS: 0.0}
NO_LIMIT = 2**31
"""Of micro-batches in flight, where a file has no memory_per_node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipRequest:
    """What is solved, and what the report says beside it.

    ``stage_of_node`` is the arrangement that the file gives, to keep or to start from; the problem's own is None
    where it is searched. ``names`` are the nodes' regions (or numbers), ``regional`` whether they are names.
    """

    name: str
    profile: str
    names: tuple[str, ...]
    regional: bool
    problem: SkipProblem
    stage_of_node: tuple[int, ...] | None
    published: PublishedSchedule | None = None
    outliers: tuple[Outlier, ...] = ()
    notes: tuple[str, ...] = ()
    waves_alike: bool = False
    """Every wave takes the paths of the first, first in, first out."""

    @property
    def skip_ratio(self) -> float:
        return 1 - self.problem.path_length / self.problem.stages

    def with_path_length(self, path_length: int) -> "SkipRequest":
        """The same with K stages a micro-batch; a cap on the visits of a wave that so many exceed is left out.

        Raises ``ValueError`` where that cannot be.
        """
        other = replace(self, problem=replace(self.problem, path_length=path_length))
        if not any(other.too_many_visits()):
            return other
        free = replace(other.problem, rules=replace(other.problem.rules, visits_per_wave=False))
        note = f"with {path_length} stages a micro-batch, visits of a wave are not limited: the balance asks for more"
        return replace(other, problem=free, notes=(*self.notes, note))

    def too_many_visits(self) -> Iterator[str]:
        """Stages that every set of paths visits more often in a wave than the memory of their nodes counts."""
        problem = self.problem
        if not problem.rules.visits_per_wave:
            return
        for stage in range(1, problem.stages):
            caps = sorted(problem.memory_cap, reverse=True)[: problem.group_sizes[stage]]
            if problem.stage_of_node is not None:
                caps = [cap for cap, own in zip(problem.memory_cap, problem.stage_of_node, strict=True) if own == stage]
            least = problem.stage_load(stage)[0]
            if least > sum(caps):
                yield (
                    f"memory_per_node: stage {stage} is visited {least} times in a wave, its nodes may be "
                    f"{sum(caps)} times: {least - sum(caps)} short; memory_rule: in-flight limits what is there at any "
                    "instant instead, or skip more"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipChoices:
    """What the command line says before the file; None: the file's own."""

    micro_batches: int | None = None
    path_length: int | None = None
    profile: str | None = None
    keep_arrangement: bool | None = None
    any_path_length: bool = False
    """Whether a file without a path length is complete: it then stands for the full pipeline."""


def load_skip(source: str | Path | Mapping[str, object], choices: SkipChoices | None = None) -> SkipRequest:
    """The skip schedule asked for in a YAML or JSON file of ``SkipSpec``'s keys, or in a mapping.

    Files named in it are relative to it. Raises ``SpecError`` with every problem found.
    """
    if isinstance(source, Mapping):
        document, folder = Document(file="skip", data=dict(source)), Path()
    else:
        document, folder = read_document(source), Path(source).parent
    spec = parse_spec(SkipSpec, document)
    return _Resolution(document=document, folder=folder, spec=spec, choices=choices or SkipChoices()).request()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolution:
    document: Document
    folder: Path
    spec: SkipSpec
    choices: SkipChoices
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def request(self) -> SkipRequest:
        spec = self.spec
        profile = self.choices.profile or spec.profile or SKIPPIPE
        machine = self._cluster()
        links = self._links(machine)
        nodes = len(links)
        if not nodes:
            raise SpecError(self.problems)
        sizes = self._sizes(nodes)
        forward = self._spread("fwd_time_s", spec.fwd_time_s, nodes)
        backward, loss = self._passes(forward, profile, nodes)
        memory = self._memory(machine, nodes)
        path_length = self._path_length(len(sizes), profile)
        micro_batches, waves = self._micro_batches(sizes)
        given = self._arrangement(sizes, nodes)
        kept = self._kept(sizes, profile, given)
        rules = self._rules(profile)
        self._check_stage_cap(sizes, micro_batches, waves, path_length, profile)
        published = self._published(nodes)
        self._check()
        try:
            problem = SkipProblem(
                forward_seconds=forward,
                backward_seconds=backward,
                loss_seconds=loss if any(loss) else (),
                link_seconds=tuple(map(tuple, links)),
                memory_cap=memory,
                group_sizes=sizes,
                microbatches=micro_batches,
                path_length=path_length,
                waves=waves,
                stage_of_node=kept,
                copy_link_factor=spec.copy_link_factor,
                copy_link_limit_seconds=math.inf if spec.copy_link_limit_s is None else spec.copy_link_limit_s,
                rules=rules,
            )
        except ValueError as error:
            for message in str(error).split("; "):
                self._say((), message)
        self._check()
        name = spec.name or Path(self.document.file).stem
        return SkipRequest(
            name=name,
            profile=profile,
            names=tuple(spec.nodes) if spec.nodes else tuple(map(str, range(nodes))),
            regional=spec.nodes is not None,
            problem=problem,
            stage_of_node=kept if kept is not None else given,
            published=published,
            outliers=tuple(outlier_links(problem.link_seconds)),
            notes=tuple(self.notes),
            waves_alike=spec.waves_alike and waves > 1,
        )

    # links

    def _cluster(self) -> Cluster | None:
        if self.spec.cluster is None:
            return None
        path = self.folder / self.spec.cluster
        try:
            return load_cluster(path if path.exists() else self.spec.cluster)
        except SpecError as error:
            self.problems.extend(error.problems)
            return None

    def _links(self, machine: Cluster | None) -> list[list[float]]:
        """Seconds of a message, [nodes][nodes]; empty where they cannot be known."""
        spec = self.spec
        given = [key for key in ("link_time_s", "network") if getattr(spec, key) is not None]
        if len(given) > 1:
            self._say(("network",), "beside link_time_s: give one of the two")
            return []
        if spec.link_time_s is not None:
            return self._square(spec.link_time_s)
        if not given and spec.cluster is None:
            self._say(("link_time_s",), "missing: seconds of a message; or give network, or cluster")
            return []
        if spec.msg_bytes is None:
            self._say(("msg_bytes",), "missing: bytes of a message; the links are given by latency and bandwidth")
            return []
        network = self._network() if given else self._of_cluster(machine)
        if network is None:
            return []
        seconds = network.latency_seconds + spec.msg_bytes / network.bytes_per_second + spec.fixed_overhead_s
        np.fill_diagonal(seconds, 0.0)
        rows: list[list[float]] = seconds.tolist()
        return rows

    def _square(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        size, before = len(rows), len(self.problems)
        if size > MOST_NODES:
            self._say(("link_time_s",), f"{size} nodes: at most {MOST_NODES} can be planned")
        for i, row in enumerate(rows):
            if len(row) != size:
                message = f"has {len(row)} values, but there are {size} rows: the table must be square"
                self._say(("link_time_s", i), message)
                continue
            for j, seconds in enumerate(row):
                if seconds < 0:
                    message = "must be at least 0 seconds; null where there is no link"
                    self._say(("link_time_s", i, j), message, seconds)
                elif i == j and seconds != 0:
                    self._say(("link_time_s", i, j), "from a node to itself must be 0", seconds)
        return [list(row) for row in rows] if len(self.problems) == before else []

    def _network(self) -> Network | None:
        given = self.spec.network
        try:
            if isinstance(given, dict):
                return self._tables(given)
            assert given is not None
            return self._of_regions(read_pairs(self._table_path(given)))
        except SpecError as error:
            self.problems.extend(error.problems)
            return None

    def _table_path(self, given: str) -> Path:
        path = self.folder / given
        if given in cases.region_tables():
            return cases.region_table_path(given)
        if not path.exists() and "." not in given and "/" not in given:
            known = cases.region_tables()
            message = f"is neither a file nor a bundled table{meant(given, known)}"
            raise SpecError([self._problem(("network",), message, given)])
        return path

    def _of_regions(self, table: Network) -> Network | None:
        """The table's places for the nodes; nodes of one region are joined by ``same_region``."""
        spec = self.spec
        names = spec.nodes if spec.nodes is not None else list(table.names)
        before = len(self.problems)
        for i, name in enumerate(names):
            if name not in table.names:
                self._say(("nodes", i), f"is not in the table{meant(name, table.names)}", name)
        if len(self.problems) > before:
            return None
        at = [table.names.index(name) for name in names]
        latency = table.latency_seconds[np.ix_(at, at)]
        rate = table.bytes_per_second[np.ix_(at, at)]
        alike = np.equal.outer(at, at)
        latency = np.where(alike, spec.same_region.latency, latency)
        rate = np.where(alike, spec.same_region.bandwidth, rate)
        return Network(names=tuple(names), latency_seconds=latency, bytes_per_second=rate)

    def _tables(self, given: Mapping[str, str]) -> Network | None:
        names, latency = read_latency_matrix(self.folder / given["latency_csv"])
        rate = read_bandwidth_csv(self.folder / given["bandwidth_csv"])
        if len(rate) != len(latency):
            message = f"latency_csv has {len(latency)} nodes, bandwidth_csv {len(rate)}: they must be the same"
            self._say(("network",), message)
            return None
        return Network(names=names, latency_seconds=latency, bytes_per_second=rate)

    def _of_cluster(self, machine: Cluster | None) -> Network | None:
        """Every two nodes alone, as the cluster's topology joins them or as was measured between them."""
        if machine is None:
            return None
        size = machine.nodes
        if not 2 <= size <= MOST_NODES:
            self._say(("cluster",), f"has {size} nodes: 2 to {MOST_NODES} can hold stages")
            return None
        fabric = machine.fabric()
        if fabric.attained is not None:
            self.notes.append("links between nodes as measured in the cluster's bandwidth_csv")
        return Network(
            names=fabric.names,
            latency_seconds=fabric.pair_latency(),
            bytes_per_second=fabric.pair_bandwidth(),
        )

    # stages and nodes

    def _sizes(self, nodes: int) -> tuple[int, ...]:
        spec = self.spec
        if spec.nodes is not None and len(spec.nodes) != nodes:
            self._say(("nodes",), f"names {len(spec.nodes)} nodes, the links join {nodes}: they must be the same")
        sizes = spec.group_sizes
        if sizes is None:
            if spec.stages is not None and spec.stages != nodes:
                message = f"{nodes} nodes in {spec.stages} stages: give the nodes of each stage"
                self._say(("group_sizes",), message)
            return (1,) * nodes
        for stage, size in enumerate(sizes):
            if size < 1:
                self._say(("group_sizes", stage), "a stage needs a node at least", size)
        if sum(sizes) != nodes:
            self._say(("group_sizes",), f"add up to {sum(sizes)} nodes, the links join {nodes}", sizes)
        if spec.stages is not None and spec.stages != len(sizes):
            self._say(("stages",), f"group_sizes has {len(sizes)}", spec.stages)
        return tuple(sizes)

    def _passes(
        self, forward: tuple[float, ...], profile: str, nodes: int
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        spec = self.spec
        if spec.bwd_time_s is not None:
            backward = self._spread("bwd_time_s", spec.bwd_time_s, nodes)
        else:
            backward = tuple(spec.bwd_over_fwd * one for one in forward)
        ratio = LOSS_OVER_FWD[profile] if spec.loss_over_fwd is None else spec.loss_over_fwd
        if profile == FORCED_ENDS and ratio:
            message = "with forced ends the last stage computes the loss in its own passes: leave it out, or 0"
            if self.choices.profile is None:
                self._say(("loss_over_fwd",), message, ratio)
            else:
                self.notes.append("loss_over_fwd is not used: with forced ends the last stage computes the loss")
                ratio = 0.0
        return backward, tuple(ratio * one for one in forward)

    def _memory(self, machine: Cluster | None, nodes: int) -> tuple[int, ...]:
        spec = self.spec
        if spec.memory_per_node is not None:
            found = spec.memory_per_node
            if not isinstance(found, tuple):
                return (found,) * nodes
            if len(found) != nodes:
                message = f"has {len(found)} figures for {nodes} nodes: give one for all, or {nodes}"
                self._say(("memory_per_node",), message, list(found))
            return found
        if machine is not None and spec.activation_bytes is not None:
            free = machine.gpu.memory_bytes - machine.reserve_bytes
            count = int(free * machine.gpus_per_node // spec.activation_bytes)
            if count < 1:
                message = f"is more than a node's {free * machine.gpus_per_node:.4g} bytes hold"
                self._say(("activation_bytes",), message, spec.activation_bytes)
            self.notes.append(f"a node's memory holds {count} micro-batches in flight; weights are not counted")
            return (count,) * nodes
        return (NO_LIMIT,) * nodes

    def _path_length(self, stages: int, profile: str) -> int:
        spec = self.spec
        given = {
            key: getattr(spec, key)
            for key in ("path_length", "path_length_incl_stage0", "skip_ratio")
            if getattr(spec, key) is not None
        }
        asked = self.choices.path_length
        if asked is not None:
            key, length = "path_length", asked
        elif not given:
            if self.choices.any_path_length:
                return stages
            message = "missing: stages that a micro-batch runs; --path-length K, or a key of the file"
            self._say(("path_length",), message)
            return stages
        elif len(given) > 1:
            self._say((next(iter(given)),), f"beside {', '.join(list(given)[1:])}: give one of them")
            return stages
        else:
            ((key, value),) = given.items()
            length = path_length_of(value, stages, profile) if key == "skip_ratio" else int(value)
        least = 2 if profile == FORCED_ENDS else 1
        if not least <= length <= stages:
            ends = "the first and the last stage always run" if profile == FORCED_ENDS else "stage 0 always runs"
            self._say((key,), f"must be from {least} to {stages}, the stages there are; {ends}", length)
            return stages
        return length

    def _micro_batches(self, sizes: tuple[int, ...]) -> tuple[int, int]:
        """In all, and of how many waves."""
        spec = self.spec
        per_node, waves = spec.micro_batches_per_stage0_node_per_wave, spec.waves
        if self.choices.micro_batches is not None:
            count = self.choices.micro_batches
            if count % waves and "waves" in self.document.data:
                self.notes.append(f"{count} micro-batches are not {waves} equal waves: planned as one")
            return count, waves if count % waves == 0 else 1
        if spec.micro_batches is not None and per_node is not None:
            self._say(("micro_batches",), "beside micro_batches_per_stage0_node_per_wave: give one of the two")
        if spec.micro_batches is None and per_node is None:
            self._say(("micro_batches",), "missing: --micro-batches M, or a key of the file")
            return waves, waves
        if per_node is not None:
            return per_node * (sizes[0] if sizes else 1) * waves, waves
        assert spec.micro_batches is not None
        if spec.micro_batches % waves:
            self._say(("micro_batches",), f"must be a multiple of the {waves} waves", spec.micro_batches)
        return spec.micro_batches, waves

    def _arrangement(self, sizes: tuple[int, ...], nodes: int) -> tuple[int, ...] | None:
        """The stage of each node, from partitions or SkipPipe's shipped ones; None: not given, or wrong."""
        spec = self.spec
        key = "partitions" if spec.partitions is not None else "partitions_shipped"
        partitions = getattr(spec, key)
        if partitions is None:
            return None
        before = len(self.problems)
        if len(partitions) != len(sizes):
            self._say((key,), f"has {len(partitions)} stages, group_sizes {len(sizes)}")
        stage_of_node: dict[int, int] = {}
        for stage, held in enumerate(partitions):
            if stage < len(sizes) and len(held) != sizes[stage]:
                self._say((key, stage), f"holds {len(held)} nodes, group_sizes says {sizes[stage]}", held)
            for node in held:
                if node >= nodes:
                    self._say((key, stage), f"names node {node}; there are nodes 0 to {nodes - 1}", held)
                elif node in stage_of_node:
                    self._say((key, stage), f"node {node} also holds stage {stage_of_node[node]}", held)
                stage_of_node[node] = stage
        if len(self.problems) > before:
            return None
        return tuple(stage_of_node[node] for node in range(nodes))

    def _kept(self, sizes: tuple[int, ...], profile: str, given: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """The arrangement that is not searched."""
        asked, chosen = self.choices.keep_arrangement, self.spec.arrangement
        chain = len(set(sizes)) == 1 and sizes[0] == 1
        in_order = tuple(range(len(sizes))) if chain else None
        keep = chosen == "keep" if chosen else chain and profile == FORCED_ENDS
        keep = keep if asked is None else asked
        if not keep:
            return None
        if given is None and in_order is None:
            message = "missing: there is no arrangement to keep; give the nodes of each stage"
            self._say(("partitions",), message)
        return given if given is not None else in_order

    def _rules(self, profile: str) -> Rules:
        spec, base = self.spec, PROFILES[profile]
        visits = base.visits_per_wave if spec.memory_rule is None else spec.memory_rule == "visits-per-wave"
        if self.choices.profile is not None and self.choices.profile != (spec.profile or SKIPPIPE):
            swaps = base.swaps  # the file's were written for the other profile
        elif spec.swap_rules is not None:
            given = spec.swap_rules
            swaps = SwapRules(
                count=given.count_swaps_max,
                furthest=given.furthest_swap_max,
                total_distance=given.sum_swap_distance_max,
                forward_jump=given.max_forward_jump_from_frontier,
            )
        else:
            swaps = base.swaps
        return replace(
            base, swaps=swaps, visits_per_wave=visits, serial_links=spec.serial_links, balanced_stages=spec.balanced
        )

    def _check_stage_cap(
        self, sizes: tuple[int, ...], micro_batches: int, waves: int, path_length: int, profile: str
    ) -> None:
        """A cap on visits of a stage that the balance alone exceeds; where it does not, the balance implies it."""
        cap, forced = self.spec.stage_cap_per_wave, 2 if profile == FORCED_ENDS else 1
        free = len(sizes) - forced
        if cap is None or free < 1 or self.choices.path_length or self.choices.micro_batches:
            return
        least = -(-micro_batches // waves * (path_length - forced) // free)
        if least > cap:
            message = f"{micro_batches // waves} micro-batches of {path_length} stages visit every stage {least} times"
            self._say(("stage_cap_per_wave",), message, cap)

    def _published(self, nodes: int) -> PublishedSchedule | None:
        if self.spec.published_schedule is None:
            return None
        try:
            return published_schedule(
                self.spec.published_schedule, self.spec.partitions_shipped or self.spec.partitions, nodes
            )
        except ValueError as error:
            self._say(("published_schedule",), str(error))
            return None

    # reporting

    def _spread(self, key: str, value: Figures, nodes: int) -> tuple[float, ...]:
        if not isinstance(value, tuple):
            return (value,) * nodes
        if len(value) != nodes:
            message = f"has {len(value)} figures for {nodes} nodes: give one for all, or {nodes}"
            self._say((key,), message, list(value))
            return (value + (0.0,) * nodes)[:nodes]
        return value

    def _problem(self, place: Place, message: str, value: object = None) -> Problem:
        return Problem(
            file=self.document.file,
            key=spelled(place),
            value="" if value is None else shown(value),
            message=message,
            line=self.document.line(place),
        )

    def _say(self, place: Place, message: str, value: object = None) -> None:
        self.problems.append(self._problem(place, message, value))

    def _check(self) -> None:
        if self.problems:
            raise SpecError(sorted(self.problems, key=lambda problem: problem.line or 0))


def path_length_of(skip_ratio: float, stages: int, profile: str) -> int:
    """Stages left of ``stages`` when about ``skip_ratio`` of them are skipped; the forced ones stay."""
    least = 2 if profile == FORCED_ENDS else 1
    return max(least, min(stages, round(stages * (1 - skip_ratio))))


def describe_outliers(outliers: Sequence[Outlier], names: Sequence[str]) -> list[str]:
    """One line for a person about each two places; nodes of one region share it."""
    between: dict[frozenset[str], list[Outlier]] = {}
    for one in outliers:
        between.setdefault(frozenset((names[one.sender], names[one.receiver])), []).append(one)
    lines = []
    for found in between.values():
        first = max(found, key=lambda one: one.seconds)
        pairs = ", ".join(f"{one.sender} to {one.receiver}" for one in found[:4]) + (", ..." if found[4:] else "")
        lines.append(
            f"link {names[first.sender]} - {names[first.receiver]} (nodes {pairs}) takes {first.seconds:.4g} s a "
            f"message, over {TIMES:g} times the {first.relayed_seconds:.4g} s of a relay over another: is it right?"
        )
    return lines
