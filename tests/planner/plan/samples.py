"""Plans of several shapes, priced by the cost model, their certificates written by hand."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from costmodels.calibration import load_calibration
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground, PipelineRow
from costmodels.ground_step import GroundModel
from costmodels.hardware import Cluster, Gpu, Link
from costmodels.step_price import price_step
from planner.plan import Alternative, Certificate, Plan, PlanOptions, build_plan, with_order
from planner.plan.ground import PlanGround

H100 = Gpu(
    name="h100-sxm-80gb",
    architecture="hopper",
    memory_bytes=81559.0 * 2**20,
    memory_bytes_per_second=3.35e12,
    peak_flops={"fp16": 989e12, "bf16": 989e12, "fp8": 1979e12},
)

A100 = Gpu(
    name="a100-sxm-80gb",
    architecture="ampere",
    memory_bytes=81920.0 * 2**20,
    memory_bytes_per_second=2.039e12,
    peak_flops={"fp16": 312e12, "bf16": 312e12},
)

LLAMA_8B_LAYER = LayerKind(
    name="dense",
    attention=Attention(heads=32, kv_heads=8, head_dim=128, value_dim=128),
    block=Mlp(ffn=14336),
    norm_parameters=2 * 4096,
)
LLAMA_8B = Model(
    name="Llama-3.1-8B",
    hidden=4096,
    vocabulary=128256,
    kinds=(LLAMA_8B_LAYER,),
    layers=(0,) * 32,
    final_norm_parameters=4096,
)
LLAMA_405B = Model(
    name="Llama-3.1-405B",
    hidden=16384,
    vocabulary=128256,
    kinds=(
        LayerKind(
            name="dense",
            attention=Attention(heads=128, kv_heads=8, head_dim=128, value_dim=128),
            block=Mlp(ffn=53248),
            norm_parameters=2 * 16384,
        ),
    ),
    layers=(0,) * 126,
    final_norm_parameters=16384,
)
LATENT = Attention(
    kind="mla", heads=32, kv_heads=32, head_dim=192, value_dim=128, q_lora_rank=768, kv_lora_rank=512, rope_dim=64
)
EXPERT_LAYER = LayerKind(
    name="experts",
    attention=LATENT,
    block=Moe(experts=64, top_k=6, ffn=1408, shared_ffn=2816, router_bias=True),
    norm_parameters=2 * 2048,
)
LATENT_MOE = Model(
    name="latent attention, experts, one prediction layer",
    hidden=2048,
    vocabulary=129280,
    kinds=(
        LayerKind(name="dense", attention=LATENT, block=Mlp(ffn=8192), norm_parameters=2 * 2048),
        EXPERT_LAYER,
        replace(EXPERT_LAYER, name="prediction", extra_parameters=2 * 2048**2 + 3 * 2048),
    ),
    layers=(0,) * 2 + (1,) * 13,
    mtp_layers=(2,),
    final_norm_parameters=2048,
)
WINDOWED = Model(
    name="learned positions, biases, tied embeddings, sliding windows",
    hidden=1024,
    vocabulary=50257,
    kinds=tuple(
        LayerKind(
            name=name,
            attention=Attention(
                heads=16, kv_heads=16, head_dim=64, value_dim=64, window=window, qkv_bias=True, out_bias=True
            ),
            block=Mlp(ffn=4096, gated=False, bias=True),
            norm_parameters=4 * 1024,
        )
        for name, window in (("local", 128), ("global", None))
    ),
    layers=(0, 1) * 12,
    tied_embeddings=True,
    positions=2048,
    final_norm_parameters=2 * 1024,
)


def h100_cluster(nodes: int, *, name: str = "H100 nodes") -> Cluster:
    return Cluster(
        name=name,
        gpu=H100,
        nodes=nodes,
        gpus_per_node=8,
        domain_gpus=8,
        scale_up=Link(bytes_per_second=450e9, latency_seconds=3e-6),
        scale_out=Link(bytes_per_second=50e9, latency_seconds=5e-6),
        reserve_bytes=2.0 * 2**30,
    )


def make_plan(
    cluster: Cluster,
    model: Model,
    job: Job,
    *candidates: tuple[Configuration, Sequence[int]],
    options: PlanOptions | None = None,
) -> Plan:
    """A plan for the fastest of ``candidates``, configurations and their cuts; the others lost."""
    calibration = load_calibration(cluster.gpu)
    ranked = sorted(
        ((price_step(model, cluster, job, calibration, *candidate), *candidate) for candidate in candidates),
        key=lambda entry: entry[0].step_seconds,
    )
    best, configuration, cut = ranked[0]
    certificate = Certificate.of(
        value=best.step_seconds,
        lower_bound=best.step_seconds,
        allowed_gap=0.0,
        method="every candidate evaluated",
        candidates=40,
        refined=9,
        evaluated=len(ranked),
        infeasible=3,
        cut_by_bound=37 - len(ranked),
        pruned={"heads are not divisible by tp": 12, "interleaving needs pp > 1": 5},
        alternatives=[
            Alternative.of(
                other,
                other_cut,
                step_seconds=price.step_seconds,
                peak_memory_bytes=price.peak_bytes,
                best_seconds=best.step_seconds,
                reason="a longer step",
            )
            for price, other, other_cut in ranked[1:]
        ],
    )
    return build_plan(cluster, model, job, calibration, configuration, cut, best, certificate, options)


def even_cut(items: int, chunks: int) -> tuple[int, ...]:
    """Chain of ``items`` in ``chunks`` of near-equal length."""
    return tuple(round(i * items / chunks) for i in range(chunks + 1))


@lru_cache
def interleaved_dense() -> Plan:
    """Two chunks a stage on four stages; one alternative without interleaving, one with more tp."""
    chosen = Configuration(tp=2, sp=1, pp=4, vp=2, dp=8, recompute="none")
    plain = replace(chosen, vp=1, recompute="full")
    wider = replace(plain, tp=8, dp=2)
    return make_plan(
        h100_cluster(8),
        LLAMA_8B,
        Job(global_batch=128, sequence_length=4096),
        (chosen, even_cut(34, 8)),
        (plain, even_cut(34, 4)),
        (wider, even_cut(34, 4)),
        options=PlanOptions(pins={"pp": 4}, forbid=("cp", "ep")),
    )


@lru_cache
def experts_and_prediction_layer() -> Plan:
    """Latent attention, experts over eight ranks, a prediction layer beside the head; two stages."""
    chosen = Configuration(tp=2, sp=1, pp=2, dp=8, ep=8, etp=1)
    other = replace(chosen, ep=4)
    cut = (0, 8, 18)
    return make_plan(
        h100_cluster(4),
        LATENT_MOE,
        Job(global_batch=64, sequence_length=4096, expert_imbalance=1.2),
        (chosen, cut),
        (other, cut),
        (replace(chosen, recompute="full"), cut),
    )


@lru_cache
def single_stage_windowed() -> Plan:
    """No pipeline, tied embeddings on one stage, unfused attention with selective recompute."""
    chosen = Configuration(tp=1, dp=8, zero=2, mbs=2, recompute="selective")
    return make_plan(
        h100_cluster(1),
        WINDOWED,
        Job(global_batch=64, sequence_length=2048, precision="fp16", attention="unfused"),
        (chosen, (0, 26)),
        (replace(chosen, mbs=1), (0, 26)),
    )


@lru_cache
def thousands_of_gpus() -> Plan:
    """Llama-3.1-405B on 16,384 GPUs, 64 stages, 126 layers that no number of stages divides."""
    chosen = Configuration(tp=8, sp=1, pp=64, dp=32, recompute="none")
    return make_plan(
        h100_cluster(2048), LLAMA_405B, Job(global_batch=2048, sequence_length=8192), (chosen, even_cut(128, 64))
    )


@lru_cache
def folded_experts(*, ep: int = 8) -> Plan:
    """The plan of experts with others: tp 2 outside them and 1 inside, four stages, pipelines on consecutive ranks."""
    chosen = Configuration(tp=2, sp=1, pp=4, dp=4, ep=ep, etp=1)
    plan = make_plan(h100_cluster(4), LATENT_MOE, Job(global_batch=64, sequence_length=4096), (chosen, even_cut(18, 4)))
    return with_order(plan, "tp-cp-pp-dp")


@lru_cache
def unlike_ground() -> Plan:
    """Pipelines from H100 to A100 nodes beside one on A100 alone, with fewer micro-batches; slow links between."""
    new = h100_cluster(6)
    old = replace(new, name="old", gpu=A100, scale_up=Link(bytes_per_second=300e9, latency_seconds=3e-6))
    slow = Link(bytes_per_second=3e9, latency_seconds=2e-5)
    configuration, job = Configuration(tp=8, sp=1, pp=2, dp=3), Job(global_batch=64, sequence_length=4096)
    ground = Ground(
        machines=(new, old),
        states=(new.scale_out, slow),
        rows=(
            PipelineRow(replicas=2, microbatches=24, machines=(0, 1), edges=(slow,)),
            PipelineRow(replicas=1, microbatches=16, machines=(1, 1), edges=(old.scale_out,)),
        ),
    )
    calibrations = (load_calibration(H100), load_calibration(A100))
    cut = (0, 20, 34)
    price = GroundModel(LLAMA_8B, job, configuration, ground, calibrations).price(cut)
    seconds = price.step.step_seconds
    certificate = Certificate.of(
        value=seconds,
        lower_bound=seconds,
        allowed_gap=0.0,
        method="written by hand",
        candidates=1,
        refined=1,
        evaluated=1,
        infeasible=0,
        cut_by_bound=0,
        pruned={},
        alternatives=[],
    )
    section = PlanGround.of("groups", ground, price, calibrations)
    arguments = (new, LLAMA_8B, job, calibrations[0], configuration, cut, price.step, certificate)
    return build_plan(*arguments, ground=section)


SAMPLES = (interleaved_dense, experts_and_prediction_layer, single_stage_windowed, thousands_of_gpus, unlike_ground)
