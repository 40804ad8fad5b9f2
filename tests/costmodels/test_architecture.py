"""Parameter counts by hand, shape by shape, on sizes small enough to multiply on paper."""

import pytest

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe

GQA = Attention(heads=4, kv_heads=2, head_dim=8, value_dim=8)
MLA = Attention(kind="mla", heads=4, kv_heads=4, head_dim=12, value_dim=8, q_lora_rank=6, kv_lora_rank=5, rope_dim=4)


def test_grouped_query_attention() -> None:
    """hidden 10: q 10 x 32, k and v 10 x 16 each, out 32 x 10."""
    assert GQA.parameters(10) == 320 + 160 + 160 + 320


@pytest.mark.parametrize(
    ("changes", "extra"),
    [
        ({"qkv_bias": True}, 32 + 16 + 16),
        ({"out_bias": True}, 10),
        ({"qk_norm": "head"}, 8 + 8),
        ({"qk_norm": "full"}, 32 + 16),
        ({"sinks": True}, 4),
    ],
)
def test_biases_norms_and_sinks_of_attention(changes: dict[str, object], extra: int) -> None:
    fields = {"heads": 4, "kv_heads": 2, "head_dim": 8, "value_dim": 8, **changes}
    assert Attention(**fields).parameters(10) == GQA.parameters(10) + extra  # type: ignore[arg-type]


def test_latent_attention() -> None:
    """hidden 10: q 10 x 6, its norm 6, 6 x 48; latent 10 x (5 + 4), its norm 5, up 5 x 4 x (8 + 8); out 32 x 10."""
    assert MLA.parameters(10) == (60 + 6 + 288) + (90 + 5 + 320) + 320


def test_latent_attention_with_direct_queries() -> None:
    direct = Attention(kind="mla", heads=4, kv_heads=4, head_dim=12, value_dim=8, kv_lora_rank=5, rope_dim=4)
    assert direct.parameters(10) == 10 * 48 + (90 + 5 + 320) + 320


def test_feed_forward() -> None:
    assert Mlp(ffn=30).parameters(10) == 3 * 300
    assert Mlp(ffn=30, gated=False).parameters(10) == 2 * 300
    assert Mlp(ffn=30, bias=True).parameters(10) == 900 + 30 + 30 + 10


def test_experts() -> None:
    moe = Moe(experts=8, top_k=2, ffn=5, shared_ffn=6, shared_gate=True, router_bias=True)
    assert moe.expert_parameters(10) == 150
    assert moe.shared_parameters(10) == 180 + 10 + 8 * (10 + 1)


def test_a_token_reads_its_experts_only() -> None:
    kind = LayerKind(name="moe", attention=GQA, block=Moe(experts=8, top_k=2, ffn=5), norm_parameters=20)
    outside = 960 + 80 + 20
    assert kind.parameters(10) == outside + 8 * 150
    assert kind.active_parameters(10) == outside + 2 * 150


def test_a_model_is_its_layers_embeddings_and_last_norm() -> None:
    dense = LayerKind(name="dense", attention=GQA, block=Mlp(ffn=30), norm_parameters=20)
    mtp = LayerKind(name="mtp", attention=GQA, block=Mlp(ffn=30), norm_parameters=50, extra_parameters=200)
    layer = 960 + 900 + 20
    model = Model(
        name="m", hidden=10, vocabulary=100, kinds=(dense, mtp), layers=(0, 0, 0), mtp_layers=(1,),
        positions=16, final_norm_parameters=10,
    )  # fmt: skip
    assert model.total_parameters == 3 * layer + (100 + 16) * 10 + 100 * 10 + 10
    assert model.active_parameters == model.total_parameters
    assert mtp.parameters(10) == layer + 30 + 200
    tied = Model(name="m", hidden=10, vocabulary=100, kinds=(dense,), layers=(0,), tied_embeddings=True)
    assert tied.total_parameters == layer + 1000
