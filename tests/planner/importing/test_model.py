"""A model written as a spec is the same model again: the reader of specs is the second method."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cases
from planner.importing import import_files
from planner.importing.model import _runs, model_spec
from planner.specs.model import load_model


@pytest.mark.parametrize("name", cases.model_names())
def test_every_bundled_model_survives(name: str) -> None:
    model = load_model(name)
    assert load_model(model_spec(model)) == model


def test_a_config_of_alternating_windows_becomes_one_repeated_pair(tmp_path: Path) -> None:
    config = {
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "num_hidden_layers": 24,
        "vocab_size": 201088,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "intermediate_size": 2880,
        "num_local_experts": 32,
        "num_experts_per_tok": 4,
        "sliding_window": 128,
        "attention_bias": True,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
    }
    path = tmp_path / "gpt-oss-20b.json"
    path.write_text(json.dumps(config))
    (spec,) = import_files([path]).models
    assert spec["layers"] == [{"kinds": ["moe-window", "moe"], "repeat": 12}]
    assert spec["kinds"]["moe-window"]["window"] == 128
    assert load_model(spec) == load_model(path)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
def test_runs_of_layers_spell_the_layers(layers: list[str]) -> None:
    assert [name for run, count in _runs(layers) for _ in range(count) for name in run] == layers
