"""The command group. Commands are imported by name when used, so that ``plan --help`` stays quick."""

import importlib
import keyword
import os
import sys
from typing import Any

import click

COMMANDS = {
    "solve": "Find the best configuration and prove it.",
    "predict": "Time and memory of one configuration, or of every row of a table.",
    "validate": "Re-derive every constraint and figure of a plan.",
    "explain": "What binds in a plan, and why an alternative lost.",
    "diff": "What changed between two plans, and what it does.",
    "experts": "Which experts stand on which GPU, from one small file.",
    "export": "Files for a runtime from a plan.",
    "import": "Specs from files you own: topo -m, Slurm, nccl-tests, config.json, ...",
    "map": "Which host takes which stage of which pipeline, from one small file.",
    "schedule": "The best schedule of one pipeline, from its own small file.",
    "skip": "Which stages each micro-batch runs, where and when.",
    "calibrate": "Fit the figures of a cluster to its own measurements.",
    "cases": "Bundled clusters, models and jobs: list them, run them.",
    "schema": "JSON Schema of the specs and of the plan document.",
    "doctor": "Check this environment.",
    "completion": "Print the shell completion script.",
}


INTERRUPTED = 130
"""Exit code after a Ctrl-C that left no result: 128 + SIGINT, as shells have it."""


class LazyGroup(click.Group):
    """Names and short help come from ``COMMANDS``; the module of a command is loaded on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command = importlib.import_module(f"planner.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a user can cause ends in a message and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            from planner.cli.failures import explain_failure

            if os.environ.get("PLAN_TRACEBACK"):
                raise
            message, code = explain_failure(error, ctx.invoked_subcommand or "")
            click.echo(message, err=True)
            ctx.exit(code)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("meshwright")
        except PackageNotFoundError:
            number = "(a checkout that is not installed)"
        click.echo(f"meshwright {number}")
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show it.")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Plan distributed training: cluster, model and job in; configuration, plan and proof out.

    Data goes to stdout, messages to stderr. Exit codes of solve: 0 proven, 3 feasible but unproven,
    4 infeasible, 1 another error, 2 wrong usage.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Entry point of the ``plan`` script."""
    group(prog_name="plan", complete_var="_PLAN_COMPLETE")
    sys.exit(0)
