"""Model FLOPs against published formulas and hand counts."""

import math
from dataclasses import replace

import numpy as np
import pytest

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from costmodels.configuration import Job
from costmodels.flops import mean_causal_keys, mfu, model_flops, token_multiply_adds
from costmodels.hardware import Cluster, Gpu, Link


def model_of(kind: LayerKind, layers: int, hidden: int, vocabulary: int) -> Model:
    return Model(name="m", hidden=hidden, vocabulary=vocabulary, kinds=(kind,), layers=(0,) * layers)


def test_gpt3_agrees_with_the_formula_of_narayanan_et_al() -> None:
    """arXiv 2104.04473 sec. 5.1 counts 96 B s l h^2 (1 + s/6h + V/16lh) with recomputation and full
    attention: without the second forward pass 72 B s l h^2 (1 + s/6h) + 6 B s h V, and half the
    attention term under a causal mask."""
    hidden, layers, length, vocabulary, batch = 12288, 96, 2048, 51200, 1536
    attention = Attention(heads=96, kv_heads=96, head_dim=128, value_dim=128)
    kind = LayerKind(
        name="gpt", attention=attention, block=Mlp(ffn=4 * hidden, gated=False), norm_parameters=4 * hidden
    )
    published = batch * length * layers * 72 * hidden**2 * (1 + length / (12 * hidden))
    published += 6 * batch * length * hidden * vocabulary
    job = Job(global_batch=batch, sequence_length=length)
    assert math.isclose(model_flops(model_of(kind, layers, hidden, vocabulary), job), published, rel_tol=1e-12)


def test_llama_3_8b_by_hand() -> None:
    """Layer: 2 x 4096^2 (q, o) + 2 x 4096 x 1024 (k, v) + 3 x 4096 x 14336 = 218,103,808 matrix
    entries; scores 32 heads x 256 x 4096 keys = 33,554,432; head 128256 x 4096 = 525,336,576."""
    attention = Attention(heads=32, kv_heads=8, head_dim=128, value_dim=128)
    kind = LayerKind(name="l", attention=attention, block=Mlp(ffn=14336), norm_parameters=8192)
    assert token_multiply_adds(kind, 4096, 8192) == 218_103_808 + 33_554_432
    total = 32 * (218_103_808 + 33_554_432) + 525_336_576
    job = Job(global_batch=4, sequence_length=8192)
    assert model_flops(model_of(kind, 32, 4096, 128256), job) == 6 * 4 * 8192 * total


def test_latent_attention_and_experts_by_hand() -> None:
    """h = 10, heads 2 of 4 + 2 rotary, values 3, ranks 5 and 7: q 10x5 + 5x12, kv 10x(7+2) +
    7x2x(4+3), out 6x10: 358 entries. Router 10x8, gate 10, three matrices of 10 x (2x6 + 9): 720."""
    attention = Attention(
        kind="mla", heads=2, kv_heads=2, head_dim=6, value_dim=3, q_lora_rank=5, kv_lora_rank=7, rope_dim=2
    )
    block = Moe(experts=8, top_k=2, ffn=6, shared_ffn=9, shared_gate=True)
    kind = LayerKind(name="e", attention=attention, block=block, norm_parameters=20)
    scores = 2 * (6 + 3) * 16
    assert token_multiply_adds(kind, 10, 32) == 358 + 720 + scores
    direct = replace(kind, attention=replace(attention, q_lora_rank=0))
    assert token_multiply_adds(direct, 10, 32) == 358 - 50 - 60 + 120 + 720 + scores


def test_a_prediction_layer_adds_itself_its_projection_and_the_head() -> None:
    """DeepSeek-V3 sec. 2.2: a layer, a 2h x h projection and the shared head, by hand for h = 8."""
    attention = Attention(heads=2, kv_heads=2, head_dim=4, value_dim=4)
    kind = LayerKind(name="l", attention=attention, block=Mlp(ffn=16), norm_parameters=16)
    plain = model_of(kind, 3, 8, 100)
    job = Job(global_batch=1, sequence_length=4)
    more = model_flops(replace(plain, mtp_layers=(0,)), job) - model_flops(plain, job)
    assert more == 6 * 4 * (token_multiply_adds(kind, 8, 4) + 2 * 64 + 800)


@pytest.mark.parametrize("window", [1, 100, 1000, 4096, 10000])
def test_mean_keys_is_the_integral_of_the_visible_past(window: int) -> None:
    """Second method: average min(x, window) over a fine grid of positions x."""
    length = 4096
    positions = (np.arange(400_000) + 0.5) * length / 400_000
    expected = float(np.minimum(positions, window).mean())
    assert math.isclose(mean_causal_keys(length, window), expected, rel_tol=1e-6)


def test_utilisation_is_flops_over_peak_by_hand() -> None:
    gpu = Gpu(
        name="g",
        architecture="hopper",
        memory_bytes=8e10,
        memory_bytes_per_second=3e12,
        peak_flops={"bf16": 1e15, "fp8": 2e15},
    )
    link = Link(bytes_per_second=1e11, latency_seconds=1e-6)
    cluster = Cluster(name="c", gpu=gpu, nodes=2, gpus_per_node=8, domain_gpus=8, scale_up=link, scale_out=link)
    attention = Attention(heads=2, kv_heads=2, head_dim=4, value_dim=4)
    model = model_of(LayerKind(name="l", attention=attention, block=Mlp(ffn=16), norm_parameters=16), 3, 8, 100)
    job = Job(global_batch=16, sequence_length=4)
    assert math.isclose(mfu(model, job, cluster, 2.0), model_flops(model, job) / 3.2e16, rel_tol=1e-12)
    fp8 = replace(job, precision="fp8")
    assert math.isclose(mfu(model, fp8, cluster, 2.0), model_flops(model, job) / 6.4e16, rel_tol=1e-12)
