"""Micro-batches that all take one path: the ordinary pipeline of ``solvers.schedule``."""

from collections.abc import Sequence
from itertools import pairwise

from solvers.schedule.problem import Kind as Pass
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.schedule import Schedule
from solvers.skip.problem import Kind, SkipProblem
from solvers.skip.schedule import Order


def pipeline_of(problem: SkipProblem, path: Sequence[int]) -> ScheduleProblem | None:
    """Device i is the i-th node of ``path``; backward passes are whole. None where a pipeline cannot say it: the loss
    on the first node, links that differ by direction, messages one at a time."""
    links = [(problem.link_seconds[a][b], problem.link_seconds[b][a]) for a, b in pairwise(path)]
    if problem.rules.ends == "first" or problem.rules.serial_links or any(there != back for there, back in links):
        return None
    ones, zeros = (1.0,) * len(path), (0.0,) * len(path)
    return ScheduleProblem(
        devices=len(path),
        microbatches=problem.microbatches,
        device_of_chunk=tuple(range(len(path))),
        forward_seconds=tuple(problem.forward_seconds[n] for n in path),
        input_grad_seconds=tuple(problem.backward_seconds[n] for n in path),
        weight_grad_seconds=zeros,
        p2p_seconds=tuple(there for there, _ in links),
        activation=ones,
        released_by_input_grad=ones,
        released_by_weight_grad=zeros,
        memory_cap=tuple(float(problem.memory_cap[n]) for n in path),
        split_backward=False,
    )


def orders_of(problem: SkipProblem, path: Sequence[int], schedule: Schedule) -> list[Order]:
    """[nodes]: the schedule's orders, empty on nodes outside ``path``."""
    graph = schedule.graph
    orders: list[Order] = [()] * problem.nodes
    for node, order in zip(path, schedule.orders, strict=True):
        orders[node] = tuple(
            (Kind.F if graph.kind[operation] == Pass.F else Kind.B, int(graph.microbatch[operation]))
            for operation in order
        )
    return orders
