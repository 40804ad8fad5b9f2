"""The ``plan schedule`` file: figures spelled out, and everything wrong with it at once."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipeline import load_pipeline
from planner.specs import PipelineSpec, SpecError

LEAST: dict[str, Any] = {
    "devices": 4,
    "microbatches": 8,
    "forward_seconds": 10,
    "input_grad_seconds": 11,
    "weight_grad_seconds": 12,
}


def problems(**keys: object) -> list[str]:
    """Of ``LEAST`` with ``keys``: each problem as ``key: message``."""
    with pytest.raises(SpecError) as caught:
        load_pipeline({**LEAST, **keys})
    return [f"{p.key}: {p.message}" for p in caught.value.problems]


def test_figures_are_spelled_out_for_every_chunk_and_device() -> None:
    found = load_pipeline(LEAST)
    problem = found.problem
    assert (found.schedule, problem.objective, problem.split_backward) == ("best", "makespan", True)
    assert problem.device_of_chunk == (0, 1, 2, 3)
    assert problem.forward_seconds == (10.0,) * 4
    assert problem.input_grad_seconds == (11.0,) * 4
    assert problem.weight_grad_seconds == (12.0,) * 4
    assert problem.p2p_seconds == (0.0,) * 3
    assert problem.activation == (1.0,) * 4
    assert problem.released_by_input_grad == problem.released_by_weight_grad == (0.5,) * 4
    assert problem.memory_cap == (math.inf,) * 4
    assert problem.vocabulary is None


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_files_hold_what_mappings_hold(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    path.write_text(json.dumps(LEAST) if suffix == "json" else yaml.safe_dump(LEAST))
    assert load_pipeline(path).problem == load_pipeline(LEAST).problem
    assert load_pipeline(path).name == "deep"


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ("linear", (0, 1, 2, 3)),
        ("v", (0, 1, 2, 3, 3, 2, 1, 0)),
        ({"interleaved": {"chunks": 2}}, (0, 1, 2, 3, 0, 1, 2, 3)),
        ([3, 1, 0, 2, 2], (3, 1, 0, 2, 2)),
    ],
)
def test_placements(placement: object, expected: tuple[int, ...]) -> None:
    assert load_pipeline({**LEAST, "placement": placement}).problem.device_of_chunk == expected


def test_one_link_figure_is_for_transfers_between_devices() -> None:
    """In a V of 4 devices chunks 3 and 4 share device 3: nothing is sent there. A list holds as given."""
    assert load_pipeline({**LEAST, "placement": "v", "p2p_seconds": 2}).problem.p2p_seconds == (2, 2, 2, 0, 2, 2, 2)
    given = [2, 2, 2, 1, 2, 2, 2]
    assert load_pipeline({**LEAST, "placement": "v", "p2p_seconds": given}).problem.p2p_seconds == tuple(given)


def test_quantities_become_seconds_and_bytes() -> None:
    found = load_pipeline(
        {
            **LEAST,
            "forward_seconds": ["10 ms", "20 ms", 0.03, "40000 us"],
            "activation": {"forward": "2 GiB", "released_by_input_grad": "1 GiB"},
            "memory_cap": ["80 GB", None, "8 GiB", "8 GiB"],
        }
    ).problem
    assert found.forward_seconds == pytest.approx((0.01, 0.02, 0.03, 0.04))
    assert found.activation == (2 * 2**30,) * 4
    assert found.released_by_weight_grad == (2**30,) * 4
    assert found.memory_cap == (80e9, math.inf, 8 * 2**30, 8 * 2**30)


def test_the_share_left_out_is_the_rest() -> None:
    def shares(**given: float) -> tuple[float, float]:
        found = load_pipeline({**LEAST, "activation": {"forward": 3, **given}}).problem
        return found.released_by_input_grad[0], found.released_by_weight_grad[0]

    assert shares() == (1.5, 1.5)
    assert shares(released_by_input_grad=1) == (1, 2)
    assert shares(released_by_weight_grad=1) == (2, 1)
    assert shares(released_by_weight_grad=4) == (-1, 4)  # output gradients wait for W
    assert shares(released_by_input_grad=-1) == (-1, 4)


def test_vocabulary_passes() -> None:
    given = {"passes": "vocab-1", "s_seconds": 3, "t_seconds": [1, 2, 3, 4], "barrier_seconds": "500 ms", "kept": 0.25}
    found = load_pipeline({**LEAST, "vocabulary": given}).problem.vocabulary
    assert found is not None
    assert (found.passes, found.barrier_seconds, found.broadcast_seconds) == ("vocab-1", 0.5, 0.0)
    assert (found.s_seconds, found.t_seconds) == ((3, 3, 3, 3), (1, 2, 3, 4))
    assert found.input_forward_seconds == found.input_backward_seconds == (0, 0, 0, 0)
    assert found.kept == (0.25,) * 4
    assert load_pipeline({**LEAST, "vocabulary": {**given, "passes": "none"}}).problem.vocabulary is None


def test_everything_wrong_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "devices: 4\n"
        "microbatches: 0\n"
        "placement: linar\n"
        "forward_seconds: [1, 2, .nan, -4]\n"
        "input_grad_second: 10\n"
        "weight_grad_seconds: 10 parsecs\n"
        "memory_cap: -4\n"
        "schedule: 1f1\n"
        "vocabulary: {passes: vocab-3, s_second: 1}\n"
        "activation: {forward: true}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_pipeline(path)
    found = {(p.line, p.key): p.message for p in caught.value.problems}
    assert set(found) == {
        (1, "input_grad_seconds"),
        (2, "microbatches"),
        (3, "placement"),
        (4, "forward_seconds"),
        (5, "input_grad_second"),
        (6, "weight_grad_seconds"),
        (7, "memory_cap"),
        (8, "schedule"),
        (9, "vocabulary.passes"),
        (9, "vocabulary.s_second"),
        (10, "activation.forward"),
    }
    assert "did you mean 'linear'" in found[3, "placement"]
    assert "item 2, nan" in found[4, "forward_seconds"]
    assert "item 3, -4" in found[4, "forward_seconds"]
    assert "did you mean 'input_grad_seconds'" in found[5, "input_grad_second"]
    assert "did you mean '1f1b'" in found[8, "schedule"]
    assert "did you mean 's_seconds'" in found[9, "vocabulary.s_second"]


def test_lengths_and_sums_are_checked_together() -> None:
    assert problems(
        placement=[0, 1, 2, 2, 7],
        forward_seconds=[1, 2, 3],
        p2p_seconds=[1, 2],
        memory_cap=[1, 2],
        vocabulary={"passes": "vocab-1", "t_seconds": [1, 2]},
        activation={"forward": 2, "released_by_input_grad": 1, "released_by_weight_grad": 2},
    ) == [
        "placement: there are devices 0 to 3 only",
        "placement: no chunk on device 3: leave it out of devices or give it one",
        "forward_seconds: has 3 figures for 5 chunks: give one for all, or 5",
        "activation: released_by_input_grad and released_by_weight_grad add up to 3, forward is 2: they must be equal",
        "memory_cap: has 2 figures for 4 devices: give one for all, or 4",
        "p2p_seconds: has 2 figures for 4 pairs of neighbouring chunks: give one for all, or 4",
        "vocabulary.s_seconds: missing: vocab-1 has this pass on every device",
        "vocabulary.t_seconds: has 2 figures for 4 devices: give one for all, or 4",
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"placement": {"interleaved": {"chunk": 2}}}, "placement: must be linear, v, interleaved"),
        ({"placement": {"interleaved": {"chunks": 0}}}, "placement: must be linear, v, interleaved"),
        ({"placement": []}, "placement: must be linear, v, interleaved"),
        ({"placement": ["0", 1, 2, 3]}, "placement: must hold the device of each chunk"),
        ({"forward_seconds": math.inf}, "forward_seconds: must be a finite number"),
        ({"forward_seconds": True}, "forward_seconds: must be a number or a quantity"),
        ({"forward_seconds": "10"}, "forward_seconds: no unit"),
        ({"devices": 5000}, "devices: must be at most 4096"),
        ({"microbatches": 100_000}, "microbatches: 12 operations for each make 1,200,000: at most 1,048,576"),
        ({"activation": {"forward": 1, "released_by_input_grad": 2}}, "is more than forward"),
        ({"memory_cap": "80 GiB"}, "activation: has no unit, but memory_cap has one"),
        ({"memory_cap": "8 GB", "activation": {"forward": 2}}, "activation.forward: has no unit, but memory_cap"),
    ],
)
def test_what_is_wrong_is_named(keys: dict[str, object], said: str) -> None:
    (found,) = problems(**keys)
    assert said in found


def test_a_cap_below_one_micro_batch_is_no_mistake_of_the_file() -> None:
    assert load_pipeline({**LEAST, "memory_cap": 0.5}).problem.memory_cap == (0.5,) * 4


def test_every_key_has_a_description_and_the_schema_takes_the_documented_example() -> None:
    from jsonschema import Draft202012Validator

    schema = PipelineSpec.model_json_schema()
    assert [name for name, field in PipelineSpec.model_fields.items() if not field.description] == []
    check = Draft202012Validator(schema)
    full = {
        **LEAST,
        "name": "x",
        "placement": {"interleaved": {"chunks": 2}},
        "p2p_seconds": [0] * 7,
        "activation": {"forward": 1.0, "released_by_input_grad": 0.5, "released_by_weight_grad": 0.5},
        "memory_cap": [4, None, "3 GiB", 2],
        "vocabulary": {"passes": "none"},
        "objective": "span",
        "schedule": "zb-h1",
    }
    check.validate(full)
    for wrong in ({"placement": "z"}, {"forward_seconds": -1}, {"schedule": "2f2b"}, {"unknown": 1}):
        assert not check.is_valid({**full, **wrong}), wrong


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*PipelineSpec.model_fields, "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=6,
    )
)
def test_no_content_ends_in_anything_but_a_spec_error(keys: dict[str, object]) -> None:
    try:
        found = load_pipeline({**LEAST, **keys})
    except SpecError:
        return
    assert len(found.problem.forward_seconds) == found.problem.chunks
