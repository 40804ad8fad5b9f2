"""``plan validate``: every constraint and figure of a plan, derived again without the solver."""

from pathlib import Path

import click


@click.command(short_help="Re-derive every constraint and figure of a plan.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--cluster", help="Also check that the plan fits this cluster (name or spec file).")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "github", "sarif", "junit"]),
    default="text",
    help="How findings are written.",
)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
@click.pass_context
def command(ctx: click.Context, plan: Path, cluster: str | None, style: str, as_json: bool) -> None:
    """Check PLAN and report all findings at once. Exit code 0: clean, 1: findings, 2: could not check."""
    from planner.validate import render, validate

    if cluster is None:
        findings = validate(plan)
    else:
        from planner.mixed.of_spec import islands_of
        from planner.specs.machines import load_machines

        machines = load_machines(cluster)
        islands = islands_of(machines)
        ways = [way.cluster for way in machines.alternatives] if islands is None else [islands]
        findings = min((validate(plan, cluster=way) for way in ways), key=len)
    click.echo(render(findings, "json" if as_json else style, plan), nl=False)
    ctx.exit(1 if findings else 0)
