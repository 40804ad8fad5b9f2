"""Plans distributed training: specs in, plans out.

    from planner import load_cluster, load_model, make_job, solve, validate

    outcome = solve(load_cluster("dgx-h100-8"), load_model("llama-3-70b"),
                    make_job(global_batch=128, sequence_length=8192))
    outcome.plan.save("plan.json")

Names are imported when first used, so that the command line starts quickly.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.expert_problem import ExpertProblem as ExpertProblem
    from planner.expert_problem import load_experts as load_experts
    from planner.expert_training import ExpertLoads as ExpertLoads
    from planner.expert_training import load_expert_loads as load_expert_loads
    from planner.experts import plan_experts as plan_experts
    from planner.infeasibility import Infeasibility as Infeasibility
    from planner.mapping import plan_mapping as plan_mapping
    from planner.mapping_problem import MappingProblem as MappingProblem
    from planner.mapping_problem import load_mapping as load_mapping
    from planner.pipeline import Pipeline as Pipeline
    from planner.pipeline import load_pipeline as load_pipeline
    from planner.plan import Plan as Plan
    from planner.plan import PlanError as PlanError
    from planner.plan.experts_result import ExpertsResult as ExpertsResult
    from planner.plan.mapping_result import MappingResult as MappingResult
    from planner.plan.schedule_result import ScheduleResult as ScheduleResult
    from planner.predict import Prediction as Prediction
    from planner.predict import predict as predict
    from planner.schedule import plan_schedule as plan_schedule
    from planner.solve import Outcome as Outcome
    from planner.solve import SolveOptions as SolveOptions
    from planner.solve import solve as solve
    from planner.space import IllegalConfiguration as IllegalConfiguration
    from planner.specs import SpecError as SpecError
    from planner.specs import load_cluster as load_cluster
    from planner.specs import load_model as load_model
    from planner.specs import make_job as make_job
    from planner.validate import Finding as Finding
    from planner.validate import validate as validate

HOMES = {
    "ExpertLoads": "planner.expert_training",
    "ExpertProblem": "planner.expert_problem",
    "ExpertsResult": "planner.plan.experts_result",
    "Finding": "planner.validate",
    "IllegalConfiguration": "planner.space",
    "Infeasibility": "planner.infeasibility",
    "Outcome": "planner.solve",
    "MappingProblem": "planner.mapping_problem",
    "MappingResult": "planner.plan.mapping_result",
    "Pipeline": "planner.pipeline",
    "Plan": "planner.plan",
    "PlanError": "planner.plan",
    "Prediction": "planner.predict",
    "ScheduleResult": "planner.plan.schedule_result",
    "SolveOptions": "planner.solve",
    "SpecError": "planner.specs",
    "load_cluster": "planner.specs",
    "load_expert_loads": "planner.expert_training",
    "load_experts": "planner.expert_problem",
    "load_mapping": "planner.mapping_problem",
    "load_model": "planner.specs",
    "load_pipeline": "planner.pipeline",
    "make_job": "planner.specs",
    "plan_experts": "planner.experts",
    "plan_mapping": "planner.mapping",
    "plan_schedule": "planner.schedule",
    "predict": "planner.predict",
    "solve": "planner.solve",
    "validate": "planner.validate",
}

__all__ = sorted(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


class _Package(ModuleType):
    """``planner.solve`` is the function: the import of the module of that name does not hide it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
