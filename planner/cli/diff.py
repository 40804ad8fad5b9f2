"""``plan diff``: what changed between two plans and what it does to time and memory."""

from pathlib import Path

import click


@click.command(short_help="What changed between two plans, and what it does.")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--exit-code", is_flag=True, help="Exit with 1 when the plans differ.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def command(ctx: click.Context, before: Path, after: Path, exit_code: bool, as_json: bool) -> None:
    """Compare plan BEFORE with plan AFTER."""
    from planner.cli.output import echo_json
    from planner.plan import Plan, diff_plans

    changes = diff_plans(Plan.load(before), Plan.load(after))
    if as_json:
        echo_json(changes)
    else:
        click.echo(str(changes))
    ctx.exit(1 if exit_code and changes else 0)
