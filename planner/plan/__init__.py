"""The plan document: schema, certificate, expansion to ranks, comparison of two plans."""

from planner.plan.build import build_plan
from planner.plan.certificate import Alternative, Certificate
from planner.plan.diff import Change, PlanDiff, diff_plans
from planner.plan.document import Plan, plan_schema
from planner.plan.errors import PlanError, PlanProblem
from planner.plan.expand import Operation, RankPlacement, coordinates, experts, groups, operations
from planner.plan.inputs import PlanOptions
from planner.plan.mapping import with_hosts, with_order

__all__ = [
    "Alternative",
    "Certificate",
    "Change",
    "Operation",
    "Plan",
    "PlanDiff",
    "PlanError",
    "PlanOptions",
    "PlanProblem",
    "RankPlacement",
    "build_plan",
    "coordinates",
    "diff_plans",
    "experts",
    "groups",
    "operations",
    "plan_schema",
    "with_hosts",
    "with_order",
]
