"""The model catalogue and our own model spec."""

import copy
from typing import Any

import pytest

import cases
from costmodels.architecture import Attention, LayerKind, Mlp, Model
from planner.specs import ModelSpec, load_model
from planner.specs.errors import SpecError

# In billions, all weights and those a token reads: counts of the makers' papers or checkpoints.
PUBLISHED = {
    "llama-2-70b": (68.98, 68.98),  # checkpoint: 68,976,648,192
    "deepseek-v2": (235.74, 21.38),  # arXiv 2405.04434: 236 B, 21 B
    "moonlight-16b-a3b": (15.96, 2.91),  # checkpoint: 15.96 B; arXiv 2502.16982: 2.24 B without embeddings
    "qwen2.5-7b": (7.616, 7.616),  # checkpoint: 7,615,616,512
    "qwen2.5-32b": (32.764, 32.764),  # checkpoint: 32,763,876,352
    "qwen2-57b-a14b": (57.41, 14.25),  # checkpoint: 57,409,202,816
    "gpt3-175b": (174.6, 174.6),  # arXiv 2005.14165, table 2.1
    "nemotron-4-15b": (15.6, 15.6),  # arXiv 2402.16819, table 1: 3.2 B embedding + 12.5 B
    "nemotron-4-340b": (341.0, 341.0),  # arXiv 2406.11704, table 1: 9.4 B embedding + 331.6 B
    "mixtral-8x22b-g8t8": (140.6, 22.3),  # split experts: as many weights as Mixtral 8x22B, an eighth of each
}
ALIASES = {
    "llama-3.1-405b": "llama-3.1-405b",
    "llama3.1-405b": "llama-3.1-405b",
    "Llama31_405B": "llama-3.1-405b",
    "meta-llama/Llama-3.1-405B": "llama-3.1-405b",
    "meta-llama/Meta-Llama-3.1-405B": "llama-3.1-405b",
    "llama3_8b": "llama-3-8b",
    "Llama-3.1-8B": "llama-3-8b",
    "deepseek-v3": "deepseek-v3",
    "DeepSeek-V3": "deepseek-v3",
    "mistralai/Mixtral-8x7B-v0.1": "mixtral-8x7b",
    "moonlight_16b": "moonlight-16b-a3b",
    "grok1_314b": "grok-1",
    "kimi_k2": "kimi-k2",
    "qwen25_7b": "qwen2.5-7b",
    "nemotron4_340b": "nemotron-4-340b",
}
SPEC: dict[str, Any] = {
    "name": "tiny",
    "hidden": 64,
    "vocabulary": 1000,
    "norm": "layernorm",
    "attention": {"heads": 4, "kv_heads": 2, "head_dim": 16},
    "kinds": {"wide": {"mlp": {"ffn": 128}}, "near": {"window": 32, "mlp": {"ffn": 128, "gated": False}}},
    "layers": [{"kinds": ["near", "wide"], "repeat": 2}, {"kinds": ["wide"]}],
    "mtp": {"kind": "wide"},
}


def refusals(spec: dict[str, Any] | str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_model(spec)
    return [str(problem) for problem in caught.value.problems]


def changed(*path: str | int, to: object) -> dict[str, Any]:
    result = copy.deepcopy(SPEC)
    place: Any = result
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    return result


@pytest.mark.parametrize(("name", "total", "active"), [(n, *c) for n, c in PUBLISHED.items()])
def test_catalogue_models_have_their_published_size(name: str, total: float, active: float) -> None:
    model = load_model(name)
    assert model.total_parameters / 1e9 == pytest.approx(total, rel=0.005)
    assert model.active_parameters / 1e9 == pytest.approx(active, rel=0.005)


@pytest.mark.parametrize(("name", "count"), [("mpt-7b", 6_658_859_008), ("mpt-13b", 12_853_954_560)])
def test_mpt_has_biases_and_learned_positions(name: str, count: int) -> None:
    """Counts that llm-foundry's benchmark tables print for 2,048 positions."""
    assert load_model(name).total_parameters == count


@pytest.mark.parametrize("name", cases.model_names())
def test_every_model_of_the_catalogue_loads_and_names_its_source(name: str) -> None:
    model = load_model(name)
    assert 1e8 < model.active_parameters <= model.total_parameters
    assert "source: " in cases.model_path(name).read_text()


@pytest.mark.parametrize(("written", "name"), ALIASES.items())
def test_names_are_forgiving(written: str, name: str) -> None:
    assert load_model(written) == load_model(name)


def test_every_alias_leads_to_a_model_and_hides_none() -> None:
    assert set(cases.model_aliases().values()) <= set(cases.model_names())
    assert not set(cases.model_aliases()) & set(cases.model_names())


def test_an_unknown_name_brings_the_nearest() -> None:
    (text,) = refusals("llama-3.1-450b")
    assert "did you mean 'llama-3.1-405b'" in text


def test_a_known_but_unsupported_model_says_why() -> None:
    assert refusals("nvidia/Nemotron-H-56B") == [
        "model: 'nvidia/Nemotron-H-56B': is not supported: state-space (Mamba) layers"
    ]


def test_a_spec_becomes_the_model_it_describes() -> None:
    """Every field by hand: a LayerNorm has 2 x 64 weights, a prediction layer three more of them."""
    attention = Attention(heads=4, kv_heads=2, head_dim=16, value_dim=16)
    near = Attention(heads=4, kv_heads=2, head_dim=16, value_dim=16, window=32)
    assert load_model(SPEC) == Model(
        name="tiny",
        hidden=64,
        vocabulary=1000,
        kinds=(
            LayerKind(name="wide", attention=attention, block=Mlp(ffn=128), norm_parameters=256),
            LayerKind(name="near", attention=near, block=Mlp(ffn=128, gated=False), norm_parameters=256),
            LayerKind(
                name="wide-mtp",
                attention=attention,
                block=Mlp(ffn=128),
                norm_parameters=256 + 3 * 128,
                extra_parameters=2 * 64 * 64,
            ),
        ),
        layers=(1, 0, 1, 0, 0),
        mtp_layers=(2,),
        final_norm_parameters=128,
    )


MOE = {"experts": 8, "top_k": 2, "ffn": 32}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (changed("attention", "kv_heads", to=3), "attention.kv_heads: 3: must divide heads, 4"),
        (changed("attention", "kv_lora_rank", to=8), "belongs to attention of kind mla only"),
        (
            changed("attention", to={"kind": "mla", "heads": 4, "head_dim": 16, "rope_dim": 8}),
            "kv_lora_rank: 0: must be",
        ),
        (
            changed("attention", to={"kind": "mla", "heads": 4, "head_dim": 16, "kv_lora_rank": 8}),
            "rope_dim: 0: must lie",
        ),
        (changed("attention", to=None), "has no attention"),
        (changed("kinds", "wide", to={}), "kinds.wide: 'wide': needs either mlp or moe"),
        (
            changed("kinds", "wide", to={"moe": {**MOE, "top_k": 9}}),
            "kinds.wide.moe.top_k: 9: is more than the 8 experts",
        ),
        (changed("kinds", "wide", to={"moe": {**MOE, "shared_gate": True}}), "needs shared experts"),
        (changed("kinds", "wide", "mpl", to={}), "kinds.wide.mpl: unknown key; did you mean 'mlp'?"),
        (
            changed("layers", 0, "kinds", to=["wode"]),
            "layers[0].kinds[0]: 'wode': is not among kinds; did you mean 'wide'?",
        ),
        (changed("layers", 0, "repeat", to=10_000), "layers: 20001: more than 10000 layers"),
        (changed("mtp", "kind", to="x"), "mtp.kind: 'x': is not among kinds"),
        (changed("hidden", to=-64), "hidden: -64: "),
        (changed("hidden", to="64"), "hidden: '64': "),
        (changed("norm", to="batchnorm"), "norm: 'batchnorm': "),
    ],
)
def test_a_mistake_is_named_with_key_value_and_remedy(spec: dict[str, Any], expected: str) -> None:
    assert any(expected in text for text in refusals(spec))


def test_the_schema_names_every_part_of_a_model() -> None:
    keys = set(ModelSpec.model_json_schema()["properties"])
    assert {"name", "hidden", "vocabulary", "kinds", "layers", "attention", "mtp"} <= keys
