"""Random small planning problems: a few candidates each, all kinds of models, tight memory."""

from dataclasses import dataclass

from hypothesis import strategies as st

from costmodels.architecture import Model
from costmodels.configuration import Job
from costmodels.hardware import Cluster
from tests.machines import cluster, dense_model, gqa, mla, moe_model


@dataclass(frozen=True)
class Instance:
    cluster: Cluster
    model: Model
    job: Job
    pins: dict[str, int | str]

    @property
    def parts(self) -> tuple[Cluster, Model, Job]:
        return self.cluster, self.model, self.job


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    """At most 8 GPUs and 6 layers; two or three degrees pinned to keep the space to dozens."""
    nodes, gpus_per_node = draw(st.sampled_from([(1, 2), (1, 4), (2, 2), (2, 1), (1, 3), (3, 2)]))
    attention = draw(st.sampled_from([gqa(), gqa(heads=4, kv_heads=2, head_dim=128), gqa(window=512), mla()]))
    layers = draw(st.integers(1, 6))
    if draw(st.booleans()):
        model = dense_model(layers, attention=attention, ffn=draw(st.sampled_from([1024, 1536, 4096])))
    else:
        model = moe_model(
            layers,
            experts=draw(st.sampled_from([4, 6])),
            dense_prefix=draw(st.integers(0, layers)),
            mtp=draw(st.integers(0, 1)),
            attention=attention,
        )
    job = Job(
        global_batch=draw(st.sampled_from([2, 4, 6, 8])),
        sequence_length=draw(st.sampled_from([2048, 4096])),
        attention=draw(st.sampled_from(["flash", "flash", "unfused"])),
        expert_imbalance=draw(st.sampled_from([1.0, 1.25])),
        gradient_overlap=draw(st.booleans()),
    )
    gigabytes = draw(st.sampled_from([3.5, 4.0, 5.0, 8.0, 80.0]))
    pins: dict[str, int | str] = {
        "zero": draw(st.integers(0, 3)),
        "recompute": draw(st.sampled_from(["none", "layernorm+moe_act", "mlp+moe", "full", "full:1", "full/2"])),
    }
    if draw(st.booleans()):
        pins["mbs"] = draw(st.sampled_from([1, 2]))
    machine = cluster(nodes, gpus_per_node, memory_bytes=gigabytes * 1e9)
    return Instance(machine, model, job, pins)
