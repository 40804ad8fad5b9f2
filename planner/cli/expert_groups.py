"""Lines of a plan's summary on where its experts lie and how Megatron is told."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from planner.plan.expert_groups import expert_groups

if TYPE_CHECKING:
    from planner.plan import Plan


def expert_group_lines(plan: "Plan") -> Iterator[str]:
    """Degrees of the experts, what they lie over, and Megatron's options for it; nothing for a dense model."""
    found, degrees = expert_groups(plan), plan.parallelism
    if found is None:
        return
    where = "folded over" if found.folded else "not folded, in the attention's own groups of"
    text = f"ep={found.ep} etp={found.etp} edp={found.edp}, {where} tp={degrees.tp} x cp={degrees.cp} x dp={degrees.dp}"
    yield f"  experts: {text}{_span(found.ep, found.domains)}"
    yield f"  {_megatron(plan)}"


def _span(ep: int, domains: int | None) -> str:
    if ep == 1:
        return " (all experts on each rank)"
    if domains is None:
        return ""
    return (
        " (each expert group in one NVLink domain)"
        if domains == 1
        else f" (an expert group over {domains} NVLink domains)"
    )


def _megatron(plan: "Plan") -> str:
    from planner.exports.megatron_order import megatron_order

    options, reasons = megatron_order(plan)
    if reasons:
        return f"Megatron cannot count these ranks: {'; '.join(reasons)}"
    degrees = plan.parallelism
    flags = {"expert-model-parallel-size": degrees.ep, "expert-tensor-parallel-size": degrees.etp, **options}
    written = " ".join(f"--{name}" if value is True else f"--{name} {value}" for name, value in flags.items())
    return f"Megatron counts these ranks so with {written}"
