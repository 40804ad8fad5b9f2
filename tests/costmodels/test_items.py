"""Operators add up: parameters, saved activations, FLOPs, against formulas written elsewhere."""

import numpy as np
import pytest

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job, Precision
from costmodels.items import ItemCosts, chain_of, item_costs
from costmodels.layers import attended_keys
from costmodels.operators import System
from tests.machines import DEEPSEEK_V3_ATTENTION, cluster, dense_model, gqa, mla, moe_model

LEVELS = ("none", "selective", "full")
NONE, SELECTIVE, FULL = range(3)


def system_of(job: Job) -> System:
    machine = cluster(nodes=4)
    return System.of(machine, load_calibration(machine.gpu), job)


def costs(model: Model, configuration: Configuration, **job: object) -> ItemCosts:
    task = Job(**{"global_batch": 64, "sequence_length": 2048, **job})  # type: ignore[arg-type]
    return item_costs(model, task, Columns.of([configuration]).shards()[0], system_of(task), LEVELS)


MODELS = [
    dense_model(),
    dense_model(attention=mla()),
    moe_model(),
    moe_model(mtp=1),
    moe_model(attention=mla(), mtp=2),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.name}-{m.kinds[0].attention.kind}-{len(m.mtp_layers)}")
def test_an_unsharded_layer_holds_the_parameters_of_its_kind(model: Model) -> None:
    """The operators' weights against ``LayerKind.parameters``, two separate counts."""
    found = costs(model, Configuration())
    chain = chain_of(model)
    for row, name in enumerate(chain.names[1 : 1 + len(model.kinds)], start=1):
        kind = model.kinds[row - 1]
        assert kind.name == name
        held = found.dense_parameters[row, 0] + found.expert_parameters[row, 0]
        assert held == kind.parameters(model.hidden) - kind.extra_parameters
    for row, kind_index in enumerate(sorted(set(model.mtp_layers)), start=1 + len(model.kinds)):
        held = found.dense_parameters[row, 0] + found.expert_parameters[row, 0]
        assert held == model.kinds[kind_index].parameters(model.hidden)


def test_the_chain_sums_to_the_models_parameters() -> None:
    """DeepSeek-V3 from its shapes: 671.03 billion (arXiv 2412.19437 table: 671B), vocabulary unpadded."""
    dense = LayerKind(name="dense", attention=DEEPSEEK_V3_ATTENTION, block=Mlp(ffn=18432), norm_parameters=2 * 7168)
    block = Moe(experts=256, top_k=8, ffn=2048, shared_ffn=2048, router_bias=True)
    expert = LayerKind(name="moe", attention=DEEPSEEK_V3_ATTENTION, block=block, norm_parameters=2 * 7168)
    model = Model(
        name="v3",
        hidden=7168,
        vocabulary=129280,
        kinds=(dense, expert),
        layers=(0,) * 3 + (1,) * 58,
        final_norm_parameters=7168,
    )
    found = costs(model, Configuration())
    total = chain_of(model).counts @ (found.dense_parameters + found.expert_parameters)
    assert total[0] == model.total_parameters
    assert total[0] / 1e9 == pytest.approx(671.03, abs=0.01)


def gpt_layer(hidden: int, heads: int) -> Model:
    kind = LayerKind(
        name="gpt",
        attention=gqa(heads=heads, kv_heads=heads, head_dim=hidden // heads),
        block=Mlp(ffn=4 * hidden, gated=False),
        norm_parameters=4 * hidden,
    )
    return Model(name="gpt", hidden=hidden, vocabulary=51200, kinds=(kind,), layers=(0,))


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("tp", [1, 2, 8])
def test_saved_activations_are_korthikantis_with_sequence_parallelism(tp: int, dropout: bool) -> None:
    """arXiv 2205.05198 eq. 4, sbh (34 + 5as/h) / t; the score term only without FlashAttention, and gone
    under selective recompute. Without dropout: less two masks of sbh bytes, and of the 5 bytes a score
    the softmax's 2."""
    hidden, heads, length, mbs = 1024, 16, 2048, 2
    configuration = Configuration(tp=tp, sp=int(tp > 1), mbs=mbs)
    sbh = length * mbs * hidden
    linear = (34 if dropout else 32) * sbh / tp
    scores = (5 if dropout else 2) * heads * length**2 * mbs / tp
    flash = costs(gpt_layer(hidden, heads), configuration, dropout=dropout)
    unfused = costs(gpt_layer(hidden, heads), configuration, attention="unfused", dropout=dropout)
    assert flash.saved_bytes[NONE, 1, 0] == linear
    assert unfused.saved_bytes[NONE, 1, 0] == linear + scores
    assert unfused.saved_bytes[SELECTIVE, 1, 0] == linear
    assert flash.saved_bytes[FULL, 1, 0] == 2 * sbh / tp
    assert flash.saved_bytes[NONE, 0, 0] == dropout * sbh / tp
    assert flash.rebuilt_bytes[:, 1, 0].tolist() == [0, 0, linear - 2 * sbh / tp]
    assert unfused.rebuilt_bytes[SELECTIVE, 1, 0] == scores


def test_without_sequence_parallelism_the_norms_regions_are_whole_on_every_rank() -> None:
    """arXiv 2205.05198 eq. 2: sbh (10 + 24/t), less 2 for the dropout masks."""
    found = costs(gpt_layer(1024, 16), Configuration(tp=4, mbs=1))
    sbh = 2048 * 1024
    assert found.saved_bytes[NONE, 1, 0] == sbh * (8 + 24 / 4)
    assert found.saved_bytes[FULL, 1, 0] == 2 * sbh


def test_context_parallelism_divides_the_activations() -> None:
    one = costs(dense_model(), Configuration())
    four = costs(dense_model(), Configuration(cp=4))
    np.testing.assert_allclose(four.saved_bytes[:, 1] * 4, one.saved_bytes[:, 1])


def test_expert_parallelism_divides_experts_and_keeps_the_tokens_of_a_rank() -> None:
    """Even routing: a rank's experts see as many copies as its own tokens send out (by hand: tokens x
    top_k), however many ranks share the experts."""
    one, four = (costs(moe_model(), Configuration(ep=ep)) for ep in (1, 4))
    assert four.expert_parameters[2, 0] * 4 == one.expert_parameters[2, 0]
    assert four.dense_parameters[2, 0] == one.dense_parameters[2, 0]
    assert four.saved_bytes[NONE, 2, 0] == one.saved_bytes[NONE, 2, 0]


def test_the_busiest_expert_rank_costs_time_and_memory() -> None:
    even = costs(moe_model(), Configuration(ep=4))
    uneven = costs(moe_model(), Configuration(ep=4), expert_imbalance=1.5)
    assert uneven.forward_seconds[2, 0] > even.forward_seconds[2, 0]
    assert uneven.saved_bytes[NONE, 2, 0] > even.saved_bytes[NONE, 2, 0]
    assert uneven.forward_seconds[1, 0] == even.forward_seconds[1, 0]


def test_full_recompute_repeats_the_forward_pass_and_nothing_else() -> None:
    found = costs(moe_model(), Configuration(tp=2, sp=1))
    np.testing.assert_array_equal(found.recompute_seconds[FULL, 1:-1], found.forward_seconds[1:-1])
    assert not found.recompute_seconds[NONE].any()
    assert not found.recompute_seconds[:, [0, -1]].any()


@pytest.mark.parametrize(("window", "length"), [(None, 7), (7, 7), (3, 7), (1, 7), (4, 4)])
def test_attended_keys_is_the_mean_over_queries(window: int | None, length: int) -> None:
    """Counted one query at a time."""
    counted = [min(query + 1, window or length) for query in range(length)]
    assert attended_keys(length, window) == pytest.approx(sum(counted) / length)


def test_a_window_makes_attention_cheaper() -> None:
    whole = costs(dense_model(), Configuration(), sequence_length=16384)
    window = costs(dense_model(attention=gqa(window=128)), Configuration(), sequence_length=16384)
    assert window.forward_seconds[1, 0] < whole.forward_seconds[1, 0]
    assert window.saved_bytes[NONE, 1, 0] == whole.saved_bytes[NONE, 1, 0]


def test_narrow_gemms_keep_their_inputs_cast_to_one_byte() -> None:
    """By hand, a GPT layer per token and hidden unit, flash attention, no dropout: norm 2, its output cast
    1, query key value 6, attention output 2 and its cast 1; norm 2, cast 1, inner 8, activated and cast 4."""
    wide, narrow = (costs(gpt_layer(4096, 32), Configuration(), precision=p) for p in ("bf16", "fp8"))
    sbh = 2048 * 4096
    assert wide.saved_bytes[NONE, 1, 0] == 32 * sbh
    assert narrow.saved_bytes[NONE, 1, 0] == 27 * sbh


def test_narrow_gemms_pay_off_in_wide_layers_only() -> None:
    """The products of a layer of 8,192 outweigh its casts by far; those of one of 1,024 do not."""
    times = {
        width: [
            costs(gpt_layer(width, 16), Configuration(), precision=p).forward_seconds[1, 0] for p in ("bf16", "fp8")
        ]
        for width in (1024, 8192)
    }
    assert times[8192][1] < 0.8 * times[8192][0]
    assert times[1024][1] > 0.95 * times[1024][0]


def test_the_output_head_stays_in_bf16() -> None:
    wide, narrow = (costs(dense_model(), Configuration(), precision=p) for p in ("bf16", "fp8"))
    assert narrow.forward_seconds[-1, 0] == wide.forward_seconds[-1, 0]
    assert narrow.saved_bytes[NONE, -1, 0] == wide.saved_bytes[NONE, -1, 0]


def test_tensor_collectives_are_hidden_only_where_the_job_overlaps_them() -> None:
    calibration = load_calibration(cluster().gpu)
    hidden, serial = (costs(dense_model(), Configuration(tp=4, sp=1), tensor_overlap=o) for o in (True, False))
    ratio = calibration.tensor_serial_factor / calibration.tensor_exposed_fraction
    assert serial.exposed["tensor"][1, 0] == pytest.approx(ratio * hidden.exposed["tensor"][1, 0])


def test_deduplicated_dispatch_sends_copies_that_share_a_domain_once() -> None:
    """16 ranks in two domains: of two copies drawn evenly among two domains 1/2 x 2 cross one by one, but
    a token crosses only if either does: 1 - (1/2)^2 = 3/4 of a copy."""
    model = moe_model(experts=16)
    plain, merged = (costs(model, Configuration(ep=16), dispatch=d) for d in ("all-to-all", "deduplicated"))
    assert 0 < merged.exposed["expert"][2, 0] < plain.exposed["expert"][2, 0]


def test_chain_runs_from_embedding_to_head_with_prediction_layers_before_it() -> None:
    chain = chain_of(moe_model(layers=3, mtp=2))
    assert [chain.names[t] for t in chain.types] == [
        "embedding",
        "dense",
        "moe",
        "moe",
        "moe (multi-token prediction)",
        "moe (multi-token prediction)",
        "head",
    ]


@pytest.mark.parametrize("tp", [1, 2])
def test_the_weight_gradient_of_a_gpt_layer_reads_32_sbh(tp: int) -> None:
    """Paper: M_W = 32 sbh of the layer's M_B = 34 sbh + 5 as^2 b (arXiv 2401.10241 table 1): inputs h + h + h + 4 h
    and output gradients 3 h + h + 4 h + h of four products in bf16. By hand over tp ranks with sequence
    parallelism: inputs 14 / tp, gradients of column products (3 + 4) / tp, of row products whole, gathered."""
    job = Job(global_batch=8, sequence_length=1024, attention="unfused", dropout=True)
    shards = Columns.of([Configuration(tp=tp, sp=int(tp > 1), mbs=2)]).shards()[0]
    attention = Attention(heads=16, kv_heads=16, head_dim=64, value_dim=64)
    kind = LayerKind(name="gpt", attention=attention, block=Mlp(ffn=4096, gated=False), norm_parameters=2048)
    model = Model(name="gpt", hidden=1024, vocabulary=32000, kinds=(kind,), layers=(0,) * 2)
    costs = item_costs(model, job, shards, system_of(job), ["none", "full"])
    sbh = 1024 * 2 * 1024
    scores = 5 * 16 * 1024 * 1024 * 2
    assert costs.saved_bytes[0, 1, 0] == (34 * sbh + scores) / tp
    assert costs.weight_grad_bytes[1, 0] == (14 / tp + 14 / tp + 4) * sbh
    # the head: its input, and the gradient of the logits, 32,000 columns padded over tp
    assert costs.weight_grad_bytes[-1, 0] == 2 * sbh / tp + 2 * 1024 * 2 * 32000 / tp


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_experts_keep_their_tokens_and_gradients_in_the_precision_of_their_products(precision: Precision) -> None:
    """By hand: 2 experts a token of 1,024 wide, gated, on one rank: inputs h + f, gradients 2 f + h of each copy;
    beside them the router (bf16) and attention."""
    job = Job(global_batch=8, sequence_length=1024, precision=precision)
    shards = Columns.of([Configuration()]).shards()[0]
    model = moe_model(layers=2, experts=4)
    costs = item_costs(model, job, shards, system_of(job), ["none"])
    moe = next(k for k, kind in enumerate(model.kinds) if isinstance(kind.block, Moe))
    kind, h, element = model.kinds[moe], model.hidden, 2 if precision == "bf16" else 1
    block, a = kind.block, kind.attention
    assert isinstance(block, Moe)
    width = (a.heads + 2 * a.kv_heads) * a.head_dim
    experts = block.top_k * (h + 2 * block.ffn + block.ffn + h)
    shared = 2 * block.shared_ffn + block.shared_ffn + h if block.shared_ffn else 0  # its input is the router's
    attention = h + width + a.heads * a.head_dim + h
    expected = element * 1024 * (experts + shared + attention) + 2 * 1024 * (h + block.experts)
    assert costs.weight_grad_bytes[1 + moe, 0] == expected
