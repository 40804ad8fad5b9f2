"""Routed tokens: counts by hand from a few lines, and every line that cannot be used named."""

import json
from pathlib import Path

import numpy as np
import pytest

from planner.readers.routed_tokens import read_routed_tokens
from planner.specs.errors import SpecError

LINES = [
    {"layer": 3, "experts": [0, 1], "token": 7},
    {"layer": 3, "experts": [1, 2], "token": 8},
    {"layer": 4, "experts": [[2, 0], [2, 1]], "token": [8, 7]},
]


def written(path: Path, lines: list[object]) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def test_loads_pairs_and_transitions_by_hand(tmp_path: Path) -> None:
    """Token 7 goes from {0, 1} to {2, 1}, token 8 from {1, 2} to {2, 0}: four pairs each."""
    found = read_routed_tokens(written(tmp_path / "a.jsonl", LINES))
    assert (found.layer_ids, found.experts) == ((3, 4), 3)
    np.testing.assert_array_equal(found.loads(4), [[1, 2, 1, 0], [1, 1, 2, 0]])
    np.testing.assert_array_equal(
        found.coactivation(3), [[[0, 1, 0], [1, 0, 1], [0, 1, 0]], [[0, 0, 1], [0, 0, 1], [1, 1, 0]]]
    )
    transitions = found.transitions(3)
    assert transitions is not None
    np.testing.assert_array_equal(transitions, [[[0, 1, 1], [1, 1, 2], [1, 0, 1]]])


def test_tokens_without_ids_are_not_followed(tmp_path: Path) -> None:
    lines = [{"layer": 0, "experts": [0]}, {"layer": 1, "experts": [1]}]
    assert read_routed_tokens(written(tmp_path / "a.jsonl", lines)).transitions(2) is None


def test_tokens_seen_in_one_layer_only_do_not_count(tmp_path: Path) -> None:
    lines = [{"layer": 0, "experts": [0], "token": "a"}, {"layer": 1, "experts": [1], "token": "b"}]
    transitions = read_routed_tokens(written(tmp_path / "a.jsonl", lines)).transitions(2)
    assert transitions is not None
    assert transitions.sum() == 0


def test_all_lines_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl",
        [
            "{",
            {"layer": -1, "experts": [0]},
            {"layer": 0, "experts": [0, 0]},
            {"layer": 0, "experts": [0, 1.5]},
            {"layer": 0, "experts": [0, 1], "token": [1]},
            {"layer": 0, "experts": [0, 1]},
            {"layer": 0, "experts": [0]},
        ],
    )
    with pytest.raises(SpecError) as caught:
        read_routed_tokens(path)
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3, 4, 5, 7]
    assert "a token goes to an expert once" in str(caught.value)
    assert "layer 0 has 2 experts per token elsewhere" in str(caught.value)


def test_a_token_given_twice_and_ids_on_some_lines_only_are_refused(tmp_path: Path) -> None:
    twice = written(tmp_path / "a.jsonl", [{"layer": 0, "experts": [0], "token": 5}] * 2)
    with pytest.raises(SpecError, match="token: 5: is given twice in layer 0"):
        read_routed_tokens(twice)
    some = written(tmp_path / "b.jsonl", [{"layer": 0, "experts": [0], "token": 5}, {"layer": 0, "experts": [0]}])
    with pytest.raises(SpecError, match="1 lines have none, 1 have one"):
        read_routed_tokens(some)
