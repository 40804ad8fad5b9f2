"""FLOPs, bytes moved, bytes sent and bytes kept of every kind of layer, against counts by hand.

Each test makes one resource the only one that costs time, at 1 a second (``tests.bare``), so an item's
seconds are its FLOPs or bytes. Sizes are unlike one another, so that no two terms can be confused.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.flops import block_weights, projection_weights
from costmodels.items import ItemCosts, item_costs
from costmodels.operators import System
from tests.bare import bare_calibration, bare_cluster

H, S, B = 160, 48, 3  # hidden, sequence, sequences per micro-batch
T = S * B
GQA = Attention(heads=8, kv_heads=4, head_dim=24, value_dim=20)
MLA = Attention(
    kind="mla", heads=8, kv_heads=8, head_dim=24, value_dim=20, q_lora_rank=56, kv_lora_rank=40, rope_dim=16
)
DIRECT = Attention(kind="mla", heads=8, kv_heads=8, head_dim=24, value_dim=20, kv_lora_rank=40, rope_dim=16)
WINDOW = Attention(heads=8, kv_heads=4, head_dim=24, value_dim=20, window=7)
GATED, PLAIN = Mlp(ffn=416), Mlp(ffn=416, gated=False)
MOE = Moe(experts=8, top_k=3, ffn=72, shared_ffn=88)
BARE_MOE = Moe(experts=8, top_k=3, ffn=72, gated=False)
VOCABULARY, PADDED = 1000, 1024  # to a multiple of 128 x tp; the same for tp of 1 to 8


def model(attention: Attention, block: Mlp | Moe, mtp: int = 0) -> Model:
    kind = LayerKind(
        name="layer", attention=attention, block=block, norm_parameters=2 * H, extra_parameters=2 * H * H + 2 * H
    )
    return Model(
        name="m", hidden=H, vocabulary=VOCABULARY, kinds=(kind,), layers=(0,), mtp_layers=(0,) * mtp, positions=9
    )


@dataclass(frozen=True)
class Count:
    """Of one item: forward, input gradient, weight gradient."""

    forward: float
    input_grad: float
    weight_grad: float
    costs: ItemCosts


def count(of: Model, resource: str, item: int = 1, *, degrees: dict[str, int] | None = None, **job: object) -> Count:
    """``resource`` of ``tests.bare.bare_cluster`` that an item uses on one rank."""
    figures = {k: job.pop(k) for k in list(job) if k not in Job.__slots__}
    machine = bare_cluster(**{resource: 1.0})  # type: ignore[arg-type]
    task = Job(**{"global_batch": 24, "sequence_length": S, **job})  # type: ignore[arg-type]
    system = System(
        cluster=machine,
        calibration=bare_calibration(**figures),  # type: ignore[arg-type]
        precision=task.precision,
        tensor_overlap=task.tensor_overlap,
    )
    shards = Columns.of([Configuration(**{"mbs": B, **(degrees or {})})]).shards()[0]  # type: ignore[arg-type]
    costs = item_costs(of, task, shards, system, ("none", "selective", "full"))
    passes = (costs.forward_seconds, costs.input_grad_seconds, costs.weight_grad_seconds)
    return Count(*(float(table[item, 0]) for table in passes), costs)


# -- FLOPs: against costmodels.flops ------------------------------------------------------------

CASES = [(GQA, GATED), (GQA, PLAIN), (MLA, GATED), (DIRECT, GATED), (WINDOW, GATED), (GQA, MOE), (GQA, BARE_MOE)]


def score_flops(attention: Attention) -> float:
    """Queries counted one at a time: 2 (qk + v) a pair and head."""
    pairs = B * sum(min(query + 1, attention.window or S) for query in range(S))
    return 2.0 * attention.heads * (attention.head_dim + attention.value_dim) * pairs


@pytest.mark.parametrize(("attention", "block"), CASES)
@pytest.mark.parametrize(
    "degrees", [{}, {"tp": 2, "sp": 1}, {"tp": 4, "sp": 1, "cp": 2}, {"cp": 2}], ids=lambda d: str(d)
)
def test_a_layers_flops_are_those_of_the_model_flops_count(
    attention: Attention, block: Mlp | Moe, degrees: dict[str, int]
) -> None:
    """Second method: matrix entries of ``costmodels.flops`` x 2 x tokens, scores counted by query;
    divided evenly by the ranks. Both gradients of a GEMM cost as much as it does."""
    of = model(attention, block)
    gemms = 2.0 * T * (projection_weights(attention, H) + block_weights(of.kinds[0], H))
    ranks = degrees.get("tp", 1) * degrees.get("cp", 1)
    found = count(of, "flops", degrees=degrees)
    assert found.forward * ranks == pytest.approx(gemms + score_flops(attention))
    assert found.input_grad * ranks == pytest.approx(gemms + 2 * score_flops(attention))
    assert found.weight_grad * ranks == pytest.approx(gemms)


@pytest.mark.parametrize("degrees", [{"ep": 2}, {"ep": 4}, {"etp": 2}, {"ep": 2, "etp": 4}])
def test_expert_flops_of_a_rank_stay_the_same_however_experts_are_spread(degrees: dict[str, int]) -> None:
    """By hand: ep x etp ranks bring as many times the tokens to as many times the weights."""
    assert count(model(GQA, MOE), "flops", degrees=degrees).forward == pytest.approx(
        count(model(GQA, MOE), "flops").forward
    )


def test_the_busiest_rank_computes_expert_imbalance_times_the_routed_tokens() -> None:
    """By hand: only the 3 x 2 h f (gated) of each of T k copies grow, by half."""
    more = count(model(GQA, MOE), "flops", expert_imbalance=1.5).forward - count(model(GQA, MOE), "flops").forward
    assert more == pytest.approx(0.5 * T * MOE.top_k * 3 * 2 * H * MOE.ffn)


def test_latent_down_projections_and_router_see_all_tokens_without_sequence_parallelism() -> None:
    """By hand: whole on both tensor ranks, everything else halved."""
    whole, half = count(model(MLA, GATED), "flops"), count(model(MLA, GATED), "flops", degrees={"tp": 2})
    down = 2.0 * T * H * (MLA.q_lora_rank + MLA.kv_lora_rank + MLA.rope_dim)
    assert half.forward == pytest.approx((whole.forward + down) / 2)
    whole, half = count(model(GQA, MOE), "flops"), count(model(GQA, MOE), "flops", degrees={"tp": 2})
    router, routed = 2.0 * T * H * MOE.experts, 2.0 * T * MOE.top_k * 3 * H * MOE.ffn
    assert half.forward == pytest.approx((whole.forward + router + routed) / 2)


def test_latent_attention_has_keys_and_values_for_every_head_whatever_kv_heads_says() -> None:
    """Definition (DeepSeek-V2, arXiv 2405.04434 sec. 2.1): a configuration may say 1 (as MQA) or all."""
    all_heads, one = (
        item_costs(
            model(replace(MLA, kv_heads=kv_heads), GATED),
            Job(global_batch=24, sequence_length=S),
            Columns.of([Configuration(cp=2)]).shards()[0],
            System(cluster=bare_cluster(up=1.0), calibration=bare_calibration(), precision="bf16"),
        )
        for kv_heads in (8, 1)
    )
    assert one.exposed["context"][1, 0] == all_heads.exposed["context"][1, 0] > 0
    assert one.saved_bytes[0, 1, 0] == all_heads.saved_bytes[0, 1, 0]


@pytest.mark.parametrize("tp", [1, 4])
def test_embedding_head_and_prediction_layer(tp: int) -> None:
    """By hand: a lookup multiplies nothing; logits 2 T h v, v padded; a prediction layer adds its
    [2h, h] projection and the head once more (DeepSeek-V3, arXiv 2412.19437 sec. 2.2)."""
    of = model(GQA, GATED, mtp=1)
    degrees = {"tp": tp, "sp": int(tp > 1)}
    head = 2.0 * T * H * PADDED / tp
    found = [count(of, "flops", item, degrees=degrees).forward for item in range(4)]
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found[3] == pytest.approx(head)
    assert found[2] == pytest.approx(found[1] + head + 2.0 * T * 2 * H * H / tp)


def test_narrow_precision_speeds_up_all_gemms_but_router_and_head() -> None:
    """By hand, twice as fast in fp8 at the bf16 peak it is derived from; attention stays in bf16."""
    of = model(GQA, MOE)
    wide = [count(of, "flops", item).forward for item in (1, 2)]
    narrow = [count(of, "flops", item, precision="fp8").forward for item in (1, 2)]
    router = 2.0 * T * H * MOE.experts
    assert narrow[0] == pytest.approx((wide[0] + router + score_flops(GQA)) / 2)
    assert narrow[1] == wide[1]


# -- bytes through memory -----------------------------------------------------------------------


def gemm(m: float, n: float, k: float) -> float:
    return 2.0 * (m * k + k * n + m * n)


@pytest.mark.parametrize("tp", [1, 2])
def test_bytes_that_a_dense_layer_moves_through_memory(tp: int) -> None:
    """By hand, operator by operator: [s b h] tensors in bf16; norms 2 reads or writes forward and 3
    backward, residuals 3 and 2, rotary 2 and 2, gated activation 3 and 5, GEMMs their matrices."""
    q, kv, v = 8 * 24 / tp, 4 * (24 + 20) / tp, 8 * 20 / tp
    f, local = 416 / tp, T / tp
    rotated = 2.0 * T * (q + 4 * 24 / tp)
    core = 2.0 * B * 8 / tp * (S + (S + 1) / 2) * (24 + 20)
    gemms = gemm(T, q + kv, H) + gemm(T, H, v) + gemm(T, 2 * f, H) + gemm(T, H, f)
    norm = 2.0 * local * H
    found = count(model(GQA, GATED), "memory", degrees={"tp": tp, "sp": int(tp > 1)})
    assert found.forward == pytest.approx(gemms + core + 2 * rotated + (2 + 3) * 2 * norm + 3 * 2.0 * T * f)
    assert found.input_grad == pytest.approx(gemms + 2 * core + 2 * rotated + (3 + 2) * 2 * norm + 5 * 2.0 * T * f)
    assert found.weight_grad == pytest.approx(gemms)


def test_bytes_that_an_expert_block_moves_through_memory() -> None:
    """By hand, beside what attention moves: fp32 scores 4 passes, permutation and its inverse 4 each,
    weights of every local expert, no norm before the shared expert."""
    ep, experts, k, f, shared = 2, 4, 3, 72, 88
    copies = T * k * 1.5
    grouped = experts * (gemm(copies / experts, 2 * f, H) + gemm(copies / experts, H, f))
    gemms = gemm(T, 8, H) + grouped + gemm(T, 2 * shared, H) + gemm(T, H, shared)
    others = 4 * 4.0 * T * 8 + 2 * 4 * 2.0 * T * k * 1.5 * H
    activations = 2.0 * (copies * f + T * shared)
    degrees = {"ep": ep}
    found = count(model(GQA, MOE), "memory", degrees=degrees, expert_imbalance=1.5)
    attention = count(model(GQA, Mlp(ffn=1)), "memory")  # less its feed-forward of width 1, gated
    tiny = gemm(T, 2, H) + gemm(T, H, 1)
    assert found.forward - gemms - others - 3 * activations == pytest.approx(attention.forward - tiny - 3 * 2.0 * T)
    assert found.input_grad - gemms - others - 5 * activations == pytest.approx(
        attention.input_grad - tiny - 5 * 2.0 * T
    )
    assert found.weight_grad - gemms == pytest.approx(attention.weight_grad - tiny)


def test_bytes_that_embedding_and_loss_move_through_memory() -> None:
    """By hand: the lookup reads and writes [T, h] in bf16, its gradient is read in bf16 and added in
    fp32 (read, write); the loss reads and writes what the calibration says, half in each pass."""
    of = model(GQA, GATED)
    embedding, head = count(of, "memory", 0), count(of, "memory", 2)
    assert (embedding.forward, embedding.input_grad, embedding.weight_grad) == (4.0 * T * H, (2 + 8.0) * T * H, 0)
    logits = gemm(T, PADDED, H)
    assert head.forward == pytest.approx(logits + 6.0 * T * PADDED + 2 * 2.0 * T * H)
    assert head.input_grad == pytest.approx(logits + 6.0 * T * PADDED + 3 * 2.0 * T * H)
    assert head.weight_grad == pytest.approx(logits)


@pytest.mark.parametrize(("norm", "width"), [("head", 8 * 24 + 4 * 24), ("full", 8 * 24 + 4 * 24)])
def test_norms_of_queries_and_keys_read_and_keep_both(norm: str, width: int) -> None:
    """By hand: 2 passes forward, 3 backward over queries and keys, kept once."""
    attention = Attention(heads=8, kv_heads=4, head_dim=24, value_dim=20, qk_norm=norm)  # type: ignore[arg-type]
    plain, normed = count(model(GQA, GATED), "memory"), count(model(attention, GATED), "memory")
    assert normed.forward - plain.forward == pytest.approx(2 * 2.0 * T * width)
    assert normed.input_grad - plain.input_grad == pytest.approx(3 * 2.0 * T * width)
    assert normed.costs.saved_bytes[0, 1, 0] - plain.costs.saved_bytes[0, 1, 0] == 2.0 * T * width


def test_parameters_on_a_tensor_rank() -> None:
    """By hand for tp = 4: matrices and column biases cut, row biases and norms of heads whole."""
    attention = Attention(
        heads=8, kv_heads=2, head_dim=24, value_dim=20, qkv_bias=True, out_bias=True, qk_norm="full", sinks=True
    )
    found = count(model(attention, Mlp(ffn=416, bias=True)), "flops", degrees={"tp": 4}).costs
    width = 8 * 24 / 4 + 1 * (24 + 20)  # two key/value heads on four ranks: one copy on each
    small = (8 * 24 + 2 * 24) / 4 + 8 / 4
    dense = (H + 1) * width + small + 8 * 20 / 4 * H + H
    block = 3 * H * 416 / 4 + 2 * 416 / 4 + H
    assert found.dense_parameters[:, 0] == pytest.approx([(PADDED / 4 + 9) * H, dense + block + 2 * H, PADDED / 4 * H])
    assert found.widest_weight[1, 0] == pytest.approx(2 * H * 416 / 4 + 2 * 416 / 4)


def test_head_norms_have_a_weight_for_queries_and_one_for_keys() -> None:
    """By hand: two vectors of a head's width, whole on every tensor rank."""
    attention = Attention(heads=8, kv_heads=4, head_dim=24, value_dim=20, qk_norm="head")
    for tp in (1, 4):
        plain, normed = (count(model(a, GATED), "flops", degrees={"tp": tp}).costs for a in (GQA, attention))
        assert normed.dense_parameters[1, 0] - plain.dense_parameters[1, 0] == pytest.approx(2 * 24)


def test_parameters_on_an_expert_rank() -> None:
    """By hand for ep = 2, etp = 4: 4 experts, each cut in 4; router, its bias and the gate on the shared
    expert whole; the widest single weight is the shared expert's."""
    block = Moe(experts=8, top_k=3, ffn=72, bias=True, shared_ffn=88, shared_gate=True, router_bias=True)
    found = count(model(GQA, block), "flops", degrees={"ep": 2, "etp": 4}).costs
    assert found.expert_parameters[1, 0] == pytest.approx(4 * (3 * H * 72 / 4 + 2 * 72 / 4 + H))
    attention = H * (8 * 24 + 4 * 44) + 8 * 20 * H
    assert found.dense_parameters[1, 0] == pytest.approx(attention + 8 * H + 8 + H + 3 * H * 88 + 2 * H)
    assert found.widest_weight[1, 0] == H * (8 * 24 + 4 * 44)


# -- bytes between ranks ------------------------------------------------------------------------

TENSOR = 2.0 * T * H


@pytest.mark.parametrize("tp", [2, 4])
def test_tensor_parallelism_is_four_all_reduces_a_layer(tp: int) -> None:
    """Megatron-LM (arXiv 1909.08053 sec. 3): two forward, two backward, of 2 (t-1)/t s b h in bf16."""
    reduce = 2.0 * (tp - 1) / tp * TENSOR
    of = model(GQA, GATED)
    embedding, layer, head = (count(of, "up", item, degrees={"tp": tp}) for item in range(3))
    assert (layer.forward, layer.input_grad, layer.weight_grad) == pytest.approx((2 * reduce, 2 * reduce, 0))
    assert (embedding.forward, embedding.input_grad, embedding.weight_grad) == pytest.approx((reduce, 0, 0))
    assert (head.forward, head.input_grad, head.weight_grad) == pytest.approx((0, reduce, 0))
    assert layer.costs.exposed["tensor"][1, 0] == pytest.approx(4 * reduce)


def test_sequence_parallelism_moves_as_much_and_gathers_once_more_for_weight_gradients() -> None:
    """Korthikanti et al. (arXiv 2205.05198 sec. 4.2.2): all-gather and reduce-scatter in place of each
    all-reduce, the gathered input of both blocks not kept but gathered again."""
    piece = 3 / 4 * TENSOR
    of, degrees = model(GQA, GATED), {"tp": 4, "sp": 1}
    embedding, layer, head = (count(of, "up", item, degrees=degrees) for item in range(3))
    assert (layer.forward, layer.input_grad, layer.weight_grad) == pytest.approx((4 * piece, 4 * piece, 2 * piece))
    assert layer.costs.exposed["tensor"][1, 0] == pytest.approx(10 * piece)
    assert (embedding.forward, embedding.input_grad, embedding.weight_grad) == pytest.approx((piece, piece, 0))
    assert (head.forward, head.input_grad, head.weight_grad) == pytest.approx((piece, piece, piece))


def test_a_calibrated_share_of_tensor_collectives_is_exposed() -> None:
    """By hand: 0.3 of it with overlap, 1.7 times it without."""
    of, figures = model(GQA, GATED), {"tensor_exposed_fraction": 0.3, "tensor_serial_factor": 1.7}
    reduce = 2.0 / 2 * TENSOR
    beside = count(of, "up", degrees={"tp": 2}, **figures)
    serial = count(of, "up", degrees={"tp": 2}, tensor_overlap=False, **figures)
    assert (beside.forward, beside.input_grad) == pytest.approx((0.6 * reduce, 0.6 * reduce))
    assert (serial.forward, serial.input_grad) == pytest.approx((3.4 * reduce, 3.4 * reduce))
    gathered = count(of, "up", degrees={"tp": 2, "sp": 1}, **figures)
    assert gathered.weight_grad == pytest.approx(0.3 * 2 * 0.5 * TENSOR)


@pytest.mark.parametrize("tp", [1, 2])
def test_ring_attention_passes_keys_and_values_once_forward_and_twice_backward(tp: int) -> None:
    """By hand: (c-1)/c of all keys and values of the micro-batch; backward their gradients as well."""
    moved = 3 / 4 * 2.0 * T * 4 * (24 + 20) / tp
    found = count(model(GQA, GATED), "up", degrees={"cp": 4, "tp": tp}).costs
    assert found.exposed["context"][1, 0] == pytest.approx(3 * moved)
    if tp == 1:
        found2 = count(model(GQA, GATED), "up", degrees={"cp": 4})
        assert (found2.forward, found2.input_grad, found2.weight_grad) == pytest.approx((moved, 2 * moved, 0))


def test_attention_hides_the_ring_and_slows_down() -> None:
    """By hand: a ring of 10 s beside 4 s of attention forward (20 s beside 8 s backward) adds 6 (12),
    and a quarter of the hidden 4 (8) as contention."""
    moved = 1 / 2 * 2.0 * T * 4 * (24 + 20)
    work = score_flops(GQA) / 2
    machine = bare_cluster(up=moved / 10, flops=work / 4)
    system = System(cluster=machine, calibration=bare_calibration(overlap_contention=0.25), precision="bf16")
    shards = Columns.of([Configuration(cp=2, mbs=B)]).shards()[0]
    found = item_costs(model(GQA, GATED), Job(global_batch=24, sequence_length=S), shards, system)
    assert found.exposed["context"][1, 0] == pytest.approx(6 + 1 + 12 + 2)


def test_key_and_value_heads_are_copied_where_the_tensor_group_outnumbers_them() -> None:
    """By hand: 4 key/value heads on 8 tensor ranks, one on each; bytes kept and width by that."""
    found = count(model(GQA, GATED), "flops", degrees={"tp": 8}).costs
    q, kv, v = 24, 24 + 20, 20
    kept = 2.0 * T * (2 * H + q + kv + v + 2 * H + 2 * 416 / 8 + 416 / 8)
    assert found.saved_bytes[0, 1, 0] == pytest.approx(kept)


@pytest.mark.parametrize(("ep", "tp"), [(2, 1), (4, 1), (4, 2)])
def test_experts_exchange_tokens_twice_in_each_direction(ep: int, tp: int) -> None:
    """By hand: dispatch and combine, (e-1)/e of top_k bf16 copies of a rank's own tokens, the busiest
    rank's times the imbalance; no traffic for weight gradients."""
    moved = (ep - 1) / ep * 2.0 * T / tp * MOE.top_k * H * 1.25
    degrees = {"ep": ep, "tp": tp, "sp": int(tp > 1)}
    found = count(model(GQA, MOE), "up", degrees=degrees, expert_imbalance=1.25)
    assert found.costs.exposed["expert"][1, 0] == pytest.approx(4 * moved)
    if tp == 1:
        assert (found.forward, found.input_grad, found.weight_grad) == pytest.approx((2 * moved, 2 * moved, 0))


def test_ranks_that_share_an_expert_gather_and_scatter_its_tokens() -> None:
    """By hand: (etp-1)/etp of the copies of all etp ranks' tokens, once each way and pass."""
    moved = 3 / 4 * 4 * 2.0 * T * MOE.top_k * H
    found = count(model(GQA, MOE), "up", degrees={"etp": 4})
    assert (found.forward, found.input_grad, found.weight_grad) == pytest.approx((2 * moved, 2 * moved, 0))
    assert found.costs.exposed["tensor"][1, 0] == pytest.approx(4 * moved)


def test_a_shared_expert_is_a_tensor_parallel_block_of_its_own() -> None:
    """By hand: tensor regions of attention and of the shared expert, as in a dense layer."""
    degrees = {"tp": 4, "sp": 1}
    dense, moe = (count(model(GQA, block), "up", degrees=degrees) for block in (GATED, MOE))
    alone = count(model(GQA, BARE_MOE), "up", degrees=degrees)
    assert moe.forward == pytest.approx(dense.forward)
    assert alone.forward == pytest.approx(dense.forward / 2)


# -- bytes kept for the backward pass -----------------------------------------------------------


@pytest.mark.parametrize(("precision", "operand"), [("bf16", 2), ("fp8", 1)])
def test_bytes_a_dense_layer_keeps(precision: str, operand: int) -> None:
    """By hand: norm inputs, queries, keys, values and gated inputs in bf16, what GEMMs keep for their
    weight gradients in the operand's precision; attention's output in both when they differ."""
    found = count(model(GQA, GATED), "flops", precision=precision).costs
    q, kv, v, f = 8 * 24, 4 * 44, 8 * 20, 416
    output = v * (2 if operand == 2 else 3)
    kept = T * (2 * 2 * H + 2 * operand * H + 2 * (q + kv) + output + 2 * 2 * f + operand * f)
    assert found.saved_bytes[0, 1, 0] == kept


@pytest.mark.parametrize(("precision", "operand"), [("bf16", 2), ("fp8", 1)])
@pytest.mark.parametrize("latent", [True, False])
def test_bytes_multi_head_latent_attention_keeps(latent: bool, precision: str, operand: int) -> None:
    """By hand, DeepSeek-V2 (arXiv 2405.04434) sec. 2.1: input, both compressed latents before and after
    their norms, rotary keys, and all heads' queries, keys and values after the up-projections."""
    attention = MLA if latent else DIRECT
    found = count(model(attention, GATED), "flops", precision=precision).costs
    rq, r, rope, heads = (56 if latent else 0), 40, 16, 8
    compressed = (2 + operand) * rq + (2 + operand) * r + 2 * rope
    expanded = 2 * heads * (24 + 24 + 20)
    output = heads * 20 * (2 if operand == 2 else 3)
    block = (2 + operand) * H + 2 * 2 * 416 + operand * 416
    assert found.saved_bytes[0, 1, 0] == T * ((2 + operand) * H + compressed + expanded + output + block)


@pytest.mark.parametrize(("precision", "operand"), [("bf16", 2), ("fp8", 1)])
def test_bytes_an_expert_layer_keeps(precision: str, operand: int) -> None:
    """By hand: router input, fp32 scores, T k copies into and inside the experts (weighted there, so none
    on their way out: Megatron-Core's memory-efficient permutation), and the shared expert's inner values;
    all expert shares of a copy on this rank's experts (etp = 2)."""
    found = count(model(GQA, MOE), "flops", degrees={"etp": 2}, precision=precision, expert_imbalance=1.5).costs
    dense = count(model(GQA, GATED), "flops", precision=precision).costs
    copies, f = 2 * T * 3 * 1.5, 72 / 2
    block = T * (2 * H + 2 * H + 4 * 8) + copies * (operand * H + 2 * 2 * f + operand * f)
    shared = T * (2 * 2 * 88 + operand * 88)
    feed_forward = T * ((2 + operand) * H + 2 * 2 * 416 + operand * 416)
    assert found.saved_bytes[0, 1, 0] == pytest.approx(dense.saved_bytes[0, 1, 0] - feed_forward + block + shared)


def test_bytes_embedding_head_and_prediction_layer_keep() -> None:
    """By hand: the embedding nothing; the head its norm's and the logits' input; a prediction layer two
    norms, the joined [T, 2h] input, a layer, and a head."""
    found = count(model(GQA, GATED, mtp=1), "flops").costs.saved_bytes[0, :, 0]
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found[3] == 2.0 * T * (H + H)
    assert found[2] == found[1] + 2 * 2.0 * T * H + 2.0 * T * 2 * H + found[3]


# -- the host ------------------------------------------------------------------------------------


def test_the_hosts_floor_stretches_a_pass_and_routing_adds_to_it() -> None:
    """By hand: FLOPs F forward and 2 F backward against a floor of 1.5 F (forward only) and 4 F (both),
    the gradients' shares kept; routing of F / 2 on top of the kernels of an expert layer."""
    free = count(model(GQA, GATED), "flops")
    floor = 4.0 * free.forward
    held = count(model(GQA, GATED), "flops", layer_floor_seconds=floor)
    backward = free.input_grad + free.weight_grad
    assert held.forward == floor
    assert held.input_grad + held.weight_grad == pytest.approx(floor)
    assert held.input_grad / held.weight_grad == pytest.approx(free.input_grad / free.weight_grad)
    part = count(model(GQA, GATED), "flops", layer_floor_seconds=1.5 * free.forward)
    assert part.forward == pytest.approx(1.5 * free.forward)
    assert part.input_grad + part.weight_grad == pytest.approx(backward)
    plain, routed = (count(model(GQA, MOE), "flops", moe_layer_seconds=s) for s in (0.0, free.forward / 2))
    assert routed.forward == pytest.approx(plain.forward + free.forward / 2)
    assert routed.input_grad + routed.weight_grad == pytest.approx(
        plain.input_grad + plain.weight_grad + free.forward / 2
    )
    assert count(model(GQA, GATED), "flops", moe_layer_seconds=1e9).forward == free.forward


def test_selective_recompute_repeats_attention_alone() -> None:
    """By hand, unfused: scores and values over the whole [s, s] square, masked pairs too."""
    found = count(model(GQA, GATED), "flops", attention="unfused").costs
    assert found.recompute_seconds[1, 1, 0] == pytest.approx(2.0 * B * 8 * S * S * (24 + 20))
    assert found.saved_bytes[0, 1, 0] - found.saved_bytes[1, 1, 0] == 2 * B * 8 * S * S
    assert np.array_equal(found.rebuilt_bytes[1], found.saved_bytes[0] - found.saved_bytes[1])
