"""Checks a plan from the plan alone: every constraint and figure derived again.

Nothing of the search or the solvers is used. Any JSON value gives findings; only what is no JSON
file at all raises.
"""

from pathlib import Path
from typing import Any

from costmodels.hardware import Cluster
from planner.mixed.islands import Islands
from planner.plan import Plan, PlanError
from planner.plan.diff import pointer_step
from planner.plan.reading import parse_json, read_text
from planner.validate.certificate import check_certificate
from planner.validate.document import check_canonical, check_cluster, check_digests
from planner.validate.expert_training import check_placed_experts
from planner.validate.findings import Finding, Report
from planner.validate.formats import STYLES, render
from planner.validate.ground import check_ground
from planner.validate.groups import check_groups
from planner.validate.hosts import check_links
from planner.validate.inputs import check_inputs
from planner.validate.prediction import check_prediction
from planner.validate.prices import check_prices, check_stage_figures
from planner.validate.provenance import check_provenance
from planner.validate.skip_section import check_skip_section
from planner.validate.structure import check_structure

__all__ = ["STYLES", "Finding", "render", "validate", "validate_json"]


def validate(plan: Plan | str | Path, cluster: Cluster | Islands | None = None) -> list[Finding]:
    """All findings about a plan or a plan file, none when it is sound.

    With ``cluster``, also where the plan's cluster differs from it; with unlike groups of nodes, where its machines,
    links and hosts do. ``PlanError`` when the file
    cannot be read or is not JSON.
    """
    if isinstance(plan, Plan):
        return validate_json(plan.to_json(), cluster)
    return validate_json(parse_json(read_text(plan), str(plan)), cluster)


def validate_json(value: Any, cluster: Cluster | Islands | None = None) -> list[Finding]:
    """``validate`` for parsed JSON, whatever it is."""
    report = Report()
    try:
        plan = Plan.from_json(value)
    except PlanError as error:
        for problem in error.problems:
            pointer = "".join(f"/{pointer_step(step)}" for step in problem.path)
            report.add("schema", pointer, problem.message, found=problem.value)
        return list(report)
    check_canonical(plan, value, report)
    check_digests(plan, report)
    check_provenance(plan, report)
    if isinstance(cluster, Cluster):
        check_cluster(plan, cluster, report)
    foundations = Report()
    check_inputs(plan, foundations)
    if foundations.clean:
        check_structure(plan, foundations)
        check_ground(plan, foundations)
        if foundations.clean:
            check_placed_experts(plan, foundations)
        if foundations.clean or plan.ground is None:
            check_stage_figures(plan, report)
            check_prediction(plan, report)
            check_certificate(plan, report)
        if foundations.clean:
            check_prices(plan, report)
            if isinstance(cluster, Cluster):
                check_links(plan, cluster, report)
            elif cluster is not None:
                check_groups(plan, cluster, report)
            check_skip_section(plan, report)
    return [*foundations, *report]
