"""What the user describes: the cluster, the model, the job."""

from planner.specs.cluster import ClusterSpec
from planner.specs.errors import Problem, Problems, SpecError
from planner.specs.experts import ExpertsSpec
from planner.specs.job import JobSpec, check_job, load_job, make_job
from planner.specs.machines import Machines, load_cluster, load_machines
from planner.specs.mapping import MappingSpec
from planner.specs.model import load_model
from planner.specs.model_spec import ModelSpec
from planner.specs.pipeline import PipelineSpec
from planner.specs.skip import SkipSpec

__all__ = [
    "ClusterSpec",
    "ExpertsSpec",
    "JobSpec",
    "Machines",
    "MappingSpec",
    "ModelSpec",
    "PipelineSpec",
    "Problem",
    "Problems",
    "SkipSpec",
    "SpecError",
    "check_job",
    "load_cluster",
    "load_job",
    "load_machines",
    "load_model",
    "make_job",
]
