"""``plan predict``: time and memory of one configuration, or of every row of a table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from planner.cli.inputs import Asked, check_writable, job_options


@click.command(short_help="Time and memory of one configuration, or of every row of a table.")
@job_options
@click.option("--config", metavar="tp=8,pp=4", help="The configuration; what is left out gets its default.")
@click.option(
    "--split",
    type=click.Choice(["best", "balanced", "even", "redistributed"]),
    default="best",
    help="How layers are cut into stages.",
)
@click.option("--expert-loads", metavar="FILE", help="Tokens of each expert: place experts by them.")
@click.option("--rows", type=click.Path(path_type=Path), help="A CSV table of training runs instead.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the table goes; stdout otherwise.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    asked: Asked,
    calibration: Path | None,
    config: str | None,
    split: str,
    expert_loads: str | None,
    rows: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Predict one configuration of MODEL on CLUSTER, without a search.

    With --rows, predict every row of a table: adds predicted_step_time_s, predicted_peak_mem_gb,
    predicted_status and predicted_assumptions, and prints errors per source on stderr.
    """
    if rows is not None:
        if asked.anything or config or expert_loads:
            raise click.UsageError("--rows takes everything from the table: leave CLUSTER, --model and the job out.")
        from planner.cli.rows import predict_table

        check_writable(output)
        predict_table(rows, output, calibration, as_json)
        return
    if config is None or not asked.complete():
        raise click.UsageError(
            "needs CLUSTER, --model, --config, and --global-batch with --seq-len or --job FILE; or --rows FILE alone."
        )
    if output is not None:
        raise click.UsageError("-o goes with --rows.")
    from planner.cli.output import echo_json
    from planner.cli.pairs import configuration_of, parse_pairs
    from planner.cli.prediction import as_mapping, describe
    from planner.cli.ways import against, excluded_line, tell_notes
    from planner.expert_training import load_expert_loads
    from planner.predict import IllegalConfiguration, predict

    pairs = parse_pairs(config)
    machines, network, job = asked.load()
    tell_notes(machines)
    machine = machines.groups[0]
    chosen = configuration_of(pairs, machine.gpus)
    loads = load_expert_loads(expert_loads, network) if expert_loads is not None else None
    given: dict[str, Any] = {"split": split, "calibration": calibration, "expert_loads": loads}
    found = predict(machine, network, job, chosen, **given)
    if as_json:
        echo_json(as_mapping(found))
    else:
        click.echo(describe(found))
    if asked.exclude is not None:
        whole, _, _ = replace(asked, exclude=None).load()
        full, nodes = whole.groups[0], len(whole.topology.names)
        note = whole.alternatives[0].note if whole.alternatives else ""
        try:
            before = predict(full, network, job, configuration_of(pairs, full.gpus), **given)
            how = "modelled" if before.feasible else "out of memory"
            text = against(found.step_seconds, before.step_seconds, nodes, how, note)
        except IllegalConfiguration as error:
            text = f"with all {nodes:,} nodes this configuration is none: {error}"
        click.echo(excluded_line(asked, text), err=as_json)
    ctx.exit(0 if found.feasible else 4)
