"""``plan export``: files for a runtime from a plan."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.exports.targets import TARGETS

if TYPE_CHECKING:
    from planner.plan import Plan

LISTED = "\n\n".join(
    f"\b\n  {name}: {target.summary}\n    {', '.join(target.files)}" for name, target in TARGETS.items()
)


def _target_names(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    return [name for name in TARGETS if name.startswith(begun)]


@click.command(
    short_help="Files for a runtime from a plan.",
    help="Write PLAN as the files that a runtime reads. What the runtime cannot express is refused: all of it is "
    f"named, nothing is written, exit code 1.\n\nTargets:\n\n{LISTED}",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, metavar="TARGET", shell_complete=_target_names, help="One of these.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A folder for all files (made if missing), or a file where there is only one; without it the first file "
    "goes to stdout.",
)
@click.option(
    "--hosts",
    metavar="HOSTLIST",
    help="Names of the cluster's nodes in their own order, e.g. 'node[1-8]', for a plan that names none.",
)
@click.option("--json", "as_json", is_flag=True, help="Write all files, or the refusals, as JSON to stdout.")
@click.pass_context
def command(ctx: click.Context, plan: Path, target: str, output: Path | None, hosts: str | None, as_json: bool) -> None:
    from planner.cli.output import echo_json
    from planner.exports import ExportRefused, UnknownTarget, export
    from planner.exports.targets import target_named
    from planner.plan import Plan

    try:
        target_named(target)
    except UnknownTarget as error:
        raise click.BadParameter(f"{error}.", param_hint="--to") from None
    document = Plan.load(plan)
    if hosts is not None:
        document = _named(document, hosts)
    try:
        files = export(document, target)
    except ExportRefused as refusal:
        if as_json:
            echo_json({"target": target, "files": {}, "refused": refusal.reasons})
        else:
            click.echo(f"refused: {target} cannot express this plan", err=True)
            for reason in refusal.reasons:
                click.echo(f"  {reason}", err=True)
        ctx.exit(1)
    if output is not None:
        _write(files, output, folder=len(TARGETS[target].files) > 1)
    if as_json:
        echo_json({"target": target, "files": files, "refused": []})
    elif output is None:
        first, *others = files
        click.echo(files[first], nl=False)
        if others:
            click.echo(f"not shown: {', '.join(others)}; -o FOLDER writes all files", err=True)


def _named(plan: "Plan", hosts: str) -> "Plan":
    from planner.plan import PlanError, with_hosts

    if plan.ranks.hosts is not None:
        raise click.BadParameter("the plan names its hosts; leave it out.", param_hint="--hosts")
    try:
        return with_hosts(plan, hosts, plan.ranks.local_gpus)
    except (PlanError, ValueError) as error:
        raise click.BadParameter(f"{error}.", param_hint="--hosts") from None


def _write(files: dict[str, str], output: Path, folder: bool) -> None:
    """The only file of a target to ``output`` itself unless that is a folder; several into the folder."""
    folder = folder or output.is_dir()
    if folder:
        output.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = output / name if folder else output
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path}", err=True)
