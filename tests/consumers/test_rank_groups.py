"""megatron-core and torch's DeviceMesh build the groups that the plan states, from the exported files."""

import importlib.util
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from costmodels.configuration import Configuration, Job
from planner.exports import export
from planner.plan import Plan, coordinates, groups, with_order
from planner.plan.expand import DENSE_AXES, GroupKind
from tests.consumers.required import need_consumer
from tests.planner.plan import samples

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Transformer Engine is not there
    need_consumer("megatron-core", "megatron.core.parallel_state")

    import torch
    import torch.distributed as dist
    from megatron.core import parallel_state
    from torch.distributed.device_mesh import DeviceMesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

GROUPS: dict[GroupKind, Any] = {
    "tp": parallel_state.get_tensor_model_parallel_group,
    "cp": parallel_state.get_context_parallel_group,
    "dp": parallel_state.get_data_parallel_group,
    "pp": parallel_state.get_pipeline_model_parallel_group,
    "etp": parallel_state.get_expert_tensor_parallel_group,
    "ep": parallel_state.get_expert_model_parallel_group,
    "edp": parallel_state.get_expert_data_parallel_group,
}
TOKENS = {"etp": "tp", "edp": "dp"}
"""What the generator of expert ranks calls them."""


def dense(**degrees: int) -> Plan:
    c = Configuration(**{"sp": 1, **degrees})  # type: ignore[arg-type]
    job = Job(global_batch=4 * c.dp, sequence_length=8192)
    model, layers = (samples.LLAMA_8B, 34) if c.gpus < 1024 else (samples.LLAMA_405B, 128)
    return samples.make_plan(samples.h100_cluster(c.gpus // 8), model, job, (c, samples.even_cut(layers, c.pp)))


def experts(**degrees: int) -> Plan:
    c = Configuration(**{"sp": 1, **degrees})  # type: ignore[arg-type]
    job = Job(global_batch=4 * c.dp, sequence_length=8192)
    cut = samples.even_cut(18, c.pp)
    return samples.make_plan(samples.h100_cluster(c.gpus // 8), samples.LATENT_MOE, job, (c, cut))


PLANS = {
    "dense, 16": dense(tp=2, cp=2, pp=2, dp=2),
    "dense without cp, 16": dense(tp=4, pp=2, dp=2),
    "dense, 1024": dense(tp=8, cp=2, pp=8, dp=8),
    "experts, 16": experts(tp=2, cp=2, pp=2, dp=2, ep=4, etp=1),
    "experts cut like attention, 16": experts(tp=2, pp=2, dp=4, ep=2, etp=2),
    "folded experts, 16": experts(tp=2, pp=2, dp=4, ep=8, etp=1),
    "folded experts, 1024": experts(tp=2, cp=2, pp=4, dp=64, ep=32, etp=1),
    "experts on etp ep = tp cp, 1024": experts(tp=4, cp=4, pp=4, dp=16, ep=8, etp=2),
}
FIRST = {
    name: with_order(plan, "tp-cp-pp-dp")
    for name, plan in PLANS.items()
    if name not in ("experts cut like attention, 16", "folded experts, 16", "folded experts, 1024")
}
"""Those whose pipelines may stand on consecutive ranks."""
CASES = {**PLANS, **{f"{name}, pipelines first": plan for name, plan in FIRST.items()}}


def sample(plan: Plan) -> list[int]:
    """All of 16 or 32 ranks, nine of 1,024."""
    size = plan.ranks.world_size
    return list(range(size)) if size <= 32 else [0, 5, 37, 130, 259, 517, 640, 897, size - 1]


@contextmanager
def world(rank: int, size: int) -> Iterator[None]:
    """One process that takes itself for ``rank`` of ``size``: torch's backend that sends nothing."""
    dist.init_process_group("fake", rank=rank, world_size=size, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def megatron(rank: int, size: int, arguments: dict[str, Any]) -> Iterator[None]:
    """Megatron's groups in the process of ``rank``, as Megatron-LM hands its arguments over."""
    order = "tp-cp-ep-pp-dp" if arguments.get("--use-tp-pp-dp-mapping") else "tp-cp-ep-dp-pp"
    with world(rank, size):
        try:
            parallel_state.initialize_model_parallel(
                tensor_model_parallel_size=arguments["--tensor-model-parallel-size"],
                pipeline_model_parallel_size=arguments["--pipeline-model-parallel-size"],
                context_parallel_size=arguments["--context-parallel-size"],
                expert_model_parallel_size=arguments.get("--expert-model-parallel-size", 1),
                expert_tensor_parallel_size=arguments.get("--expert-tensor-parallel-size"),
                order=order,
                create_gloo_process_groups=False,
            )
            yield
        finally:
            parallel_state.destroy_model_parallel()


def exported(plan: Plan) -> dict[str, Any]:
    arguments: dict[str, Any] = json.loads(export(plan, "megatron")["megatron.json"])["arguments"]
    return arguments


@pytest.mark.parametrize("name", CASES)
def test_megatron_builds_the_groups_of_the_plan(name: str) -> None:
    plan = CASES[name]
    kinds = list(GROUPS) if plan.model().is_moe else DENSE_AXES
    for rank in sample(plan):
        with megatron(rank, plan.ranks.world_size, exported(plan)):
            for kind in kinds:
                assert tuple(dist.get_process_group_ranks(GROUPS[kind]())) == groups(plan, kind, rank)


@pytest.mark.parametrize("name", CASES)
def test_the_rank_generator_lists_every_group_of_the_plan(name: str) -> None:
    plan, sizes = CASES[name], CASES[name].ranks.sizes
    order = "tp-cp-ep-dp-pp" if plan.ranks.order == "tp-cp-dp-pp" else "tp-cp-ep-pp-dp"
    generators = {
        DENSE_AXES: parallel_state.RankGenerator(sizes["tp"], 1, sizes["dp"], sizes["pp"], sizes["cp"], order),
    }
    if plan.model().is_moe:
        generators["etp", "ep", "edp", "pp"] = parallel_state.RankGenerator(
            sizes["etp"], sizes["ep"], sizes["edp"], sizes["pp"], 1, order
        )
    for kinds, generator in generators.items():
        for kind in kinds:
            listed = {tuple(group) for group in generator.get_ranks(TOKENS.get(kind, kind))}
            assert listed == {groups(plan, kind, rank) for rank in range(plan.ranks.world_size)}


def test_megatron_refuses_what_the_export_refuses() -> None:
    """Folded experts whose replicas are fewer than the pipelines, unless stages come last."""
    folded = exported(PLANS["folded experts, 16"]) | {"--use-tp-pp-dp-mapping": True}
    with pytest.raises(AssertionError, match="must be the same"), megatron(0, 16, folded):
        pass


def test_megatron_asks_for_expert_groups_of_a_dense_model_too() -> None:
    """With cp > 1 it takes as many ranks as tp for them and asserts; the export states tp x cp."""
    arguments = exported(CASES["dense, 16, pipelines first"])
    assert arguments.pop("--expert-tensor-parallel-size") == 4
    with pytest.raises(AssertionError, match="must be the same"), megatron(0, 16, arguments):
        pass


def loader(plan: Plan, folder: Path) -> Any:
    """``load_mesh`` of the exported script, its files in ``folder``."""
    for name, text in export(plan, "device-mesh").items():
        (folder / name).write_text(text)
    spec = importlib.util.spec_from_file_location("device_mesh_of_a_plan", folder / "device_mesh.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load_mesh


FOLDED = {"folded experts, pipelines first": samples.folded_experts()}
"""What Megatron cannot express a mesh can."""


@pytest.mark.parametrize("name", [*CASES, *FOLDED])
def test_a_device_mesh_has_the_groups_of_the_plan(name: str, tmp_path: Path) -> None:
    plan = (CASES | FOLDED)[name]
    load_mesh = loader(plan, tmp_path)
    parts = ("dense", "experts") if plan.model().is_moe else ("dense",)
    for rank in sample(plan):
        with world(rank, plan.ranks.world_size):
            for part in parts:
                mesh = load_mesh(part, "cpu")
                for kind in mesh.mesh_dim_names:
                    assert mesh.get_local_rank(kind) == getattr(coordinates(plan, rank), kind)
                    assert tuple(dist.get_process_group_ranks(mesh.get_group(kind))) == groups(plan, kind, rank)


def test_a_group_counts_its_ranks_in_ascending_order_whatever_the_tensor_says() -> None:
    """Why the exported mesh needs the plan's order of hosts: with ranks permuted instead, torch 2.13 builds the same
    group, but a rank's place in it is no longer its coordinate."""
    with world(0, 2):
        mesh = DeviceMesh("cpu", torch.tensor([1, 0]), mesh_dim_names=("pp",))
        assert (mesh.get_coordinate(), mesh.get_local_rank("pp")) == ((1,), 0)
