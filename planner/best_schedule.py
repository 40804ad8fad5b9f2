"""The order of operations made for one configuration and its cut: to a pipeline problem, and back.

Every chunk's forward pass, input gradient (recompute with it) and weight gradient are operations of their own,
as are S, T and the lookups where the vocabulary is split. What a stage may keep alive is what its memory leaves
beside states and work space; of that a micro-batch takes a chunk's activations from the start of F, what its weight
gradient waits for from I to W, and a softmax from S to T.
"""

from collections.abc import Callable, Sequence

import numpy as np

from costmodels.configuration import Configuration
from costmodels.placement import stage_of_chunk
from costmodels.sharding import Column
from costmodels.step import StepModel
from costmodels.timeline import (
    BACKWARD,
    FORWARD,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    INPUT_GRAD,
    OUTPUT_S,
    OUTPUT_T,
    SCHEDULES,
    WEIGHT_GRAD,
    Order,
    order_of_rows,
    schedule_order,
    vocabulary_order,
)
from planner.named_schedules import UnsuitableScheduleError, named_schedule
from solvers.schedule.bounds import lower_bound
from solvers.schedule.graph import Orders, operation_graph
from solvers.schedule.problem import Kind, Passes, ScheduleProblem, VocabularyPasses
from solvers.schedule.schedule import Schedule
from solvers.schedule.solve import solve_schedule

KINDS = {
    Kind.F: FORWARD,
    Kind.B: BACKWARD,
    Kind.I: INPUT_GRAD,
    Kind.W: WEIGHT_GRAD,
    Kind.S: OUTPUT_S,
    Kind.T: OUTPUT_T,
    Kind.IF: INPUT_FORWARD,
    Kind.IB: INPUT_BACKWARD,
}

LEAST_RATIO = 1e-9
"""Of a stage's memory: what its caps are taken below, so that sums of figures that just fit do fit."""


def like_order(configuration: Configuration, microbatches: int) -> Order:
    """The order of a rule with the same chunks: what does not depend on the order can be priced with it."""
    if configuration.vocabulary != "whole":
        return vocabulary_order(configuration.vocabulary, configuration.pp, microbatches)
    return schedule_order(
        "zb-h1" if configuration.vp == 1 else "v-min", configuration.pp, configuration.vp, microbatches
    )


def schedule_problem(step: StepModel, index: int, cut: Sequence[int]) -> ScheduleProblem:
    """Candidate ``index`` of ``step`` cut at ``cut``, whatever its order."""
    row, microbatches = step.columns.row(index), int(step.microbatches[index])
    some = step.running(like_order(row, microbatches), step.rows)
    forward, recompute, input_grad, weight_grad = step.chunk_seconds(index, cut)

    def per_chunk(table: Callable[[StepModel], Column]) -> Column:
        return np.asarray(np.add.reduceat(some.along(table, index, cut), np.asarray(cut[:-1])))

    saved, waiting = per_chunk(lambda model: model.saved_bytes), per_chunk(lambda model: model.weight_grad_bytes)
    free = [
        step.allocatable_bytes - (memory.allocated_bytes - memory.activations_bytes)
        for memory in some.memory(index, cut)
    ]
    return ScheduleProblem(
        devices=row.pp,
        microbatches=microbatches,
        device_of_chunk=tuple(stage_of_chunk(row).tolist()),
        forward_seconds=tuple(forward.tolist()),
        input_grad_seconds=tuple((recompute + input_grad).tolist()),
        weight_grad_seconds=tuple(weight_grad.tolist()),
        p2p_seconds=tuple(step.link_seconds(index).tolist()),
        activation=tuple(saved.tolist()),
        released_by_input_grad=tuple((saved - waiting).tolist()),
        released_by_weight_grad=tuple(waiting.tolist()),
        memory_cap=tuple(max(0.0, one - LEAST_RATIO * step.allocatable_bytes) for one in free),
        vocabulary=_passes(step, index, row),
    )


def _passes(step: StepModel, index: int, row: Configuration) -> VocabularyPasses | None:
    methods: dict[str, Passes] = {"vocab-1": "vocab-1", "vocab-2": "vocab-2"}
    if row.vocabulary == "whole":
        return None
    shares, _ = step.shares(index)
    seconds = shares.seconds()

    def on_all(values: object) -> tuple[float, ...]:
        return tuple(np.asarray(values, dtype=np.float64).tolist())

    return VocabularyPasses(
        passes=methods[row.vocabulary],
        s_seconds=on_all(seconds.first_step),
        t_seconds=on_all(seconds.last_step),
        input_forward_seconds=on_all(seconds.input_forward),
        input_backward_seconds=on_all(seconds.input_backward),
        barrier_seconds=float(step.vocabulary.reduce[index]),
        broadcast_seconds=float(step.vocabulary.broadcast[index]),
        lookup_seconds=float(step.vocabulary.lookup[index]),
        kept=on_all(shares.kept_bytes),
    )


def hints(problem: ScheduleProblem) -> list[Orders]:
    """Orders of the schedules with a rule that suits the problem."""
    found = []
    for name in SCHEDULES:
        try:
            found.append(named_schedule(name, problem).hint)
        except UnsuitableScheduleError:
            continue
    return found


def makespan_of_any_order(problem: ScheduleProblem) -> float:
    """Seconds that no order within the caps is below."""
    return lower_bound(operation_graph(problem), "makespan").seconds


def order_of_schedule(schedule: Schedule, problem: ScheduleProblem) -> Order:
    """What each stage runs, for the cost models."""
    graph, m = schedule.graph, problem.microbatches
    home = [problem.device_of_chunk.index(device) for device in range(problem.devices)]
    rows = [
        [
            (KINDS[lane.kind], lane.chunk if lane.chunk >= 0 else home[device], operation % m)
            for operation in operations
            for lane in (graph.lanes[operation // m],)
        ]
        for device, operations in enumerate(schedule.orders)
    ]
    name = problem.vocabulary.passes if problem.vocabulary else "best"
    return order_of_rows(name, rows, problem.device_of_chunk, m)


def orders_in(problem: ScheduleProblem, order: Order) -> Orders:
    """An order made for the problem, as the solver knows it."""
    known = {kind: name for name, kind in KINDS.items()}
    columns = (order.kind, order.chunk, order.microbatch)
    return operation_graph(problem).orders(
        [
            (known[kind], chunk, k)
            for kind, chunk, k in zip(*(column[device].tolist() for column in columns), strict=True)
            if kind in known
        ]
        for device in range(order.devices)
    )


def busy_bound(step: StepModel, i: int, forward: Column, input_grad: Column, weight_grad: Column) -> float:
    """Seconds that no order of these chunks is below: a stage's work behind the forward passes that precede it,
    and one micro-batch's chain."""
    stage, m = stage_of_chunk(step.columns.row(i)), int(step.microbatches[i])
    links = step.link_seconds(i)
    before = np.concatenate([[0.0], np.cumsum(forward[:-1] + links)])
    held = [np.flatnonzero(stage == own) for own in range(int(step.columns.pp[i]))]
    work = np.array([m * (forward + input_grad + weight_grad)[own].sum() for own in held])
    if step.columns.vocabulary[i]:
        return float((work + step.shares(i)[0].busy_seconds(m)).max())
    turns = forward.sum() + input_grad.sum() + 2 * links.sum() + weight_grad[0]
    return float(max((work + [before[own].min() for own in held]).max(), turns))


def quick_order(step: StepModel, index: int, cut: Sequence[int]) -> Order:
    """An order for candidate ``index`` of ``step`` cut at ``cut``, made as in a search; where no order fits in
    memory, that of a rule with the same chunks, which shows what is lacking."""
    problem = schedule_problem(step, index, cut)
    if any(need > cap for need, cap in zip(problem.least_memory(), problem.memory_cap, strict=True)):
        return like_order(step.columns.row(index), int(step.microbatches[index]))
    found = solve_schedule(problem, time_limit_seconds=float("inf"), hints=hints(problem), effort="quick")
    assert found.choice is not None  # one micro-batch after the other fits
    return order_of_schedule(found.choice, problem)
