"""Models from Megatron-LM arguments, against parameter counts worked out by hand."""

from typing import Any

import pytest

from costmodels.architecture import Mlp, Moe
from planner.readers.published.cells import Refusal
from planner.readers.published.megatron import megatron_model

CI_GPT: dict[str, Any] = {
    "num-layers": 12,
    "hidden-size": 512,
    "num-attention-heads": 8,
    "max-position-embeddings": 1024,
    "vocab-file": "vocab.json",
}


def test_the_ci_gpt_has_the_parameters_of_a_hand_count() -> None:
    """By hand: a layer is 12 h^2 + 13 h (biases and two LayerNorms), the vocabulary 50,257 padded to
    50,304, positions 1,024, one final LayerNorm, output embedding tied."""
    assumed: list[str] = []
    model = megatron_model("gpt3", CI_GPT, 1, assumed)
    hidden = 512
    layer = 12 * hidden**2 + 13 * hidden
    assert model.vocabulary == 50304
    assert model.total_parameters == 12 * layer + (50304 + 1024) * hidden + 2 * hidden
    assert assumed == ["a vocabulary of 50257 tokens"]


def test_the_vocabulary_is_padded_to_128_times_tp() -> None:
    assert megatron_model("gpt3", CI_GPT, 8, []).vocabulary == 51200  # GPT-3's well-known padding


def test_flags_change_the_layer() -> None:
    arguments = CI_GPT | {
        "swiglu": True,
        "disable-bias-linear": True,
        "group-query-attention": True,
        "num-query-groups": 2,
        "normalization": "RMSNorm",
        "position-embedding-type": "rope",
        "untie-embeddings-and-output-weights": True,
        "qk-layernorm": True,
    }
    model = megatron_model("gpt3", arguments, 1, [])
    kind = model.kinds[0]
    assert kind.block == Mlp(ffn=1344, gated=True)  # 4 h x 2/3 = 1365, down to a multiple of 64
    assert (kind.attention.kv_heads, kind.attention.head_dim) == (2, 64)
    assert kind.attention.qk_norm == "head"
    assert not kind.attention.qkv_bias
    assert kind.norm_parameters == 2 * 512
    assert model.positions == 0
    assert not model.tied_embeddings


def test_experts_stand_where_the_frequency_pattern_puts_them() -> None:
    arguments = CI_GPT | {
        "num-layers": 16,
        "num-experts": 32,
        "moe-router-topk": 4,
        "moe-ffn-hidden-size": 1024,
        "moe-shared-expert-intermediate-size": 512,
        "moe-layer-freq": "([0]*1+[1]*15)",
        "mtp-num-layers": 1,
    }
    model = megatron_model("moe", arguments, 1, [])
    assert model.layers == (0, *(1,) * 15)
    block = model.kinds[1].block
    assert isinstance(block, Moe)
    assert (block.experts, block.top_k, block.ffn, block.shared_ffn) == (32, 4, 1024, 512)
    assert model.mtp_layers == (2,)
    assert model.kinds[2].block == block
    assert model.kinds[2].extra_parameters > 2 * 512 * 512


def test_latent_attention_takes_its_ranks() -> None:
    arguments = CI_GPT | {
        "multi-latent-attention": True,
        "q-lora-rank": 1536,
        "kv-lora-rank": 512,
        "qk-head-dim": 128,
        "qk-pos-emb-head-dim": 64,
        "v-head-dim": 128,
    }
    attention = megatron_model("mla", arguments, 1, []).kinds[0].attention
    assert (attention.kind, attention.head_dim, attention.value_dim) == ("mla", 192, 128)
    assert (attention.q_lora_rank, attention.kv_lora_rank, attention.rope_dim) == (1536, 512, 64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num-attention-heads": 7}, "does not divide"),
        ({"num-experts": 2, "moe-router-topk": 4}, "more than 2 experts"),
        ({"num-experts": 4, "moe-layer-freq": "([0]*3+[1]*12)"}, "15 layers of 12"),
        ({"num-experts": 4, "moe-layer-freq": "lambda"}, "moe-layer-freq"),
        ({"moe-latent-size": 1024}, "moe-latent-size"),
        ({"hidden-size": "many"}, "hidden-size"),
    ],
)
def test_what_does_not_add_up_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        megatron_model("gpt3", CI_GPT | change, 1, [])
