"""A pipeline whose micro-batches run only some of its stages: who may run what, how long it takes, and what is kept.

Nodes are arranged in stages 0 ... P - 1, ``group_sizes[s]`` of them in stage s (copies). Each micro-batch takes a
path of K nodes, one each of K different stages: forward (F) along the path, backward (B) along it in reverse. With
``ends`` "first" (SkipPipe, arXiv 2502.19913) the path starts on a node of stage 0, and the last node's result
returns to that node, which computes the loss (L) and sends its gradient to the last node. With ``ends`` "both" the
path also ends on stage P - 1, which computes the loss with its own forward and backward pass.

1. A node runs one operation at a time.
2. An operation starts no sooner than its predecessor's end plus ``link_seconds`` between their nodes. With
   ``serial_links`` a node sends one message at a time, in the order of its operations.
3. A node keeps a micro-batch from the start of its F to the end of its B, at most ``memory_cap`` at any instant;
   with ``visits_per_wave`` no more micro-batches of one wave visit a node at all (nodes of stage 0 excepted).
4. The micro-batches come in ``waves`` of equal size. In each, with ``balanced_stages``, every stage that may be
   skipped serves as many micro-batches as every other, and with ``balanced_starts`` every node of stage 0 starts as
   many (floor or ceiling, where the numbers do not divide).
5. Along a path the frontier is the furthest stage so far. A step behind it is a swap over their distance, limited by
   ``SwapRules``, as is the jump of a step ahead of it.
6. Copies of a stage exchange their gradients over the slowest link among them: at most
   ``copy_link_limit_seconds``; ``copy_link_factor`` times the slowest of all stages is added to the makespan.

The makespan is the end of the last operation; every first operation may start at 0.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, TypeAlias

Ends = Literal["first", "both"]
Path: TypeAlias = tuple[int, ...]
"""The nodes of one micro-batch in the order of its forward pass."""


class Kind(IntEnum):
    """Forward pass, loss on the first node, backward pass."""

    F = 0
    L = 1
    B = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapRules:
    """Limits along one path; 0 swaps are stages in increasing order."""

    count: int = 2
    furthest: int = 1
    """Of one swap, in stages."""
    total_distance: int = 2
    """Of all swaps together, in stages."""
    forward_jump: int | None = 4
    """Of a step ahead of the frontier, in stages; None: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The switches of the module's rules; the defaults are SkipPipe's."""

    ends: Ends = "first"
    swaps: SwapRules = field(default_factory=SwapRules)
    balanced_stages: bool = True
    balanced_starts: bool = True
    visits_per_wave: bool = True
    serial_links: bool = False


SKIPPIPE = Rules()
FORCED_ENDS = Rules(
    ends="both",
    swaps=SwapRules(count=0, furthest=0, total_distance=0, forward_jump=None),
    visits_per_wave=False,
)
PROFILES = {"skippipe": SKIPPIPE, "forced-ends": FORCED_ENDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipProblem:
    """``forward_seconds``, ``backward_seconds``, ``loss_seconds`` and ``memory_cap`` (micro-batches) are [nodes],
    ``link_seconds`` [nodes][nodes] of one message from row to column (inf: no link; 0 on the diagonal),
    ``group_sizes`` [stages]. ``path_length`` counts every stage of a path, the first and the last too.
    ``microbatches`` counts all waves. ``stage_of_node`` [nodes] fixes the arrangement; None leaves it free.

    Raises ``ValueError`` with every figure that is missing, negative or undefined, a stage without nodes, a node
    without any link, and a path length that the stages or the forced ends do not allow. A cap or links too small
    for any set of paths are no error but a problem without a schedule.
    """

    forward_seconds: tuple[float, ...]
    backward_seconds: tuple[float, ...]
    loss_seconds: tuple[float, ...] = ()
    """Only with ``ends`` first; empty: 0."""
    link_seconds: tuple[tuple[float, ...], ...]
    memory_cap: tuple[int, ...]
    group_sizes: tuple[int, ...]
    microbatches: int
    path_length: int
    waves: int = 1
    stage_of_node: tuple[int, ...] | None = None
    copy_link_factor: float = 0.0
    copy_link_limit_seconds: float = math.inf
    rules: Rules = SKIPPIPE

    @property
    def nodes(self) -> int:
        return len(self.forward_seconds)

    @property
    def stages(self) -> int:
        return len(self.group_sizes)

    @property
    def loss(self) -> tuple[float, ...]:
        """``loss_seconds`` [nodes], 0 where none are given."""
        return self.loss_seconds or (0.0,) * self.nodes

    @property
    def wave_size(self) -> int:
        """Micro-batches of one wave; micro-batch k belongs to wave k // ``wave_size``."""
        return self.microbatches // self.waves

    @property
    def operations_per_microbatch(self) -> int:
        return 2 * self.path_length + (self.rules.ends == "first")

    @property
    def forced_stages(self) -> frozenset[int]:
        """Stages on every path."""
        return frozenset((0,)) if self.rules.ends == "first" else frozenset((0, self.stages - 1))

    def stage_load(self, stage: int) -> tuple[int, int]:
        """Least and most micro-batches of one wave that ``stage`` may serve."""
        if stage in self.forced_stages:
            return self.wave_size, self.wave_size
        if not self.rules.balanced_stages:
            return 0, self.wave_size
        visits = self.wave_size * (self.path_length - len(self.forced_stages))
        others = self.stages - len(self.forced_stages)
        return visits // others, -(-visits // others)

    def start_load(self) -> tuple[int, int]:
        """Least and most micro-batches of one wave that a node of stage 0 may start."""
        if not self.rules.balanced_starts:
            return 0, self.wave_size
        return self.wave_size // self.group_sizes[0], -(-self.wave_size // self.group_sizes[0])

    def sequence(self, path: Sequence[int]) -> list[tuple[Kind, int]]:
        """(kind, node) of a micro-batch's operations along ``path``, each waiting for the one before."""
        loss = [(Kind.L, path[0])] if self.rules.ends == "first" else []
        return [*((Kind.F, n) for n in path), *loss, *((Kind.B, n) for n in reversed(path))]

    def seconds(self, kind: Kind, node: int) -> float:
        return (self.forward_seconds, self.loss, self.backward_seconds)[kind][node]

    def copy_link_seconds(self, stage_of_node: Sequence[int]) -> float:
        """The slowest link among copies of one stage, in either direction; 0 without copies."""
        return max(
            (
                self.link_seconds[a][b]
                for a in range(self.nodes)
                for b in range(self.nodes)
                if a != b and stage_of_node[a] == stage_of_node[b]
            ),
            default=0.0,
        )

    def copy_seconds(self, stage_of_node: Sequence[int]) -> float:
        """What the exchange among copies adds to the makespan."""
        return self.copy_link_factor * self.copy_link_seconds(stage_of_node) if self.copy_link_factor else 0.0

    def why_illegal(self, stages: Sequence[int]) -> str | None:
        """What forbids a path through these stages; None: nothing."""
        swaps, frontier, count, distance = self.rules.swaps, stages[0], 0, 0
        if len(stages) != self.path_length:
            return f"{len(stages)} stages, not {self.path_length}"
        if len(set(stages)) != len(stages):
            return "a stage twice"
        if stages[0] != 0:
            return f"starts on stage {stages[0]}, not 0"
        if self.rules.ends == "both" and stages[-1] != self.stages - 1:
            return f"ends on stage {stages[-1]}, not {self.stages - 1}"
        for stage in stages[1:]:
            if stage > frontier:
                if swaps.forward_jump is not None and stage - frontier > swaps.forward_jump:
                    return f"a jump of {stage - frontier} stages, more than {swaps.forward_jump}"
                frontier = stage
                continue
            count, distance = count + 1, distance + frontier - stage
            if frontier - stage > swaps.furthest:
                return f"a swap of {frontier - stage} stages, more than {swaps.furthest}"
        if count > swaps.count:
            return f"{count} swaps, more than {swaps.count}"
        if distance > swaps.total_distance:
            return f"swaps of {distance} stages in all, more than {swaps.total_distance}"
        return None

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))


def _problems(problem: SkipProblem) -> Iterator[str]:
    nodes, stages = problem.nodes, problem.stages
    for key, least in (("microbatches", 1), ("path_length", 1), ("waves", 1)):
        if getattr(problem, key) < least:
            yield f"{key}: {getattr(problem, key)} must be at least {least}"
    if problem.waves >= 1 and problem.microbatches % problem.waves:
        yield f"microbatches: {problem.microbatches} are not {problem.waves} waves of equal size"
    yield from _figures("forward_seconds", problem.forward_seconds, nodes)
    yield from _figures("backward_seconds", problem.backward_seconds, nodes)
    if problem.loss_seconds:
        yield from _figures("loss_seconds", problem.loss_seconds, nodes)
    yield from _figures("memory_cap", problem.memory_cap, nodes)
    yield from _links(problem.link_seconds, nodes)
    yield from _arrangement(problem)
    if problem.path_length > stages:
        yield f"path_length: {problem.path_length} stages of {stages}; at most {stages}"
    if stages and problem.path_length < len(problem.forced_stages):
        yield f"path_length: {problem.path_length}, but {len(problem.forced_stages)} stages are on every path"
    if not 0 <= problem.copy_link_factor < math.inf:
        yield f"copy_link_factor: {problem.copy_link_factor!r} must be a non-negative number"
    if not problem.copy_link_limit_seconds >= 0:
        yield f"copy_link_limit_seconds: {problem.copy_link_limit_seconds!r} must not be negative"
    for key in ("count", "furthest", "total_distance"):
        if getattr(problem.rules.swaps, key) < 0:
            yield f"rules.swaps.{key}: {getattr(problem.rules.swaps, key)} must not be negative"


def _links(links: Sequence[Sequence[float]], nodes: int) -> Iterator[str]:
    if len(links) != nodes or any(len(row) != nodes for row in links):
        widths = sorted({len(row) for row in links})
        yield f"link_seconds: {len(links)} rows of {', '.join(map(str, widths))} values, not {nodes} of {nodes}"
        return
    for a, row in enumerate(links):
        for b, seconds in enumerate(row):
            if a == b and seconds != 0:
                yield f"link_seconds[{a}][{a}]: {seconds!r} from a node to itself must be 0"
            if a != b and not seconds >= 0:
                yield f"link_seconds[{a}][{b}]: {seconds!r} must be a non-negative number"
        others = [b for b in range(nodes) if b != a]
        if others and all(math.isinf(row[b]) or math.isinf(links[b][a]) for b in others):
            yield f"link_seconds[{a}]: node {a} is unreachable: no other node has links to it and back"


def _arrangement(problem: SkipProblem) -> Iterator[str]:
    sizes = problem.group_sizes
    if not sizes:
        yield "group_sizes: no stages"
    for stage, size in enumerate(sizes):
        if size < 1:
            yield f"group_sizes[{stage}]: {size} nodes; every stage needs one"
    if sum(sizes) != problem.nodes:
        yield f"group_sizes: {sum(sizes)} nodes in all, but forward_seconds has {problem.nodes}"
    if problem.stage_of_node is None:
        return
    if len(problem.stage_of_node) != problem.nodes:
        yield f"stage_of_node: {len(problem.stage_of_node)} values for {problem.nodes} nodes"
    for node, stage in enumerate(problem.stage_of_node):
        if not 0 <= stage < len(sizes):
            yield f"stage_of_node[{node}]: {stage} is not one of the stages 0 to {len(sizes) - 1}"
    for stage, size in enumerate(sizes):
        held = problem.stage_of_node.count(stage)
        if held != size:
            yield f"stage_of_node: {held} nodes in stage {stage}, but group_sizes[{stage}] is {size}"


def _figures(key: str, values: Sequence[float], nodes: int) -> Iterator[str]:
    if len(values) != nodes:
        yield f"{key}: {len(values)} values for {nodes} nodes"
    for index, value in enumerate(values):
        if not 0 <= value <= 1e300:
            yield f"{key}[{index}]: {value!r} must be a non-negative number"
