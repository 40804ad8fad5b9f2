"""The arguments that name a cluster, a model and a job, shared by the commands that need them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from costmodels.architecture import Model
    from costmodels.configuration import Job
    from costmodels.hardware import Cluster

PRECISIONS = ["bf16", "fp8", "fp16", "fp4"]


def job_options(required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """CLUSTER --model --global-batch --seq-len --precision --calibration."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(
            [
                click.argument("cluster", required=required),
                click.option("--model", required=required, help="Catalogue name, HF config.json or model YAML."),
                click.option("--global-batch", type=int, required=required, metavar="N", help="Sequences a step."),
                click.option("--seq-len", type=int, required=required, metavar="S", help="Tokens a sequence."),
                click.option(
                    "--precision",
                    type=click.Choice(PRECISIONS),
                    default="bf16",
                    help="Of the matrix products.",
                ),
                click.option(
                    "--calibration",
                    type=click.Path(path_type=Path),
                    help="Your figures, over the catalogue's.",
                ),
            ]
        ):
            function = option(function)
        return function

    return decorate


def load_inputs(
    cluster: str, model: str, global_batch: int, seq_len: int, precision: str
) -> "tuple[Cluster, Model, Job]":
    """Resolved specs; raises ``SpecError`` with everything that is wrong in one of them."""
    from planner.specs import check_job, load_cluster, load_model, make_job

    machine, network = load_cluster(cluster), load_model(model)
    job = make_job(global_batch=global_batch, sequence_length=seq_len, precision=precision)
    check_job(job, machine, network)
    return machine, network, job
