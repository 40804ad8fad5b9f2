"""``plan schema``: what the files may contain, as JSON Schema."""

import click


@click.command(short_help="JSON Schema of the specs and of the plan document.")
@click.argument("what", type=click.Choice(["cluster", "model", "job", "plan", "schedule", "experts", "skip", "map"]))
def command(what: str) -> None:
    """Print the JSON Schema of a cluster, model or job spec, of the plan document, of a schedule problem, of
    experts to place, of a skip schedule, or of hosts to map."""
    from planner.cli.output import echo_json

    if what == "plan":
        from planner.plan import plan_schema

        echo_json(plan_schema())
        return
    from pydantic import BaseModel

    from planner.specs import ClusterSpec, ExpertsSpec, JobSpec, MappingSpec, ModelSpec, PipelineSpec, SkipSpec

    specs: dict[str, type[BaseModel]] = {
        "cluster": ClusterSpec,
        "model": ModelSpec,
        "job": JobSpec,
        "schedule": PipelineSpec,
        "experts": ExpertsSpec,
        "skip": SkipSpec,
        "map": MappingSpec,
    }
    echo_json(specs[what].model_json_schema())
