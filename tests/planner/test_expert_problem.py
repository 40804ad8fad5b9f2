"""From the file of ``plan experts`` to its problem: what is read, and every error at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from planner.expert_problem import ExpertProblem, load_experts
from planner.specs.errors import SpecError
from tests.planner.expert_problems import DEEPSEEK, balance, mixtral, transitions


def problems(source: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load_experts(source)
    return str(caught.value)


def test_files_are_relative_to_the_problem(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", np.ones((2, 4)))
    (tmp_path / "in" / "p.yaml").write_text(yaml.safe_dump({"loads": "a.npy", "gpus": 2}))
    found = load_experts(tmp_path / "in" / "p.yaml")
    assert (found.name, found.layers, found.experts, found.slots_per_gpu) == ("p", 2, 4, (2, 2))


def test_several_loads_are_pooled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", [[1, 2]])
    np.save(tmp_path / "b.npy", [[5, 0]])
    found = load_experts({"loads": [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")], "gpus": 1})
    assert [one.tolist() for one in found.traces.loads] == [[[1, 2]], [[5, 0]]]
    assert found.traces.pooled_loads().tolist() == [[6, 2]]


def test_loads_follow_from_transitions() -> None:
    """What leaves an expert, and in the last layer what reaches it."""
    found = load_experts({"transitions": [[[1, 2], [3, 4]]], "gpus": 2})
    assert found.traces.pooled_loads().tolist() == [[3, 7], [4, 6]]


def test_two_files_of_transitions_are_pooled() -> None:
    """41,676 and 30,528 pairs of the two data sets."""
    found = load_experts({"transitions": mixtral("gsm8k", "humaneval"), "gpus": 4})
    pooled = found.traces.pooled_transitions()
    assert pooled is not None
    assert (pooled.shape, pooled.sum()) == ((31, 8, 8), 41_676 + 30_528)


def test_dense_layers_number_the_others() -> None:
    found = load_experts({"loads": DEEPSEEK, "dense_layers": 3, "gpus": 32})
    assert (found.layer_ids[0], found.layer_ids[-1], found.hidden_layers) == (3, 60, 61)


def test_rows_of_dense_layers_are_left_out_where_they_are_there() -> None:
    loads = [[0, 0], [3, 1], [0, 0], [1, 3]]
    found = load_experts({"loads": loads, "dense_layers": [0, 2], "gpus": 2})
    assert found.layer_ids == (1, 3)
    assert found.traces.loads[0].tolist() == [[3, 1], [1, 3]]
    assert "the rows of 2 dense layers are empty and left out" in found.notes[0]


def test_the_model_names_its_dense_layers_and_the_bytes_of_an_expert() -> None:
    """DeepSeek-V3: three dense layers of 61; an expert is 3 x 7168 x 2048 weights of two bytes."""
    found = load_experts({"loads": DEEPSEEK, "model": "deepseek-v3", "gpus": 32})
    assert (found.layer_ids[0], found.hidden_layers, found.expert_bytes) == (3, 61, 3 * 7168 * 2048 * 2)


def test_a_layer_without_tokens_is_refused_with_the_remedy() -> None:
    text = problems({"loads": [[0, 0], [3, 1]], "gpus": 2})
    assert "no token in layer 0: a layer without experts? then dense_layers: 1; else record again" in text


def test_tokens_give_loads_transitions_and_routes(tmp_path: Path) -> None:
    lines = [
        {"layer": layer, "experts": [token % 4, (token + layer) % 4], "token": token}
        for layer in (1, 2)
        for token in range(8)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "p.yaml").write_text("loads: t.jsonl\ngpus: 2\nobjective: traffic\n")
    found = load_experts(tmp_path / "p.yaml")
    assert (found.layer_ids, found.experts) == ((1, 2), 4)
    assert found.traces.transitions[0].sum() == 8 * 4
    assert [tokens.sum() for _, tokens in found.traces.routes] == [8, 8]


def test_counts_of_pairs_are_those_of_top_2() -> None:
    pairs = [[[0, 3, 0], [3, 0, 1], [0, 1, 0]]]
    found = load_experts({"loads": [[3, 4, 1]], "coactivation": pairs, "gpus": 3, "objective": "traffic"})
    experts, tokens = found.traces.routes[0]
    assert (experts.tolist(), tokens.tolist()) == ([[0, 1], [1, 2]], [3, 1])
    assert any("top-2" in note for note in found.notes)
    asked = {"loads": [[3, 4, 1]], "coactivation": pairs, "gpus": 3, "objective": "traffic"}
    assert "do not tell the GPUs of a token of 8 experts" in problems({**asked, "top_k": 8})


def test_costs_of_transitions() -> None:
    weighted = load_experts(transitions(gpus_per_node=1, weights={"gpu": 1.0, "node": 3.0})).cost
    assert weighted.tolist() == [[0, 4], [4, 0]]
    measured = load_experts(transitions(bandwidth=[[0.0, 50.0], [25.0, 0.0]])).cost
    assert measured.tolist() == [[0, 0.02], [0.04, 0]]


def test_a_current_placement_is_read_in_any_format(tmp_path: Path) -> None:
    rows = [[0, 1, 2, 3, 0, 1], [3, 2, 1, 0, 3, 2]]
    (tmp_path / "now.json").write_text(json.dumps({"physical_to_logical_map": [[0] * 6, *rows]}))
    keys = balance(dense_layers=1, current="now.json")
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(keys))
    assert load_experts(tmp_path / "p.yaml").current == tuple(map(tuple, rows))
    (tmp_path / "now.json").write_text(json.dumps([[0, 1, 2, 3, 0, 0], [0, 1, 2, 2, 0, 0]]))
    assert "layer 2 does not hold each of 4 experts" in problems(tmp_path / "p.yaml")
    (tmp_path / "now.json").write_text("{}")
    assert "current: 'now.json': is no placement" in problems(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (balance(slots_per_gpu=1), "2 GPUs of 1 slots hold 2 of 4 experts: at least 2 slots per GPU, or 4 GPUs"),
        (balance(slots_per_gpu=[3]), "has 1 figures for 2 layers"),
        (balance(slots_per_gpu=0), "0: must be a whole number from 1"),
        (balance(gpus=0), "gpus: 0: must be at least 1"),
        (balance(gpus_per_node=3), "does not divide the 2 GPUs"),
        (balance(objetive="balance"), "unknown key; did you mean 'objective'?"),
        (balance(objective="transitions"), "objective transitions needs counts"),
        (balance(objective="traffic"), "needs counts of pairs, or a jsonl"),
        (balance(objective="time"), "cluster: missing: objective time needs it"),
        (balance(tail=True), "has no meaning for objective balance"),
        (balance(move_limit=3), "give current as well"),
        (balance(holdout=[[1, 2, 3]]), "holdout.loads: has the shape [1, 3], not [2, 4]"),
        (balance(loads="none.npy"), "none.npy: cannot be read"),
        (balance(loads=5), "must be a file, a list of files, or nested lists of numbers"),
        (balance(drop_warmup="some"), "must be auto or a number of first steps"),
        (balance(total_slots_per_gpu=6), "does not go with total_slots_per_gpu"),
        (balance(model="llama-3-8b"), "has no experts"),
        (transitions(slots_per_gpu=2), "objective transitions places every expert once: 2 experts on 2 GPUs need 1 sl"),
        (transitions(robust="worst", load_limit=1.5), "does not go with robust: worst"),
        (transitions(transitions=[[[1, 2, 3]]]), "transitions are [layers, experts, experts]"),
        (transitions(bandwidth=[[0.0]]), "has the shape [1, 1], not [2, 2]"),
        (transitions(bandwidth=[[0.0, 0.0], [1.0, 0.0]]), "must be above zero between different GPUs"),
        (transitions(loads=[[1, 2]]), "transitions: has the shape [2, 2, 2], not [0, 2, 2]"),
        ({"gpus": 2}, "give loads, or transitions to count them from"),
    ],
)
def test_what_cannot_be_used_is_named(keys: dict[str, Any], expected: str) -> None:
    assert expected in problems(keys)


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "loads: none.npy\ntransitions: gone.npz:a\ngpus: 4\ngpus_per_node: 3\ntail: true\n"
    )
    lines = problems(tmp_path / "p.yaml").splitlines()
    assert len(lines) == 4
    assert f"{tmp_path / 'p.yaml'}:4: gpus_per_node: 3" in lines[0]


def test_a_layer_of_equal_loads_among_others_is_noted() -> None:
    found = load_experts({"loads": [[5, 5], [1, 9]], "gpus": 2})
    assert "layer 0 has the same load for every expert" in found.notes[0]
    uniform: ExpertProblem = load_experts({"loads": [[5, 5], [7, 7]], "gpus": 2})
    assert uniform.notes == ()
