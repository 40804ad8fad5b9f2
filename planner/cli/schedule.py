"""``plan schedule``: one pipeline alone, its best schedule with a bound, or a named one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.exit_codes import EXIT_CODES
from planner.cli.inputs import check_writable
from planner.cli.solver_options import solver_options

if TYPE_CHECKING:
    from planner.pipeline import Pipeline
    from planner.plan.schedule_result import ScheduleResult

NAMES = ("best", "gpipe", "1f1b", "interleaved-1f1b", "zb-h1", "zb-h2", "zb-v", "v-half", "v-min")


@click.command(short_help="The best schedule of one pipeline, from its own small file.")
@click.argument("problem", type=click.Path(path_type=Path))
@click.option("--schedule", "wanted", type=click.Choice(NAMES), help="Before the file's own; best by default.")
@solver_options("schedule")
@click.option("--trace", type=click.Path(path_type=Path, dir_okay=False), help="Write a Chrome trace here (Perfetto).")
@click.pass_context
def command(
    ctx: click.Context,
    problem: Path,
    wanted: str | None,
    time_limit: float,
    seed: int,
    as_json: bool,
    output: Path | None,
    trace: Path | None,
) -> None:
    """Find the best order of operations of the pipeline in PROBLEM (YAML or JSON, 'plan schema schedule').

    Exit code 0: proven optimal, or a named schedule that fits, 3: feasible but unproven at the time limit,
    4: proven infeasible. Ctrl-C ends the search with the best so far.
    """
    from planner.cli.output import plain
    from planner.cli.schedule_summary import summarize
    from planner.pipeline import load_pipeline
    from planner.plan.writing import render

    check_writable(output)
    check_writable(trace)
    pipeline = load_pipeline(problem)
    result = _scheduled(pipeline, wanted or pipeline.schedule, str(problem), time_limit, seed)
    text = render(plain(result)) if as_json or output is not None else ""
    if output is not None:
        output.write_text(text, encoding="utf-8")
    click.echo(text.rstrip("\n") if as_json else summarize(pipeline, result))
    if output is not None:
        click.echo(f"Schedule written to {output}", err=True)
    if trace is not None and result.value is not None:
        from planner.schedule_trace import schedule_trace

        trace.write_text(schedule_trace(result), encoding="utf-8")
        click.echo(f"Trace written to {trace}", err=True)
    named = result.schedule != "best" and result.value is not None
    ctx.exit(0 if named else EXIT_CODES[result.status])


def _scheduled(pipeline: "Pipeline", wanted: str, file: str, time_limit: float, seed: int) -> "ScheduleResult":
    from planner.cli.interrupt import Interrupt
    from planner.cli.progress import Line
    from planner.named_schedules import UnsuitableScheduleError
    from planner.schedule import Progress, plan_schedule
    from planner.specs import Problem, SpecError
    from solvers.schedule.solve import solve_schedule

    line, caught = Line(), Interrupt(solve_schedule, "schedule")

    def tell(state: Progress) -> None:
        caught.bounded = True
        best = f"best {state.value:.6g}" if state.value < float("inf") else "none yet"
        line.show(f"{best}, nothing below {state.lower_bound:.6g}")

    try:
        with caught:
            return plan_schedule(
                pipeline.problem,
                wanted,
                name=pipeline.name,
                time_limit_seconds=time_limit,
                seed=seed,
                on_progress=tell,
            )
    except UnsuitableScheduleError as error:
        raise SpecError([Problem(file=file, key="schedule", value=repr(wanted), message=str(error))]) from None
    finally:
        line.close()
