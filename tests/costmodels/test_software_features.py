"""What training software adds to or takes off a layer: casts, block scales, overlap, graphs, checkpoints."""

from dataclasses import replace

import pytest

from costmodels.architecture import LayerKind, Mlp, Model
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.items import ItemCosts, item_costs
from costmodels.operators import System
from tests.bare import bare_calibration, bare_cluster
from tests.machines import gqa, moe_model

TOKENS, H, F = 2048, 1024, 4096
FULL = 2


def plain_model() -> Model:
    """Sixteen heads of 64, an ungated block: weights 4 h^2 + 2 h f."""
    kind = LayerKind(
        name="plain",
        attention=gqa(heads=16, kv_heads=16, head_dim=64),
        block=Mlp(ffn=F, gated=False),
        norm_parameters=2 * H,
    )
    return Model(name="plain", hidden=H, vocabulary=32000, kinds=(kind,), layers=(0,))


def costs(of: Model, resource: str, degrees: dict[str, int] | None = None, **settings: object) -> ItemCosts:
    """On a machine that does one unit of ``resource`` a second and everything else at once."""
    figures = {key: settings.pop(key) for key in list(settings) if key not in Job.__slots__}
    job = Job(**{"global_batch": 8, "sequence_length": TOKENS, **settings})  # type: ignore[arg-type]
    system = System.of(bare_cluster(**{resource: 1.0}), bare_calibration(**figures), job)  # type: ignore[arg-type]
    shards = Columns.of([Configuration(**(degrees or {}))]).shards()[0]  # type: ignore[arg-type]
    return item_costs(of, job, shards, system, ("none", "selective", "full"))


def forward(found: ItemCosts, item: int = 1) -> float:
    return float(found.forward_seconds[item, 0])


def backward(found: ItemCosts, item: int = 1) -> float:
    return float(found.input_grad_seconds[item, 0] + found.weight_grad_seconds[item, 0])


@pytest.mark.parametrize("precision", ["fp8", "fp4"])
def test_narrow_gemms_cast_their_inputs_forward_and_their_output_gradients_backward(precision: str) -> None:
    """By hand, per token: inputs of qkv, projection, up and down are 3 h + f wide, outputs 3 h + h + f + h;
    moved at 5 bytes an element beside what a machine without casts moves."""
    free, paid = (
        costs(plain_model(), "memory", precision=precision, fp8_cast_bytes=b, fp4_cast_bytes=b) for b in (0.0, 5.0)
    )
    assert forward(paid) - forward(free) == pytest.approx(5 * TOKENS * (3 * H + F))
    assert backward(paid) - backward(free) == pytest.approx(5 * TOKENS * (5 * H + F))
    assert forward(paid, -1) == forward(free, -1)  # the head stays wide


def test_wide_gemms_cast_nothing() -> None:
    paid = costs(plain_model(), "memory", fp8_cast_bytes=5.0)
    assert forward(paid) == forward(costs(plain_model(), "memory"))


@pytest.mark.parametrize("of", [plain_model(), moe_model(dense_prefix=0)], ids=lambda m: m.name)
def test_block_scales_slow_fp8_gemms_alone(of: Model) -> None:
    """By hand: attention apart, an FP8 layer takes 1 / 0.8 of the seconds; BF16 and FP4 the same."""

    def flops(precision: str, scaling: str) -> float:
        found = costs(of, "flops", precision=precision, scaling=scaling, block_scaling_fraction=0.8)
        return float(found.weight_grad_seconds[len(of.kinds), 0])  # of linear layers only

    # the router is kept wide
    router = 2.0 * TOKENS * of.hidden * of.kinds[-1].block.experts if of.is_moe else 0.0
    assert flops("fp8", "block") - router == pytest.approx((flops("fp8", "tensor") - router) / 0.8)
    assert flops("bf16", "block") == flops("bf16", "tensor")


def test_overlapped_gathers_carry_narrow_inputs() -> None:
    """By hand, sequence parallel over t = 2: forward two gathers of (t-1)/t s h bytes, two of 2-byte scatters:
    with 16-bit inputs 4 x 2 bytes, with 8-bit ones 2 x 1 + 2 x 2."""
    degrees = {"tp": 2, "sp": 1}
    wide, narrow, serial = (
        costs(plain_model(), "up", degrees, **settings)
        for settings in ({}, {"precision": "fp8"}, {"precision": "fp8", "tensor_overlap": False})
    )
    half = TOKENS * H / 2
    assert forward(wide) == pytest.approx(8 * half)
    assert forward(narrow) == pytest.approx(6 * half)
    assert forward(serial) == pytest.approx(8 * half)


@pytest.mark.parametrize(("contention", "left"), [(0.0, 0.0), (0.25, 0.25)])
def test_expert_exchange_beside_computation_leaves_contention_or_what_outlasts_it(
    contention: float, left: float
) -> None:
    """By hand: both exchanges of a pass hide; what stays is the slow-down of what they run beside. On a
    machine whose computation is free nothing hides them."""
    of, degrees = moe_model(dense_prefix=0), {"ep": 8, "dp": 8}
    settings = {"overlap_contention": contention}

    def moved(resource: str, overlap: bool, speed: float) -> ItemCosts:
        machine = bare_cluster(**{resource: 1.0, "up": speed})
        job = Job(global_batch=8, sequence_length=TOKENS, expert_overlap=overlap)
        system = System.of(machine, bare_calibration(**settings), job)
        return item_costs(of, job, Columns.of([Configuration(**degrees)]).shards()[0], system)

    apart, beside = (moved("flops", overlap, 1e-2) for overlap in (False, True))
    exchange = 2 * 7 / 8 * TOKENS * 2 * of.hidden * 2 / 1e-2  # two exchanges of top-2 copies in bf16
    flops = forward(apart, 2) - exchange
    assert forward(beside, 2) == pytest.approx(flops + max(exchange - flops, 0.0) + left * min(exchange, flops))
    alone = [costs(of, "up", degrees, expert_overlap=overlap, **settings) for overlap in (False, True)]
    assert forward(alone[1], 2) == pytest.approx(forward(alone[0], 2))
    assert beside.exposed["expert"][2, 0] < apart.exposed["expert"][2, 0]


def test_graphs_replay_layers_at_a_share_of_the_hosts_time() -> None:
    """By hand: a floor of 8 ms falls to 2, routing of 4 ms to 1."""
    figures = {"layer_floor_seconds": 8e-3, "moe_layer_seconds": 4e-3, "graphed_host_fraction": 0.25}
    for of, launched, replayed in ((plain_model(), 8e-3, 2e-3), (moe_model(dense_prefix=0), 8e-3, 2e-3)):
        assert forward(costs(of, "up", **figures), len(of.kinds)) == pytest.approx(launched)
        assert forward(costs(of, "up", cuda_graphs=True, **figures), len(of.kinds)) == pytest.approx(replayed)
    figures["layer_floor_seconds"] = 0.0
    assert forward(costs(moe_model(dense_prefix=0), "up", cuda_graphs=True, **figures), 2) == pytest.approx(1e-3)


def test_pytorchs_checkpoint_stops_before_the_last_gemm_and_megatrons_does_not() -> None:
    """By hand: of 2 T (4 h^2 + 2 h f) and the scores, the down-projection's 2 T h f is not redone."""
    whole, early = (costs(plain_model(), "flops", software=s) for s in ("megatron", "pytorch"))
    assert whole.recompute_seconds[FULL, 1, 0] == forward(whole)
    assert whole.recompute_seconds[FULL, 1, 0] - early.recompute_seconds[FULL, 1, 0] == pytest.approx(
        2.0 * TOKENS * H * F
    )


def test_biases_of_experts_are_added_outside_the_grouped_gemms() -> None:
    """By hand: 28 bytes forward and 40 backward for each element of both outputs, 2 f + h wide and gated,
    of top-2 copies; PyTorch's own kernels add them inside."""
    plain = moe_model(dense_prefix=0)
    block = replace(plain.kinds[-1].block, bias=True)  # type: ignore[type-var]
    biased = replace(plain, kinds=(plain.kinds[0], replace(plain.kinds[-1], block=block)))  # type: ignore[arg-type]
    elements = 2 * TOKENS * (2 * 1024 + plain.hidden)

    def more(software: str) -> tuple[float, float]:
        found = [costs(of, "memory", software=software, kernel_launch_seconds=0.0) for of in (biased, plain)]
        return forward(found[0], 2) - forward(found[1], 2), backward(found[0], 2) - backward(found[1], 2)

    assert more("megatron") == pytest.approx((28 * elements, 40 * elements))
    assert more("pytorch") == (0.0, 0.0)
