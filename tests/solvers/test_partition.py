from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.chunk_memory import ChunkMemory
from solvers.partition import bottleneck_partition
from tests.oracles.partition import all_splits, best_bottleneck, chunk_bytes


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[float], int]:
    items = draw(st.integers(1, 9))
    number = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 1.0, 1.0, 2.5]) | st.floats(0, 10)
    return draw(st.lists(number, min_size=items, max_size=items)), draw(st.integers(1, items))


def bottleneck(cost: np.ndarray, split: np.ndarray) -> float:
    rows = np.broadcast_to(cost, (len(split) - 1, cost.shape[-1]))
    return max(float(rows[j, a:b].sum()) for j, (a, b) in enumerate(pairwise(split)))


@settings(max_examples=400, deadline=None)
@given(chains(), st.sampled_from(["last", "first"]))
def test_bottleneck_is_the_dynamic_programmes(chain: tuple[list[float], int], heavy: str) -> None:
    cost, chunks = chain
    solution = bottleneck_partition(cost, chunks, heavy=heavy)
    assert solution.choice is not None
    assert solution.value == pytest.approx(best_bottleneck(tuple(cost), chunks), rel=1e-9, abs=1e-11)
    assert solution.value == pytest.approx(bottleneck(np.array(cost), solution.choice), abs=1e-11)
    assert (np.diff(solution.choice) >= 1).all()
    assert solution.choice[0] == 0
    assert solution.choice[-1] == len(cost)


@settings(max_examples=500, deadline=None)
@given(chains(), st.integers(0, 2**32), st.booleans(), st.booleans(), st.sampled_from(["last", "first"]))
def test_memory_and_costs_by_chunk_against_every_split(
    chain: tuple[list[float], int], seed: int, by_chunk: bool, rough: bool, heavy: str
) -> None:
    vector, chunks = chain
    items = len(vector)
    rng = np.random.default_rng(seed)
    cost = np.array(vector) * rng.random((chunks, items)) if by_chunk else np.array(vector)
    static, activation = rng.integers(0, 5, items), rng.integers(0, 5, items)
    if rough:  # an item that only some chunks can hold
        static[rng.integers(items)] = 12
    in_flight, fixed = rng.integers(0, 4, chunks), rng.integers(0, 6, chunks)
    cap = float(rng.integers(4, 40))
    transient = rng.integers(0, 9, items)
    memory = ChunkMemory(
        static_bytes=static,
        activation_bytes=activation,
        in_flight=in_flight,
        fixed_bytes=fixed,
        cap_bytes=cap,
        transient_bytes=transient,
    )
    solution = bottleneck_partition(cost, chunks, memory=memory, heavy=heavy)

    needs = {s: max(chunk_bytes(s, static, activation, in_flight, fixed, transient)) for s in all_splits(items, chunks)}
    fitting = [bottleneck(cost, np.array(split)) for split, need in needs.items() if need <= cap]
    if not fitting:
        assert solution.status == "infeasible"
        assert solution.choice is None
        assert solution.shortfall == min(needs.values()) - cap
    else:
        assert solution.choice is not None
        assert needs[tuple(solution.choice.tolist())] <= cap
        assert solution.value == pytest.approx(min(fitting), rel=1e-9, abs=1e-11)
        assert solution.value == pytest.approx(bottleneck(cost, solution.choice), abs=1e-11)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=9),
    st.data(),
    st.booleans(),
    st.sampled_from(["last", "first"]),
)
def test_of_splits_with_the_least_bottleneck_the_most_even_is_chosen(
    cost: list[int], data: st.DataObject, capped: bool, heavy: str
) -> None:
    """Against every split, in whole numbers: least sum of squares, then fewest items at the light end."""
    items, chunks = len(cost), data.draw(st.integers(1, len(cost)))
    turn = np.array([data.draw(st.integers(1, 3)) for _ in range(chunks)]) if data.draw(st.booleans()) else np.ones(1)
    table = turn[:, None] * np.array(cost, dtype=np.float64)
    cap = data.draw(st.integers(2, 9)) if capped else items
    memory = ChunkMemory(
        static_bytes=np.ones(items),
        activation_bytes=np.zeros(items),
        in_flight=np.ones(chunks),
        fixed_bytes=np.zeros(chunks),
        cap_bytes=cap,
    )
    solution = bottleneck_partition(table if len(turn) > 1 or chunks == 1 else cost, chunks, memory=memory, heavy=heavy)  # type: ignore[arg-type]

    def ranked(split: tuple[int, ...]) -> tuple[object, ...]:
        rows = np.broadcast_to(table, (chunks, items))
        loads = [rows[j, a:b].sum() for j, (a, b) in enumerate(pairwise(split))]
        sizes = np.diff(split).tolist()
        squares = sum(sum(cost[a:b]) ** 2 for a, b in pairwise(split))
        return max(loads), squares, sizes if heavy == "last" else sizes[::-1]

    fitting = [split for split in all_splits(items, chunks) if max(np.diff(split)) <= cap]
    assert (solution.choice is None) == (not fitting)
    if fitting:
        assert solution.choice is not None
        assert tuple(solution.choice.tolist()) == min(fitting, key=ranked)


def test_layers_before_a_dominating_head_are_spread_evenly() -> None:
    # By hand: a head worth 9 of 32 layers on the last of 8 stages sets the bottleneck for every split
    # of the layers over the other seven with at most 9 each; 4 and 5 are the most even
    solution = bottleneck_partition([0.0, *[1.0] * 32, 9.0], 8)
    assert solution.value == 9
    assert np.diff(solution.choice).tolist() == [5, 4, 4, 5, 5, 5, 5, 1]


@pytest.mark.parametrize(("items", "chunks"), [(7, 3), (61, 16), (126, 16), (126, 112), (80, 8), (5, 5)])
def test_equal_layers_are_spread_as_evenly_as_they_go(items: int, chunks: int) -> None:
    # By hand: items mod chunks of them hold one layer more, at the end asked for.
    more = items % chunks
    even = [items // chunks] * (chunks - more) + [items // chunks + 1] * more
    last = bottleneck_partition(np.full(items, 0.1), chunks)
    first = bottleneck_partition(np.full(items, 0.1), chunks, heavy="first")
    assert np.diff(last.choice).tolist() == even
    assert np.diff(first.choice).tolist() == even[::-1]


def test_first_stages_give_way_when_their_memory_binds() -> None:
    # By hand: stage 0 holds 4 micro-batches of 1 byte a layer and at most 8 bytes, so 2 layers; the
    # other 14 are 4, 5 and 5.
    memory = ChunkMemory(
        static_bytes=np.zeros(16),
        activation_bytes=np.ones(16),
        in_flight=[4, 1, 1, 1],
        fixed_bytes=np.zeros(4),
        cap_bytes=8,
    )
    assert np.diff(bottleneck_partition(np.ones(16), 4, memory=memory).choice).tolist() == [2, 4, 5, 5]


def test_an_item_too_large_for_all_but_one_chunk_is_led_there() -> None:
    # By hand: only chunk 2 can hold the last item, so the others must not be filled to the brim.
    memory = ChunkMemory(
        static_bytes=[1, 1, 100],
        activation_bytes=[0, 0, 0],
        in_flight=[1, 1, 1],
        fixed_bytes=[50, 50, 0],
        cap_bytes=120,
    )
    assert bottleneck_partition([1, 1, 1], 3, memory=memory).choice.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("cost", "chunks", "named"),
    [
        ([1, -1], 1, "negative"),
        ([1, 2], 3, "chunks: 3"),
        ([1, float("inf")], 1, "finite"),
        ([[1, 2]], 2, "1 rows for 2"),
    ],
)
def test_wrong_input_is_named(cost: list[float], chunks: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        bottleneck_partition(cost, chunks)


def test_wrong_memory_is_named() -> None:
    memory = ChunkMemory(static_bytes=[1], activation_bytes=[1, 1], in_flight=[1], fixed_bytes=[0], cap_bytes=1)
    with pytest.raises(ValueError, match=r"memory\.static_bytes: 2 numbers"):
        bottleneck_partition([1, 1], 1, memory=memory)
