"""Small clusters, models and jobs that the tests share."""

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from costmodels.hardware import Cluster, Gpu, Link

H100 = Gpu(
    name="h100-sxm-80gb",
    architecture="hopper",
    memory_bytes=81559 * 2.0**20,
    memory_bytes_per_second=3.35e12,
    peak_flops={"fp16": 989e12, "bf16": 989e12, "fp8": 1979e12},
)


def cluster(
    nodes: int = 1, gpus_per_node: int = 8, *, memory_bytes: float | None = None, domain_gpus: int | None = None
) -> Cluster:
    """H100 nodes on NVLink 4 with a 400 Gb/s NIC a GPU; ``memory_bytes`` for a GPU of another size."""
    gpu = H100
    if memory_bytes is not None:
        gpu = Gpu(
            name=H100.name,
            architecture=H100.architecture,
            memory_bytes=memory_bytes,
            memory_bytes_per_second=H100.memory_bytes_per_second,
            peak_flops=H100.peak_flops,
        )
    return Cluster(
        name="test",
        gpu=gpu,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        domain_gpus=domain_gpus or gpus_per_node,
        scale_up=Link(bytes_per_second=450e9, latency_seconds=3e-6),
        scale_out=Link(bytes_per_second=50e9, latency_seconds=5e-6),
    )


def gqa(heads: int = 8, kv_heads: int = 4, head_dim: int = 64, window: int | None = None) -> Attention:
    return Attention(heads=heads, kv_heads=kv_heads, head_dim=head_dim, value_dim=head_dim, window=window)


def mla(heads: int = 8) -> Attention:
    return Attention(
        kind="mla",
        heads=heads,
        kv_heads=heads,
        head_dim=96,
        value_dim=64,
        q_lora_rank=256,
        kv_lora_rank=128,
        rope_dim=32,
    )


def dense_model(layers: int = 4, hidden: int = 512, ffn: int = 2048, *, attention: Attention | None = None) -> Model:
    kind = LayerKind(name="dense", attention=attention or gqa(), block=Mlp(ffn=ffn), norm_parameters=2 * hidden)
    return Model(
        name="dense", hidden=hidden, vocabulary=32000, kinds=(kind,), layers=(0,) * layers, final_norm_parameters=hidden
    )


def moe_model(
    layers: int = 4,
    hidden: int = 512,
    *,
    experts: int = 8,
    dense_prefix: int = 1,
    mtp: int = 0,
    attention: Attention | None = None,
) -> Model:
    """Dense prefix, then experts with a shared one; ``mtp`` prediction layers of the expert kind."""
    attention = attention or gqa()
    norms = 2 * hidden
    dense = LayerKind(name="dense", attention=attention, block=Mlp(ffn=2048), norm_parameters=norms)
    block = Moe(experts=experts, top_k=2, ffn=1024, shared_ffn=1024, router_bias=True)
    expert = LayerKind(name="moe", attention=attention, block=block, norm_parameters=norms)
    predict = LayerKind(
        name="moe",
        attention=attention,
        block=block,
        norm_parameters=norms,
        extra_parameters=2 * hidden**2 + 2 * hidden,
    )
    return Model(
        name="moe",
        hidden=hidden,
        vocabulary=32000,
        kinds=(dense, expert, predict),
        layers=(0,) * dense_prefix + (1,) * (layers - dense_prefix),
        mtp_layers=(2,) * mtp,
        final_norm_parameters=hidden,
    )


DEEPSEEK_V3_ATTENTION = Attention(
    kind="mla",
    heads=128,
    kv_heads=128,
    head_dim=192,
    value_dim=128,
    q_lora_rank=1536,
    kv_lora_rank=512,
    rope_dim=64,
)
