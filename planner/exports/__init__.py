"""Files for a runtime from a plan, one module per consumer; what a runtime cannot express is refused by name."""

from importlib import import_module
from typing import TYPE_CHECKING

from planner.exports.skipping import NO_SKIPPING
from planner.exports.targets import TARGETS, ExportRefused, UnknownTarget, target_named

if TYPE_CHECKING:
    from planner.plan import Plan
    from planner.plan.skip import Skip

__all__ = ["TARGETS", "ExportRefused", "UnknownTarget", "export"]


def export(plan: "Plan", target: str) -> dict[str, str]:
    """The files that ``target`` reads, name to text, the main one first.

    Raises ``UnknownTarget`` for a name that is not in ``TARGETS``, ``ExportRefused`` with every part of the
    plan that the target cannot express, or with every fault of a plan that does not add up: layers lost,
    degrees that do not multiply to the ranks. Its seconds and bytes are not priced again.
    """
    module = import_module(f"planner.exports.{target_named(target).module}")
    if faults := _faults(plan):
        raise ExportRefused(target, faults)
    if plan.skip is not None and target in NO_SKIPPING:
        raise ExportRefused(target, [_skipping(plan.skip, target, len(plan.stages))])
    if target in NO_SKIPPING and (shares := _unlike_shares(plan)):
        why = f"ground: {NO_SKIPPING[target]} runs as many micro-batches in every pipeline; {shares}"
        raise ExportRefused(target, [why])
    files: dict[str, str] = module.files(plan)
    return files


def _unlike_shares(plan: "Plan") -> str:
    """In words, where pipelines run unlike numbers of micro-batches."""
    rows = plan.ground.rows if plan.ground is not None else ()
    if len({row.microbatches for row in rows}) < 2:
        return ""
    shares = ", ".join(f"{row.replicas} x {row.microbatches}" for row in rows)
    return f"here they share the batch unevenly: {shares}; place ranks with hostfile, slurm or device-mesh"


def _skipping(skip: "Skip", target: str, stages: int) -> str:
    return (
        f"skip: {NO_SKIPPING[target]} sends every micro-batch through all {stages} stages in one order; here each runs "
        f"{skip.path_length}; plan without --skip-ratio, or run the paths and the order of the plan's skip section in "
        "a runtime of your own"
    )


def _faults(plan: "Plan") -> list[str]:
    from planner.validate.expert_training import check_placed_experts
    from planner.validate.findings import Report
    from planner.validate.inputs import check_inputs
    from planner.validate.structure import check_structure

    report = Report()
    check_inputs(plan, report)
    if report.clean:
        check_structure(plan, report)
    if report.clean:
        check_placed_experts(plan, report)
    return [f"the plan does not add up: {finding.path}: {finding.message}" for finding in report]
