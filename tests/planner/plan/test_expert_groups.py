"""How experts lie over the ranks of a stage, against the groups that the plan spells out rank by rank."""

import pytest

from costmodels.configuration import Configuration, Job
from planner.cli.expert_groups import expert_group_lines
from planner.plan import Plan, with_hosts, with_order
from planner.plan.expand import groups
from planner.plan.expert_groups import expert_groups
from tests.planner.plan import samples


def plan(**degrees: int) -> Plan:
    """32 GPUs in domains of 8, two stages of 16 ranks."""
    chosen = Configuration(**{"tp": 2, "sp": 1, "pp": 2, "dp": 8, **degrees})  # type: ignore[arg-type]
    job = Job(global_batch=64, sequence_length=4096)
    return samples.make_plan(samples.h100_cluster(4), samples.LATENT_MOE, job, (chosen, (0, 8, 18)))


@pytest.mark.parametrize(
    ("degrees", "folded"),
    [
        ({"ep": 8, "etp": 1}, True),  # 8 ranks: one node
        ({"ep": 4, "etp": 2}, False),  # 2 x 4 ranks: one node
        ({"ep": 8, "etp": 2}, False),  # 16 ranks, two nodes
        ({"ep": 16, "etp": 1}, True),
        ({"cp": 4, "dp": 2, "ep": 8, "etp": 1}, True),  # folded over context ranks too
    ],
)
def test_domains_are_those_of_the_groups_that_ranks_are_in(degrees: dict[str, int], folded: bool) -> None:
    """Second method: every rank's own expert group, its ranks counted by node of eight GPUs."""
    made = plan(**degrees)
    found = expert_groups(made)
    assert found is not None
    spanned = {len({rank // 8 for rank in groups(made, "ep", own)}) for own in range(32)}
    assert found.domains == max(spanned)
    assert (found.ep, found.etp, found.edp) == (degrees["ep"], degrees["etp"], 16 // (degrees["ep"] * degrees["etp"]))
    assert found.folded is folded


def test_the_lines_say_where_experts_lie_and_what_megatron_is_told() -> None:
    assert list(expert_group_lines(plan(ep=8))) == [
        "  experts: ep=8 etp=1 edp=2, folded over tp=2 x cp=1 x dp=8 (each expert group in one NVLink domain)",
        "  Megatron counts these ranks so with --expert-model-parallel-size 8 --expert-tensor-parallel-size 1",
    ]
    assert next(expert_group_lines(plan(ep=8, etp=2))) == (
        "  experts: ep=8 etp=2 edp=1, not folded, in the attention's own groups of tp=2 x cp=1 x dp=8 "
        "(an expert group over 2 NVLink domains)"
    )
    assert "(all experts on each rank)" in next(expert_group_lines(plan(ep=1, etp=2)))
    assert list(expert_group_lines(samples.interleaved_dense())) == []


def test_an_order_that_megatron_does_not_count_in_is_said() -> None:
    """Pipelines on consecutive ranks: etp ep = 8 and tp cp = 2; where groups lie is then not claimed."""
    first, second = expert_group_lines(with_order(plan(ep=8), "tp-cp-pp-dp"))
    assert first == "  experts: ep=8 etp=1 edp=2, folded over tp=2 x cp=1 x dp=8"
    assert second.startswith("  Megatron cannot count these ranks: order=tp-cp-pp-dp with etp x ep = 8 and tp x cp = 2")
    turned = list(expert_group_lines(with_order(plan(ep=2), "tp-cp-pp-dp")))
    assert turned[1].endswith("--expert-tensor-parallel-size 1 --use-tp-pp-dp-mapping")


def test_hosts_in_another_order_leave_nodes_as_they_are() -> None:
    found = expert_groups(with_hosts(plan(ep=8), ["n3", "n1", "n4", "n2"]))
    assert found is not None
    assert found.domains == 1
