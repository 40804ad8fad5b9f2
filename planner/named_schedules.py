"""Schedules by rule (``costmodels.timeline``) as device orders of a problem: baselines and starting points."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from costmodels.timeline import (
    BACKWARD,
    FORWARD,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    INPUT_GRAD,
    NAMED_SCHEDULES,
    SCHEDULES,
    VOCABULARY,
    WEIGHT_GRAD,
    Order,
    schedule_order,
    vocabulary_order,
)
from solvers.schedule.graph import OperationGraph, Orders, operation_graph
from solvers.schedule.problem import Kind, ScheduleProblem
from solvers.schedule.schedule import Schedule, timed


class UnsuitableScheduleError(ValueError):
    """The rule of a named schedule does not suit the problem; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledSchedule:
    """A named schedule as its rule runs it, and ``hint``, its orders in the problem as it is stated: a rule
    with whole backward passes runs W right behind I where the problem splits them."""

    name: str
    splits_backward: bool
    schedule: Schedule
    hint: Orders


def named_schedule(name: str, problem: ScheduleProblem) -> RuledSchedule:
    """Schedule ``name`` of ``problem``, timed; memory is not looked at.

    With a split vocabulary, 1f1b is that of arXiv 2411.05288. Raises ``UnsuitableScheduleError`` where there
    is no such name, and where placement, number of micro-batches or passes do not suit the rule.
    """
    order = _order(name, problem)
    splits = order.schedule in SCHEDULES and NAMED_SCHEDULES[order.schedule].splits_backward
    run = replace(problem, split_backward=splits)
    graph = operation_graph(run)
    schedule = timed(graph, _orders(order, run, graph), problem.objective)
    hint = schedule.orders
    if splits != problem.split_backward:
        hint = _orders(order, problem, operation_graph(problem))
    return RuledSchedule(name=name, splits_backward=splits, schedule=schedule, hint=hint)


def _orders(order: Order, problem: ScheduleProblem, graph: OperationGraph) -> Orders:
    rows: list[tuple[int, ...]] = [()] * problem.devices
    lanes = {key: lane * problem.microbatches for key, lane in graph.number.items()}
    for rule_device, device in enumerate(_devices(order, problem)):
        rows[device] = tuple(_row(order, rule_device, device, problem, lanes))
    return tuple(rows)


def _order(name: str, problem: ScheduleProblem) -> Order:
    if name not in SCHEDULES:
        raise UnsuitableScheduleError(f"{name!r} is not one of {', '.join(SCHEDULES)}")
    rule, devices, microbatches = NAMED_SCHEDULES[name], problem.devices, problem.microbatches
    if rule.splits_backward and not problem.split_backward:
        raise UnsuitableScheduleError(f"{name} runs I and W apart, and split_backward is false")
    if rule.chunks_per_device not in (None, problem.chunks / devices) or (problem.chunks % devices):
        held = "the same number of chunks" if rule.chunks_per_device is None else _chunk_count(rule.chunks_per_device)
        raise UnsuitableScheduleError(f"{name} has {held} on each device, not {problem.chunks} on {devices}")
    if rule.chunks_per_device is None and problem.chunks == devices:
        raise UnsuitableScheduleError(f"{name} has several chunks on each device, not 1")
    if rule.whole_rounds and microbatches % devices:
        raise UnsuitableScheduleError(f"{name} needs a multiple of {devices} micro-batches, not {microbatches}")
    if problem.vocabulary is None:
        return schedule_order(name, devices, problem.chunks // devices, microbatches)
    if name != "1f1b" or devices == 1:
        raise UnsuitableScheduleError(f"{name} has no rule here for the passes of a split vocabulary")
    return vocabulary_order(problem.vocabulary.passes, devices, microbatches)


def _chunk_count(count: int) -> str:
    return f"{count} chunk{'s' if count > 1 else ''}"


def _devices(order: Order, problem: ScheduleProblem) -> list[int]:
    """The problem's device that plays each device of the rule: it holds the same chunks."""
    home = {frozenset(_chunks(problem.device_of_chunk, device)): device for device in range(problem.devices)}
    found = []
    for rule_device in range(order.devices):
        chunks = _chunks(order.device_of_chunk.tolist(), rule_device)
        if frozenset(chunks) not in home:
            together = " and ".join(map(str, chunks))
            raise UnsuitableScheduleError(f"{order.schedule} has chunks {together} on one device, placement has not")
        found.append(home[frozenset(chunks)])
    return found


def _chunks(placement: tuple[int, ...] | list[int], device: int) -> list[int]:
    return [chunk for chunk, home in enumerate(placement) if home == device]


def _row(
    order: Order, rule_device: int, device: int, problem: ScheduleProblem, first: Mapping[tuple[Kind, int], int]
) -> Iterator[int]:
    """Operations of the graph, ``first`` of a kind and chunk (of a pass and device) plus the micro-batch."""
    columns = (order.kind, order.chunk, order.microbatch)
    splits, microbatches = problem.split_backward, problem.microbatches
    for kind, chunk, k in zip(*(column[rule_device].tolist() for column in columns), strict=True):
        if kind == FORWARD:
            yield first[Kind.F, chunk] + k
        elif kind == BACKWARD and splits:
            yield first[Kind.I, chunk] + k
            yield first[Kind.W, chunk] + k
        elif kind == BACKWARD:
            yield first[Kind.B, chunk] + k
        elif kind == INPUT_GRAD:
            yield first[Kind.I, chunk] + k
        elif kind == WEIGHT_GRAD:
            yield first[Kind.W, chunk] + k
        elif kind == VOCABULARY:  # T of the micro-batch before and S of this one, as one step
            if k > 0:
                yield first[Kind.T, device] + k - 1
            if k < microbatches:
                yield first[Kind.S, device] + k
        elif kind == INPUT_FORWARD:
            yield first[Kind.IF, device] + k
        elif kind == INPUT_BACKWARD:
            yield first[Kind.IB, device] + k
