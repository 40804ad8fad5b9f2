"""Expert loads: shapes, recorders' steps, warm-up, and figures that are no counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.readers.expert_loads import read_counts, read_loads
from planner.readers.expert_warmup import polluted_steps, ranges
from planner.specs.errors import SpecError

EXPERTS, LAYERS, STEPS = 32, 3, 24


def recorded(tokens: int = 2000) -> Any:
    """Steps of one skewed workload: multinomial draws of the same shares."""
    random = np.random.default_rng(5)
    shares = random.dirichlet(np.ones(EXPERTS), size=LAYERS)
    return np.array([[random.multinomial(tokens, share) for share in shares] for _ in range(STEPS)], dtype=float)


def polluted() -> Any:
    """Step 0 made-up and uniform, 1 everything on expert 0, 2 never filled."""
    steps = recorded()
    steps[0] = 100
    steps[1] = 0
    steps[1, :, 0] = 50_000
    steps[2] = 0
    return steps


def test_one_layer_may_be_a_plain_list() -> None:
    np.testing.assert_array_equal(read_loads([1, 2, 3]).loads, [[1, 2, 3]])


def test_steps_of_a_recorder_are_summed(tmp_path: Path) -> None:
    steps = recorded()
    np.savez(tmp_path / "a.npz", logical_count=steps, rank=np.array([0.0]))
    trace = read_loads("a.npz", tmp_path)
    np.testing.assert_array_equal(trace.loads, steps.sum(axis=0))
    assert (trace.steps, trace.notes) == (STEPS, ())


def test_polluted_steps_are_told_apart() -> None:
    found = polluted_steps(polluted())
    assert (found.uniform, found.far, found.empty) == ((0,), (1,), (2,))


def test_few_tokens_a_step_are_noise_and_not_pollution() -> None:
    """Eight tokens over 32 experts differ wildly from step to step: nothing stands out."""
    found = polluted_steps(recorded(tokens=8))
    assert found.misleading == ()


def test_a_short_step_among_long_ones_is_noise_too() -> None:
    """Eight tokens are far from any shares over 32 experts; by chance alone, so they stay."""
    steps = recorded()
    steps[[4, 9]] = recorded(tokens=8)[[4, 9]]
    assert polluted_steps(steps).far == ()


def test_two_workloads_of_equal_weight_are_no_pollution() -> None:
    """Half of the steps elsewhere: there is no rest to be far from."""
    steps = recorded()
    steps[::2] = steps[::2, :, ::-1]
    assert polluted_steps(steps).far == ()


def test_a_uniform_workload_is_a_workload() -> None:
    assert polluted_steps(np.full((4, 2, 8), 5.0)).misleading == ()


def test_polluted_steps_are_refused_with_the_remedy_unless_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", polluted())
    with pytest.raises(SpecError) as caught:
        read_loads("a.npy", tmp_path)
    text = str(caught.value)
    assert "step 0 with the same count for every expert and step 1 far from the rest" in text
    assert "drop_warmup: auto leaves them out" in text
    rest = recorded()[3:].sum(axis=0)
    trace = read_loads("a.npy", tmp_path, drop_warmup="auto")
    np.testing.assert_array_equal(trace.loads, rest)
    assert trace.steps == STEPS - 2  # the empty one stays: it adds nothing
    assert any("left out of 24 steps, step 0 with the same count" in note for note in trace.notes)
    np.testing.assert_array_equal(read_loads("a.npy", tmp_path, drop_warmup=3).loads, rest)
    kept = read_loads("a.npy", tmp_path, drop_warmup=0)
    np.testing.assert_array_equal(kept.loads, polluted().sum(axis=0))
    assert any("kept as drop_warmup says" in note for note in kept.notes)


def test_dropping_every_step_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", recorded())
    with pytest.raises(SpecError, match="has 24 steps: nothing is left"):
        read_loads("a.npy", tmp_path, drop_warmup=24)


def test_every_figure_that_is_no_count_is_named(tmp_path: Path) -> None:
    loads = np.ones((2, 3))
    loads[0, 1], loads[1, 2] = np.nan, -4
    np.save(tmp_path / "a.npy", loads)
    with pytest.raises(SpecError) as caught:
        read_loads("a.npy", tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("a.npy: layer 0, expert 1: nan: must be a finite number of at least 0")
    assert "layer 1, expert 2: -4.0" in lines[1]


@pytest.mark.parametrize("shape", [(), (2, 2, 2, 2), (0, 4)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape))
    with pytest.raises(SpecError, match="has the shape"):
        read_loads("a.npy", tmp_path)


def test_counts_between_experts_are_square(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4)))
    with pytest.raises(SpecError, match=r"transitions are \[layers, experts, experts\]"):
        read_counts("a.npy", tmp_path, key="transitions")


def test_tokens_tell_the_layers_and_may_not_name_experts_beyond_those_given(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"layer": 3, "experts": [1]}\n')
    trace = read_loads("a.jsonl", tmp_path, experts=4)
    assert (trace.layer_ids, trace.loads.tolist()) == ((3,), [[0, 1, 0, 0]])
    assert "2 experts, as the largest number seen is 1" in read_loads("a.jsonl", tmp_path).notes[0]
    with pytest.raises(SpecError, match="holds expert 1, and there are 1"):
        read_loads("a.jsonl", tmp_path, experts=1)


def test_ranges_are_short() -> None:
    assert ranges((0, 1, 2, 5)) == "0-2, 5"
    assert ranges(tuple(range(0, 20, 2))) == "0, 2, 4, 6, 8, 10 and 4 more"
