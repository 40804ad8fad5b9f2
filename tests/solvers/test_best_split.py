"""Exact splits against two slow methods: every split in turn, and a mixed-integer programme (PuLP, CBC)."""

from dataclasses import dataclass
from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.timeline import (
    least_sums,
    makespan_bound,
    makespan_seconds,
    prefix_bounds,
    schedule_order,
    stage_bounds,
)
from solvers.best_split import best_split, lower_bound
from tests.oracles.partition import all_splits
from tests.oracles.partition_milp import least_bottleneck, least_makespan
from tests.oracles.timeline import makespan_by_scanning, one_forward_one_backward


@dataclass(frozen=True)
class Pipeline:
    """Devices of several speeds and caps; layers of three kinds between an embedding and a head, sometimes
    with a prediction layer; whole numbers. The first layers of a stage may be recomputed."""

    stages: int
    microbatches: int
    forward: np.ndarray
    backward: np.ndarray
    again: np.ndarray
    static: np.ndarray
    saved: np.ndarray
    speed: np.ndarray
    cap: np.ndarray
    links: np.ndarray

    @property
    def items(self) -> int:
        return len(self.forward)

    @classmethod
    def random(cls, seed: int) -> "Pipeline":
        rng = np.random.default_rng(seed)
        stages, layers = int(rng.integers(2, 5)), int(rng.integers(3, 6))
        kinds = np.sort(rng.integers(0, 3, layers))
        predicted = rng.integers(2)  # a prediction layer stands with the head: one item

        def chain(low: int, high: int, embedding: int, head: int) -> np.ndarray:
            of_kind = rng.integers(low, high, 4)
            return np.array([embedding, *of_kind[kinds], head + predicted * of_kind[3]])

        forward = chain(1, 5, 0, int(rng.integers(0, 6)))
        saved = chain(1, 5, 1, 1)
        in_flight = int(min(4, stages)) * int(saved.sum())
        return cls(
            stages=stages,
            microbatches=int(rng.integers(1, 5)),
            forward=forward,
            backward=2 * forward + rng.integers(0, 2, len(forward)),
            again=np.array([0, *forward[1:-1], 0]),
            static=chain(1, 4, 3, 3),
            saved=saved,
            speed=rng.integers(1, 4, stages) if rng.integers(2) else np.ones(stages, dtype=np.int64),
            cap=rng.integers(in_flight // stages // 2, in_flight + 12, stages),
            links=rng.integers(0, 3, stages - 1),
        )

    def choices(self, j: int, a: int, b: int) -> list[int]:
        """How many first layers the stage may recompute for items a..b to fit; a layer rebuilt takes room."""
        layers = [k for k in range(a, b) if 0 < k < self.items - 1]
        live = min(self.microbatches, self.stages - j)
        found = []
        for first in range(len(layers) + 1):
            kept = sum(self.saved[a:b]) - sum(self.saved[k] for k in layers[:first])
            rebuilt = max((int(self.saved[k]) for k in layers[:first]), default=0)
            if sum(self.static[a:b]) + live * kept + rebuilt <= self.cap[j]:
                found.append(first)
        return found

    def seconds(self, j: int, a: int, b: int, first: int) -> tuple[int, int]:
        layers = [k for k in range(a, b) if 0 < k < self.items - 1]
        redone = sum(self.again[k] for k in layers[:first])
        return int(self.speed[j] * sum(self.forward[a:b])), int(self.speed[j] * (sum(self.backward[a:b]) + redone))

    def triples(self) -> dict[tuple[int, int, int, int], tuple[int, int]]:
        """Forward and backward seconds of every chunk, interval and recompute that fit."""
        ends = range(self.items + 1)
        return {
            (j, a, b, first): self.seconds(j, a, b, first)
            for j, a, b in product(range(self.stages), ends, ends)
            if a < b
            for first in self.choices(j, a, b)
        }

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """The same at the least recompute, [stages, items + 1, items + 1]; inf where nothing fits."""
        forward, backward = np.full((2, self.stages, self.items + 1, self.items + 1), np.inf)
        for (j, a, b, first), (f, w) in self.triples().items():
            if first == min(self.choices(j, a, b)):
                forward[j, a, b], backward[j, a, b] = f, w
        return forward, backward


def chosen(table: np.ndarray, splits: np.ndarray) -> np.ndarray:
    return np.asarray(table[np.arange(len(table)), splits[:, :-1], splits[:, 1:]])


def solved(pipeline: Pipeline):  # type: ignore[no-untyped-def]
    forward, backward = pipeline.tables()
    order = schedule_order("1f1b", pipeline.stages, 1, pipeline.microbatches)
    bounds = stage_bounds(forward, backward, pipeline.links, pipeline.microbatches)
    return best_split(
        bounds,
        lambda splits: makespan_seconds(order, chosen(forward, splits), chosen(backward, splits), pipeline.links),
    )


@pytest.mark.parametrize("seed", range(200))
def test_the_best_split_is_the_mixed_integer_programmes(seed: int) -> None:
    """Uneven devices and caps, three kinds of layers, every number of recomputed layers: the programme chooses
    it freely, ours is the least that fits."""
    pipeline = Pipeline.random(seed)
    triples = pipeline.triples()
    forward, backward = ({t: s[which] for t, s in triples.items()} for which in (0, 1))
    expected = least_makespan(
        pipeline.items, pipeline.stages, pipeline.microbatches, forward, backward, pipeline.links.tolist()
    )
    solution = solved(pipeline)
    if expected is None:
        assert solution.status == "infeasible"
        assert solution.choice is None
        return
    assert solution.status == "optimal"
    assert solution.value == pytest.approx(expected, rel=1e-6)
    assert solution.lower_bound == solution.value


def test_instances_bind_as_they_should() -> None:
    """Of the 200: some infeasible, most not; uneven devices, and recompute in the best split."""
    pipelines = [Pipeline.random(seed) for seed in range(200)]
    solutions = [solved(pipeline) for pipeline in pipelines]
    assert 10 < sum(s.choice is None for s in solutions) < 100
    assert sum(len(set(p.speed)) > 1 for p in pipelines) > 50
    redone = [
        sum(min(p.choices(j, a, b)) for j, (a, b) in enumerate(zip(s.choice[:-1], s.choice[1:], strict=True)))
        for p, s in zip(pipelines, solutions, strict=True)
        if s.choice is not None
    ]
    assert sum(count > 0 for count in redone) > 20


@settings(max_examples=200, deadline=None)
@given(st.integers(1000, 10**9))
def test_the_best_split_is_the_best_of_all_in_turn(seed: int) -> None:
    """Every split, run by a scanning clock."""
    pipeline = Pipeline.random(seed)
    rows = one_forward_one_backward(pipeline.stages, pipeline.microbatches)
    forward, backward = pipeline.tables()
    bounds = stage_bounds(forward, backward, pipeline.links, pipeline.microbatches)
    best = float("inf")
    for split in all_splits(pipeline.items, pipeline.stages):
        f, b = (chosen(table, np.array([split]))[0] for table in (forward, backward))
        if np.isfinite(f).all():
            makespan, _ = makespan_by_scanning(rows, f.tolist(), b.tolist(), pipeline.links.tolist())
            assert chosen(bounds, np.array([split])).max() <= makespan
            best = min(best, makespan)
    solution = solved(pipeline)
    assert solution.value == best
    assert lower_bound(bounds) <= best
    if solution.choice is not None:
        assert solution.choice[0] == 0
        assert solution.choice[-1] == pipeline.items
        assert (np.diff(solution.choice) > 0).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_on_equal_devices_a_splits_bound_is_that_of_its_schedule(seed: int) -> None:
    """Second method: paths counted along the order's own operations (``makespan_bound``)."""
    rng = np.random.default_rng(seed)
    items, microbatches = int(rng.integers(2, 9)), int(rng.integers(1, 12))
    stages = int(rng.integers(1, min(items, 5) + 1))
    total = np.concatenate([np.zeros((2, 1)), np.cumsum(rng.integers(0, 6, (2, items)), axis=1)], axis=1)
    tables = np.where(np.tri(items + 1), np.inf, total[:, None, :] - total[:, :, None])
    forward, backward = (np.broadcast_to(table, (stages, *table.shape)) for table in tables)
    links = rng.integers(0, 3, stages - 1)
    splits = np.array(list(all_splits(items, stages)))
    order = schedule_order("1f1b", stages, 1, microbatches)
    expected = makespan_bound(order, chosen(forward, splits), chosen(backward, splits), links)
    bounds = stage_bounds(forward, backward, links, microbatches)
    assert chosen(bounds, splits).max(axis=1) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_the_least_bottleneck_is_the_mixed_integer_programmes(seed: int) -> None:
    """With nothing but the bounds as objective: uneven costs of every interval, some impossible."""
    rng = np.random.default_rng(seed)
    items = int(rng.integers(2, 8))
    chunks = int(rng.integers(1, items + 1))
    table = rng.integers(0, 30, (chunks, items + 1, items + 1)).astype(np.float64)
    table[rng.random(table.shape) < 0.3] = np.inf
    costs = {
        (j, a, b, 0): table[j, a, b]
        for j, a, b in product(range(chunks), range(items + 1), range(items + 1))
        if a < b and np.isfinite(table[j, a, b])
    }
    expected = least_bottleneck(items, chunks, costs)
    assert lower_bound(table) == pytest.approx(np.inf if expected is None else expected)
    solution = best_split(table, lambda splits: chosen(table, splits).max(axis=1))
    assert solution.value == pytest.approx(np.inf if expected is None else expected)


def test_what_is_too_much_to_list_leaves_a_bound() -> None:
    """By hand: bounds of 0 say nothing of C(11, 3) = 165 splits of value 1 to 165; 20 are listed at the most, so
    all that is known is the bound, and the descent's own find."""
    bounds = np.zeros((4, 13, 13))
    rank = {split: number for number, split in enumerate(all_splits(12, 4))}
    assert len(rank) == comb(11, 3)

    def value(splits: np.ndarray) -> list[int]:
        return [1 + rank[tuple(split)] for split in splits.tolist()]

    solution = best_split(bounds, value, listed=20, start=[0, 3, 6, 9, 12])
    assert (solution.status, solution.stop, solution.lower_bound) == ("feasible", "evaluation_limit", 0.0)
    assert solution.counts["listed"] == 0
    assert solution.value == value(solution.choice[None, :])[0]
    assert best_split(bounds, value, start=[0, 3, 6, 9, 12]).value == 1


def test_some_of_many_splits_raise_the_bound() -> None:
    """By hand: chunks 0..1, 0..2, .. of bound 1, 2, ..: those up to x are listed, the next is the bound."""
    bounds = np.zeros((3, 11, 11))
    bounds[0] = np.arange(11)[None, :]
    solution = best_split(bounds, lambda splits: np.full(len(splits), 20.0), listed=20)
    # 8 splits begin with one item, 7 with two, 6 with three: 15 of at most 20 are listed, so 3 is proven
    assert solution.counts["listed"] == 15
    assert solution.lower_bound == 3
    assert solution.status == "feasible"


def test_a_value_below_its_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="below its own bound"):
        best_split(np.ones((2, 4, 4)), lambda splits: np.zeros(len(splits)))


def test_wrong_bounds_are_named() -> None:
    with pytest.raises(ValueError, match=r"bounds: shape \(2, 3\)"):
        lower_bound(np.zeros((2, 3)))


def branched(pipeline: Pipeline, *, listed: int):  # type: ignore[no-untyped-def]
    """``solved`` with beginnings of splits in place of a list."""
    forward, backward = pipeline.tables()
    order = schedule_order("1f1b", pipeline.stages, 1, pipeline.microbatches)
    behind = least_sums(forward + backward)[1]

    def begun(splits: np.ndarray) -> np.ndarray:
        stages = splits.shape[1] - 1
        f, b = (table[np.arange(stages), splits[:, :-1], splits[:, 1:]] for table in (forward, backward))
        rest = behind[stages, splits[:, -1]] + 2 * pipeline.links[stages - 1 :].sum()
        found = prefix_bounds(order, f, b, rest, pipeline.links)
        for split, bound in zip(splits.tolist(), found, strict=True):  # every completion, timed in full
            ends = [s for s in all_splits(pipeline.items, pipeline.stages) if list(s[: stages + 1]) == split]
            whole = np.array(ends)
            values = makespan_seconds(order, chosen(forward, whole), chosen(backward, whole), pipeline.links)
            assert bound <= values.min() * (1 + 1e-12)
        return found

    return best_split(
        stage_bounds(forward, backward, pipeline.links, pipeline.microbatches),
        lambda splits: makespan_seconds(order, chosen(forward, splits), chosen(backward, splits), pipeline.links),
        partial=begun,
        listed=listed,
    )


def test_beginnings_bound_every_completion_and_lead_to_the_best_split() -> None:
    """Against the list of all: nothing listed but by beginnings, 12 wide; and one wide, where a bound is left."""
    begun = 0
    for seed in range(150):
        pipeline = Pipeline.random(seed)
        expected = solved(pipeline)
        wide, narrow = branched(pipeline, listed=0), branched(pipeline, listed=1)
        for found in (wide, narrow):
            assert found.lower_bound <= expected.value
            assert found.value >= expected.value
            assert found.status != "optimal" or found.value == pytest.approx(expected.value, rel=1e-9)
        begun += wide.counts["listed"] > 0
    assert begun > 0


def test_beginnings_bound_more_than_a_short_list() -> None:
    """60 equal layers and a head of two on 16 stages with as many micro-batches: 13,391 splits to list."""
    items, stages, microbatches = 62, 16, 16
    forward = np.array([0.02, *[1.0] * 60, 2.0])
    total = np.concatenate([[0.0], np.cumsum(forward)])
    table = np.where(np.tri(items + 1), np.inf, total[None, :] - total[:, None])
    f = np.broadcast_to(table, (stages, *table.shape))
    order, links = schedule_order("1f1b", stages, 1, microbatches), np.full(stages - 1, 0.01)
    behind = least_sums(3 * f)[1]

    def value(splits: np.ndarray) -> np.ndarray:
        return makespan_seconds(order, chosen(f, splits), 2 * chosen(f, splits), links)

    def begun(splits: np.ndarray) -> np.ndarray:
        own = f[np.arange(splits.shape[1] - 1), splits[:, :-1], splits[:, 1:]]
        rest = behind[splits.shape[1] - 1, splits[:, -1]] + 2 * links[splits.shape[1] - 2 :].sum()
        return prefix_bounds(order, own, 2 * own, rest, links)

    bounds = stage_bounds(f, 2 * f, links, microbatches)
    everything = best_split(bounds, value)
    assert everything.counts["listed"] > 10_000
    found, plain = best_split(bounds, value, partial=begun, listed=8000), best_split(bounds, value, listed=8000)
    assert found.lower_bound <= everything.value <= found.value
    assert found.lower_bound > plain.lower_bound
