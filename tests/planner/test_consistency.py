"""Predictions move the right way: better hardware is never slower, more sharding never heavier.

Named exceptions. Time: none, for a given cut of the model. Memory: ``pp`` moves the embedding and the
logits onto stages of their own and keeps more micro-batches in flight, so only its largest stage
without them falls; stage 3 of ZeRO gathers layers again and may take more than stage 2 where a layer is
most of the model; everything that changes the number of tokens on a rank goes the other way by design
(``mbs``).
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.calibration import load_calibration
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster, Link
from costmodels.items import chain_of
from costmodels.price import StepPrice
from costmodels.step_price import price_step
from planner.predict import even_boundaries
from planner.space import enumerate_space
from tests.machines import cluster, dense_model, moe_model
from tests.planner.instances import Instance, instances


def price(instance: Instance, configuration: Configuration, machine: Cluster | None = None) -> StepPrice:
    machine = machine or instance.cluster
    model = instance.model
    length = len(chain_of(model).types)
    chunks = configuration.pp * configuration.vp
    boundaries = even_boundaries(model, configuration)
    if boundaries is None:  # any fixed cut will do
        boundaries = (*(round(i * (len(model.layers) + 2) / chunks) for i in range(chunks)), length)
    calibration = load_calibration(machine.gpu)
    return price_step(model, machine, instance.job, calibration, configuration, boundaries)


def faster(machine: Cluster, what: str, factor: float) -> Cluster:
    def wider(link: Link) -> Link:
        return replace(link, bytes_per_second=link.bytes_per_second * factor)

    def sooner(link: Link) -> Link:
        return replace(link, latency_seconds=link.latency_seconds / factor)

    gpu = machine.gpu
    changes = {
        "peak FLOP/s": {"gpu": replace(gpu, peak_flops={k: v * factor for k, v in gpu.peak_flops.items()})},
        "memory bandwidth": {"gpu": replace(gpu, memory_bytes_per_second=gpu.memory_bytes_per_second * factor)},
        "NVLink bandwidth": {"scale_up": wider(machine.scale_up)},
        "NIC bandwidth": {"scale_out": wider(machine.scale_out)},
        "NVLink latency": {"scale_up": sooner(machine.scale_up)},
        "NIC latency": {"scale_out": sooner(machine.scale_out)},
    }
    return replace(machine, **changes[what])  # type: ignore[arg-type]


BETTER = ["peak FLOP/s", "memory bandwidth", "NVLink bandwidth", "NIC bandwidth", "NVLink latency", "NIC latency"]


@pytest.mark.parametrize("what", BETTER)
@settings(max_examples=40, deadline=None)
@given(instance=instances(), factor=st.floats(1.0, 20.0), pick=st.integers(0, 10**6))
def test_better_hardware_is_never_slower(what: str, instance: Instance, factor: float, pick: int) -> None:
    columns = enumerate_space(*instance.parts, instance.pins).columns
    if not len(columns):
        return
    configuration = columns.row(pick % len(columns))
    before = price(instance, configuration).step_seconds
    after = price(instance, configuration, faster(instance.cluster, what, factor)).step_seconds
    assert after <= before * (1 + 1e-12)


def peak(configuration: Configuration, *, moe: bool = False, attention: str = "flash") -> float:
    model = moe_model(layers=8, hidden=1024) if moe else dense_model(layers=8, hidden=1024, ffn=4096)
    job = Job(global_batch=64, sequence_length=8192, attention=attention)  # type: ignore[arg-type]
    instance = Instance(cluster(nodes=8), model, job, {})
    return max(stage.memory.peak_bytes for stage in price(instance, configuration).stages)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"tp": 2, "dp": 32}, {"tp": 4, "dp": 16}),
        ({"tp": 2, "dp": 32}, {"tp": 2, "sp": 1, "dp": 32}),
        ({"cp": 2, "dp": 32}, {"cp": 4, "dp": 16}),
        ({"zero": 0, "dp": 64}, {"zero": 1, "dp": 64}),
        ({"zero": 1, "dp": 64}, {"zero": 2, "dp": 64}),
        ({"zero": 2, "dp": 64}, {"zero": 3, "dp": 64}),
        ({"recompute": "none", "dp": 64}, {"recompute": "full", "dp": 64}),
        ({"mbs": 2, "dp": 32, "tp": 2}, {"mbs": 1, "dp": 32, "tp": 2}),
    ],
)
def test_more_sharding_is_never_heavier(less: dict[str, int], more: dict[str, int]) -> None:
    assert peak(Configuration(**more)) < peak(Configuration(**less))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("less", "more"),
    [({"ep": 1}, {"ep": 2}), ({"ep": 2}, {"ep": 8}), ({"ep": 2}, {"ep": 2, "etp": 2})],
)
def test_spreading_experts_is_never_heavier(less: dict[str, int], more: dict[str, int]) -> None:
    """Under ZeRO 0: with the optimizer sharded, fewer expert replicas shard less (exact trade-off)."""
    shared = {"dp": 64, "zero": 0}
    assert peak(Configuration(**shared, **more), moe=True) < peak(Configuration(**shared, **less), moe=True)


def test_selective_recompute_drops_the_scores_of_unfused_attention() -> None:
    none, selective, full = (
        peak(Configuration(dp=64, recompute=level), attention="unfused")  # type: ignore[arg-type]
        for level in ("none", "selective", "full")
    )
    assert none > selective > full


def test_more_data_parallel_ranks_shard_the_optimizer_further() -> None:
    model = dense_model(layers=8, hidden=1024, ffn=4096)

    def states(nodes: int) -> float:
        job = Job(global_batch=1024, sequence_length=2048)
        instance = Instance(cluster(nodes=nodes), model, job, {})
        return price(instance, Configuration(dp=8 * nodes)).stages[0].memory.optimizer_bytes

    assert states(4) == pytest.approx(states(1) / 4)
