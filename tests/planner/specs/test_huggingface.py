"""Hugging Face configs: parameter counts against those the makers published.

``stored`` is the number of weights in the checkpoint the hub reports, ``report`` a figure of the
maker's paper or model card, within 0.5 % or within the rounding it is printed with.
"""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from costmodels.architecture import Model, Moe
from planner.specs import load_model
from planner.specs.errors import SpecError
from tests.planner.specs.configs import CONFIGS

STORED = {
    # Model card's "Safetensors" figure, all weights.
    "meta-llama/Meta-Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Meta-Llama-3.1-70B": 70_553_706_496,
    "meta-llama/Meta-Llama-3.1-405B": 405_853_388_800,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "mistralai/Mixtral-8x22B-v0.1": 140_620_634_112,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": 480_154_875_392,
}
TOTAL = {
    # In billions: maker's figure, half a unit of its last digit, what it counts.
    "deepseek-ai/DeepSeek-V3": (671.0, 0.5),  # README_WEIGHTS.md: main model, MTP apart
    "moonshotai/Kimi-K2-Instruct": (1026.0, 0.5),  # model card's safetensors figure, 1,026 B
    "openai/gpt-oss-120b": (116.83, 0.005),  # arXiv 2508.10925, table 1
    "openai/gpt-oss-20b": (20.91, 0.005),  # arXiv 2508.10925, table 1
    "MiniMaxAI/MiniMax-M2.5": (228.7, 0.05),  # model card's safetensors figure
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": (107.77, 0.005),  # see the vision tower below
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": (400.71, 0.005),  # see the vision tower below
}
WITH_EMBEDDINGS, WITHOUT_INPUT, WITHOUT_BOTH = "all", "but the input embedding", "but both embeddings"
ACTIVE = {
    # In billions: maker's figure, half a unit of its last digit, what it counts.
    "mistralai/Mixtral-8x7B-v0.1": (12.9, 0.05, WITH_EMBEDDINGS),  # arXiv 2401.04088, table 2: 13B; blog: 12.9B
    "mistralai/Mixtral-8x22B-v0.1": (39.1, 0.1, WITH_EMBEDDINGS),  # blog: 39B
    "Qwen/Qwen3-30B-A3B": (3.3, 0.06, WITH_EMBEDDINGS),  # model card
    "Qwen/Qwen3-235B-A22B": (22.0, 0.5, WITH_EMBEDDINGS),  # model card
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": (35.0, 0.5, WITH_EMBEDDINGS),  # model card
    "deepseek-ai/DeepSeek-V3": (36.6, 0.05, WITHOUT_INPUT),  # README_WEIGHTS.md: "including 0.9B for the output Head"
    "openai/gpt-oss-120b": (5.13, 0.005, WITHOUT_INPUT),  # arXiv 2508.10925, table 1
    "openai/gpt-oss-20b": (3.61, 0.005, WITHOUT_INPUT),  # arXiv 2508.10925, table 1
    "zai-org/GLM-4.5-Air": (12.0, 0.5, WITHOUT_BOTH),  # arXiv 2508.06471, table 1, embeddings not counted
    "MiniMaxAI/MiniMax-M2.5": (10.0, 0.5, WITHOUT_BOTH),  # model card
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": (17.0, 0.5, WITH_EMBEDDINGS),  # model card
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": (17.0, 0.5, WITH_EMBEDDINGS),  # model card
}
REFUSED = {
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "state-space (Mamba) layers",
    "nvidia/Nemotron-H-56B-Base-8K": "state-space (Mamba) layers",
    "deepseek-ai/DeepSeek-V3.2": "sparse attention with a learned indexer",
    "deepseek-ai/DeepSeek-V4-Flash": "hyper-connections",
    "zai-org/GLM-5": "sparse attention with a learned indexer",
    "google/gemma-4-26B-A4B": "keys that serve as values",
}


def loaded(name: str, **changes: object) -> Model:
    return load_model({**CONFIGS[name], **changes})


def refusals(config: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_model(config)
    return [str(problem) for problem in caught.value.problems]


def test_every_config_is_either_loaded_or_refused() -> None:
    assert len(CONFIGS) == 24
    assert set(CONFIGS) == {*STORED, *TOTAL, "zai-org/GLM-4.5-Air", *REFUSED}


@pytest.mark.parametrize(("name", "count"), STORED.items())
def test_total_equals_the_stored_weights(name: str, count: int) -> None:
    assert loaded(name).total_parameters == count


@pytest.mark.parametrize(("name", "billions", "rounding"), [(n, *f) for n, f in TOTAL.items()])
def test_total_agrees_with_the_makers_figure(name: str, billions: float, rounding: float) -> None:
    total = loaded(name).total_parameters / 1e9
    assert total == pytest.approx(billions, rel=0.005)
    assert total == pytest.approx(billions, abs=rounding)


@pytest.mark.parametrize(("name", "billions", "rounding", "counted"), [(n, *f) for n, f in ACTIVE.items()])
def test_active_agrees_with_the_makers_figure(name: str, billions: float, rounding: float, counted: str) -> None:
    model = loaded(name)
    left_out = {WITH_EMBEDDINGS: 0, WITHOUT_INPUT: 1, WITHOUT_BOTH: 2}[counted] * model.embedding_parameters
    assert (model.active_parameters - left_out) / 1e9 == pytest.approx(billions, abs=max(rounding, 0.005 * billions))


@pytest.mark.parametrize("name", [n for n in STORED if "Mixtral" not in n and "-A" not in n])
def test_all_of_a_dense_model_is_active(name: str) -> None:
    assert loaded(name).active_parameters == STORED[name]


def test_kimis_figure_leaves_the_routers_out() -> None:
    """arXiv 2507.20534, table 2: 32.6 B activated; the routers of 60 layers are 384 x 7168 each."""
    active = loaded("moonshotai/Kimi-K2-Instruct").active_parameters - 60 * 384 * 7168
    assert active / 1e9 == pytest.approx(32.6, rel=0.005)


def test_both_llama4_checkpoints_store_the_same_vision_tower_beside_the_model() -> None:
    """The hub counts 108,641,793,536 and 401,583,781,376 weights: 34 layers of vision are in both."""
    scout = loaded("meta-llama/Llama-4-Scout-17B-16E-Instruct").total_parameters
    maverick = loaded("meta-llama/Llama-4-Maverick-17B-128E-Instruct").total_parameters
    assert 108_641_793_536 - scout == 401_583_781_376 - maverick


def test_glms_checkpoint_stores_its_prediction_layer_with_embeddings_of_its_own() -> None:
    """The hub counts 110,468,824,832 weights: the model, the MTP layer, and its copies of both embeddings."""
    model = loaded("zai-org/GLM-4.5-Air")
    mtp = model.kinds[model.mtp_layers[0]].parameters(model.hidden)
    assert model.total_parameters + mtp + 2 * model.embedding_parameters == 110_468_824_832


def test_deepseeks_checkpoint_stores_its_prediction_layer_with_embeddings_of_its_own() -> None:
    """The hub counts 684.53 B: also one scale for each 128 x 128 block of the FP8 weights."""
    model = loaded("deepseek-ai/DeepSeek-V3")
    mtp = model.kinds[model.mtp_layers[0]].parameters(model.hidden)
    stored = model.total_parameters + mtp + 2 * model.embedding_parameters
    assert stored * (1 + 1 / 128**2) / 1e9 == pytest.approx(684.53, abs=0.01)


@pytest.mark.parametrize("name", [n for n in CONFIGS if n not in REFUSED])
def test_the_catalogue_holds_the_same_model(name: str) -> None:
    """Two transcriptions: our YAML, and the config through the reader."""
    assert replace(load_model(name), name="") == replace(loaded(name), name="")


@pytest.mark.parametrize(("name", "part"), REFUSED.items())
def test_what_cannot_be_described_is_refused_by_name(name: str, part: str) -> None:
    assert any(f"unsupported part: {part}" in text for text in refusals(CONFIGS[name]))


def test_an_unknown_model_type_brings_the_nearest() -> None:
    (text,) = refusals({**CONFIGS["Qwen/Qwen3-8B"], "model_type": "qwen4"})
    assert text.startswith("model: model_type: 'qwen4': unsupported model type; did you mean 'qwen")


def test_gpt_oss_alternates_windows_and_has_biases_everywhere() -> None:
    model = loaded("openai/gpt-oss-20b")
    first, second = (model.kinds[k] for k in model.layers[:2])
    assert (first.attention.window, second.attention.window) == (128, None)
    assert first.attention.sinks
    assert first.attention.qkv_bias
    assert first.attention.out_bias
    assert isinstance(first.block, Moe)
    assert first.block.bias
    assert first.block.router_bias


def test_gpt_oss_without_layer_types_is_the_same_model() -> None:
    config = {k: v for k, v in CONFIGS["openai/gpt-oss-20b"].items() if k != "layer_types"}
    assert load_model(config) == loaded("openai/gpt-oss-20b")


def test_llama4_maverick_has_experts_in_every_other_layer_and_full_attention_in_every_fourth() -> None:
    model = loaded("meta-llama/Llama-4-Maverick-17B-128E-Instruct")
    layers = [model.kinds[k] for k in model.layers]
    assert [isinstance(layer.block, Moe) for layer in layers[:4]] == [False, True, False, True]
    assert [layer.attention.window for layer in layers[:4]] == [8192, 8192, 8192, None]


def test_deepseek_starts_dense_and_ends_with_a_prediction_layer() -> None:
    model = loaded("deepseek-ai/DeepSeek-V3")
    assert [isinstance(model.kinds[k].block, Moe) for k in model.layers] == [False] * 3 + [True] * 58
    (mtp,) = (model.kinds[k] for k in model.mtp_layers)
    assert mtp.extra_parameters == 2 * 7168**2


def test_glm_biases_queries_keys_and_values_only() -> None:
    attention = loaded("zai-org/GLM-4.5-Air").kinds[0].attention
    assert (attention.qkv_bias, attention.out_bias, attention.qk_norm) == (True, False, "none")


def test_windows_of_qwen_start_at_a_layer() -> None:
    model = loaded("Qwen/Qwen3-8B", use_sliding_window=True, max_window_layers=30, sliding_window=4096)
    windows = [model.kinds[k].attention.window for k in model.layers]
    assert windows == [None] * 30 + [4096] * 6


def test_the_head_width_follows_from_hidden_size_when_not_given() -> None:
    assert loaded("meta-llama/Meta-Llama-3.1-8B").kinds[0].attention.head_dim == 128


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("Qwen/Qwen3-8B", {"num_key_value_heads": 5}, "num_key_value_heads: 5: must divide num_attention_heads, 32"),
        ("meta-llama/Meta-Llama-3.1-8B", {"num_attention_heads": 24}, "must divide hidden_size, 4096"),
        ("Qwen/Qwen3-8B", {"hidden_size": -4096}, "hidden_size: -4096: must be a whole number from 1"),
        ("Qwen/Qwen3-8B", {"hidden_size": 4096.0}, "hidden_size: 4096.0: must be a whole number"),
        ("Qwen/Qwen3-8B", {"hidden_size": "4096"}, "hidden_size: '4096': must be a whole number"),
        ("Qwen/Qwen3-8B", {"hidden_size": True}, "hidden_size: True: must be a whole number"),
        ("Qwen/Qwen3-8B", {"hidden_size": float("nan")}, "hidden_size: nan: must be a whole number"),
        ("Qwen/Qwen3-8B", {"hidden_size": None}, "hidden_size: None: missing"),
        ("Qwen/Qwen3-8B", {"num_hidden_layers": 10**9}, "must be a whole number from 1 to 10000"),
        ("Qwen/Qwen3-8B", {"tie_word_embeddings": "no"}, "tie_word_embeddings: 'no': must be true or false"),
        ("Qwen/Qwen3-8B", {"num_experts": 8}, "experts are unsupported in this model type"),
        ("Qwen/Qwen3-30B-A3B", {"num_experts_per_tok": 129}, "num_experts_per_tok: 129: is more than the 128 experts"),
        ("Qwen/Qwen3-30B-A3B", {"mlp_only_layers": [48]}, "must be a list of layer numbers from 0 to 47"),
        ("Qwen/Qwen3-30B-A3B", {"n_routed_experts": 64}, "n_routed_experts: 64: contradicts num_experts, 128"),
        ("deepseek-ai/DeepSeek-V3", {"kv_lora_rank": 0}, "kv_lora_rank: 0: must be a whole number from 1"),
        ("deepseek-ai/DeepSeek-V3", {"attention_bias": True}, "unsupported part: biases in latent attention"),
        ("openai/gpt-oss-20b", {"layer_types": ["full_attention"]}, "must be a list of 24 values"),
        ("openai/gpt-oss-20b", {"layer_types": ["mamba"] * 24}, "unsupported value 'mamba'"),
    ],
)  # fmt: skip
def test_what_does_not_add_up_is_refused(name: str, changes: dict[str, object], expected: str) -> None:
    assert any(expected in text for text in refusals({**CONFIGS[name], **changes}))


def test_all_problems_come_at_once() -> None:
    config = {**CONFIGS["Qwen/Qwen3-30B-A3B"], "vocab_size": 0, "num_experts": "many", "hidden_size": None}
    assert {text.split(": ")[1] for text in refusals(config)} >= {"vocab_size", "num_experts", "hidden_size"}


def test_the_name_comes_from_the_folder_or_the_file(tmp_path: Path) -> None:
    path = tmp_path / "Qwen3-8B" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(CONFIGS["Qwen/Qwen3-8B"]))
    assert load_model(path).name == "Qwen3-8B"
    assert load_model(str(path)).total_parameters == STORED["Qwen/Qwen3-8B"]


def test_a_text_config_is_read_and_named_in_problems() -> None:
    config = copy.deepcopy(CONFIGS["meta-llama/Llama-4-Scout-17B-16E-Instruct"])
    config["text_config"]["hidden_size"] = 0
    assert any(text.startswith("model: text_config.hidden_size: 0: ") for text in refusals(config))
