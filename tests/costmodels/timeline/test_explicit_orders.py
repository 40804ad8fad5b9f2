"""Orders that no rule gives, S and T of a split vocabulary apart: timed by two models that share no code."""

import numpy as np
import pytest

from costmodels.timeline import (
    BACKWARD,
    FORWARD,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    INPUT_GRAD,
    OUTPUT_S,
    OUTPUT_T,
    WEIGHT_GRAD,
    VocabularySeconds,
    order_of_rows,
    peak_with_softmaxes,
    schedule_order,
    simulate,
    vocabulary_order,
)
from solvers.schedule.graph import OperationGraph, operation_graph
from solvers.schedule.problem import Kind, ScheduleProblem, VocabularyPasses
from solvers.schedule.schedule import timed

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
PLACEMENTS = {2: [(0, 1), (0, 1, 0, 1), (0, 1, 1, 0), (1, 0)], 3: [(0, 1, 2), (0, 1, 2, 2, 1, 0), (0, 2, 1, 0)]}


def random_problem(random: np.random.Generator) -> ScheduleProblem:
    devices = int(random.integers(2, 4))
    placement = PLACEMENTS[devices][random.integers(len(PLACEMENTS[devices]))]
    chunks = len(placement)

    def figures(count: int) -> tuple[float, ...]:
        return tuple(random.integers(1, 9, count).astype(float).tolist())

    passes = VocabularyPasses(
        passes="vocab-1" if random.integers(2) else "vocab-2",
        s_seconds=figures(devices),
        t_seconds=figures(devices),
        input_forward_seconds=figures(devices),
        input_backward_seconds=figures(devices),
        barrier_seconds=float(random.integers(0, 5)),
        lookup_seconds=float(random.integers(0, 5)),
        broadcast_seconds=float(random.integers(0, 5)),
    )
    return ScheduleProblem(
        devices=devices,
        microbatches=int(random.integers(1, 6)),
        device_of_chunk=placement,
        forward_seconds=figures(chunks),
        input_grad_seconds=figures(chunks),
        weight_grad_seconds=figures(chunks),
        p2p_seconds=figures(chunks - 1),
        activation=(1.0,) * chunks,
        released_by_input_grad=(0.5,) * chunks,
        released_by_weight_grad=(0.5,) * chunks,
        memory_cap=(np.inf,) * devices,
        vocabulary=passes if random.integers(4) else None,
        split_backward=bool(random.integers(2)),
    )


def random_orders(graph: OperationGraph, random: np.random.Generator) -> list[list[int]]:
    """Any operation that all it waits for has gone before, again and again."""
    m = graph.microbatches
    waits = [len(before) for before in graph.predecessors for _ in range(m)]
    ready = [operation for operation, count in enumerate(waits) if not count]
    orders: list[list[int]] = [[] for _ in range(graph.devices)]
    while ready:
        operation = ready.pop(int(random.integers(len(ready))))
        lane, microbatch = divmod(operation, m)
        if graph.lanes[lane].device >= 0:
            orders[graph.lanes[lane].device].append(operation)
        for after, _ in graph.successors[lane]:
            follower = after * m + microbatch
            waits[follower] -= 1
            if not waits[follower]:
                ready.append(follower)
    return orders


def test_150_random_orders_take_the_same_time_in_the_solvers_graph() -> None:
    random = np.random.default_rng(5)
    with_passes = 0
    for _ in range(150):
        problem = random_problem(random)
        graph = operation_graph(problem)
        orders = random_orders(graph, random)
        rows = []
        for device, operations in enumerate(orders):
            first = problem.device_of_chunk.index(device)
            lanes = [(graph.lanes[operation // graph.microbatches], operation) for operation in operations]
            rows.append(
                [
                    (KINDS[lane.kind], lane.chunk if lane.chunk >= 0 else first, operation % graph.microbatches)
                    for lane, operation in lanes
                ]
            )
        passes, method = None, "best"
        if problem.vocabulary is not None:
            with_passes += 1
            v, method = problem.vocabulary, problem.vocabulary.passes
            passes = VocabularySeconds(
                first_step=v.s_seconds,
                step=[1e9] * problem.devices,
                last_step=v.t_seconds,
                input_forward=v.input_forward_seconds,
                input_backward=v.input_backward_seconds,
                broadcast=[v.broadcast_seconds],
                reduce=[v.barrier_seconds],
                lookup=[v.lookup_seconds],
            )
        order = order_of_rows(method, rows, problem.device_of_chunk, problem.microbatches)
        grads, weights = np.array(problem.input_grad_seconds), np.array(problem.weight_grad_seconds)
        backward = grads if problem.split_backward else grads + weights
        timeline = simulate(
            order,
            problem.forward_seconds,
            backward,
            problem.p2p_seconds,
            passes,
            weights if problem.split_backward else None,
        )
        expected = timed(graph, orders)
        assert timeline.makespan_seconds == pytest.approx(expected.makespan)
        for device, operations in enumerate(orders):
            starts = timeline.start[device][: len(operations)] - timeline.start[:, 0].min()
            assert starts == pytest.approx(expected.start[operations])
    assert with_passes > 50


@pytest.mark.parametrize("missing", [OUTPUT_T, INPUT_FORWARD, INPUT_BACKWARD])
def test_a_vocabulary_pass_that_is_left_out_is_named(missing: int) -> None:
    whole = [FORWARD, OUTPUT_S, OUTPUT_T, BACKWARD, INPUT_FORWARD, INPUT_BACKWARD]
    rows = [[(kind, device, 0) for kind in whole if device == 0 or kind != missing] for device in (0, 1)]
    with pytest.raises(ValueError, match=rf"device 1 .* \({missing}, 1, 0\) not exactly once"):
        order_of_rows("vocab-1", rows, (0, 1), 1)


def test_softmaxes_are_kept_from_s_to_t() -> None:
    """Device 0: S0 S1 T0 T1, two at once; device 1: S0 T0 S1 T1, one."""
    kinds = [(INPUT_FORWARD, 0), (INPUT_FORWARD, 1), (FORWARD, 0), (FORWARD, 1)]
    ends = [(BACKWARD, 0), (BACKWARD, 1), (INPUT_BACKWARD, 0), (INPUT_BACKWARD, 1)]
    middles = [
        [(OUTPUT_S, 0), (OUTPUT_S, 1), (OUTPUT_T, 0), (OUTPUT_T, 1)],
        [(OUTPUT_S, 0), (OUTPUT_T, 0), (OUTPUT_S, 1), (OUTPUT_T, 1)],
    ]
    rows = [[(kind, d, k) for kind, k in [*kinds, *middles[d], *ends]] for d in (0, 1)]
    order = order_of_rows("vocab-1", rows, (0, 1), 2)
    assert peak_with_softmaxes(order, [0.0, 0.0], 0.0, 7.0).tolist() == [14.0, 7.0]
    assert peak_with_softmaxes(order, [1.0, 1.0], 0.0, 7.0).tolist() == [16.0, 9.0]  # both micro-batches are alive
    assert peak_with_softmaxes(vocabulary_order("vocab-1", 2, 4), [1.0, 1.0], 0.0, 7.0).tolist() == [11.0, 10.0]
    assert peak_with_softmaxes(schedule_order("1f1b", 2, 1, 4), [1.0, 1.0], 0.0, 0.0).tolist() == [2.0, 1.0]


def test_a_softmax_is_counted_only_beside_what_is_alive_with_it() -> None:
    """F0 S0 T0 I0 W0, then micro-batch 1: 5 + 7 at S, never 2 x 5 + 7; I leaves 6 of 5 for W."""
    row = [(INPUT_FORWARD, 0), (INPUT_FORWARD, 1)]
    for k in (0, 1):
        row += [(kind, k) for kind in (FORWARD, OUTPUT_S, OUTPUT_T, INPUT_GRAD, WEIGHT_GRAD, INPUT_BACKWARD)]
    order = order_of_rows("vocab-2", [[(kind, 0, k) for kind, k in row]], (0,), 2)
    assert peak_with_softmaxes(order, [5.0], [6.0], 7.0).tolist() == [12.0]
    assert peak_with_softmaxes(order, [5.0], [6.0], 0.5).tolist() == [6.0]


def test_t_before_s_waits_for_ever() -> None:
    kinds = [INPUT_FORWARD, FORWARD, OUTPUT_T, OUTPUT_S, BACKWARD, INPUT_BACKWARD]
    order = order_of_rows("vocab-2", [[(kind, device, 0) for kind in kinds] for device in (0, 1)], (0, 1), 1)
    ones, passes = np.ones(2), {name: np.ones(2) for name in ("first_step", "step", "last_step")}
    passes |= {name: np.ones(2) for name in ("input_forward", "input_backward")}
    passes |= {name: np.ones(1) for name in ("broadcast", "reduce", "lookup")}
    with pytest.raises(ValueError, match="wait for each other for ever"):
        simulate(order, ones, ones, np.ones(1), VocabularySeconds(**passes))
