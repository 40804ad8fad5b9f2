"""``plan calibrate``: fit the figures of a cluster to its own measurements."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.completing import cluster_names
from planner.cli.inputs import check_writable

if TYPE_CHECKING:
    from planner.readers.nccl_tests import NcclRun

FILES = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Fit the figures of a cluster to its own measurements.")
@click.argument("machine", metavar="CLUSTER_OR_GPU", shell_complete=cluster_names)
@click.option(
    "--nccl",
    multiple=True,
    metavar="[COLLECTIVE=]LOG",
    help="A log of nccl-tests; all_gather=LOG where it does not say which (repeatable).",
)
@click.option("--nccl-gpus", type=click.IntRange(2), metavar="N", help="Ranks of logs that do not list them.")
@click.option("--nccl-nodes", type=click.IntRange(1), metavar="N", help="Nodes of logs that do not list them.")
@click.option(
    "--gemm", multiple=True, type=FILES, metavar="CSV", help="Columns m, n, k, dtype, microseconds or tflops."
)
@click.option(
    "--steps", multiple=True, type=FILES, metavar="CSV", help="Measured steps, columns as for predict --rows."
)
@click.option(
    "--software",
    type=click.Choice(["megatron", "pytorch", "composer"]),
    default="megatron",
    help="Whose kernels the figures are for.",
)
@click.option("-o", "--output", type=FILES, help="Write the calibration file here.")
@click.option("--dry-run", is_flag=True, help="Fit and report; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    machine: str,
    nccl: tuple[str, ...],
    nccl_gpus: int | None,
    nccl_nodes: int | None,
    gemm: tuple[Path, ...],
    steps: tuple[Path, ...],
    software: str,
    output: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fit links to nccl-tests logs, GEMMs to timings, and the rest to measured steps.

    The file written holds what the measurements identify; solve and predict take it by --calibration.
    Figures that they do not identify keep the bundled values.
    """
    if not (nccl or gemm or steps):
        raise click.UsageError("needs measurements: --nccl LOG, --gemm CSV or --steps CSV.")
    from costmodels.calibration import calibration_text
    from planner.calibrate.machine import load_machine
    from planner.calibrate.stages import calibrate
    from planner.cli.calibration_report import as_mapping, describe
    from planner.cli.output import echo_json
    from planner.readers.gemm_timings import read_gemm_csv
    from planner.readers.published_rows import read_rows
    from planner.specs import Problems

    problems = Problems()
    with problems.of():
        cluster = load_machine(machine)
    runs, timings = [], []
    for entry in nccl:
        with problems.of():
            runs += _runs(entry, nccl_gpus, nccl_nodes)
    for path in gemm:
        with problems.of():
            timings += read_gemm_csv(path)
    problems.check()
    rows = [row for path in steps for row in read_rows(path, cluster)]
    if not dry_run:
        check_writable(output)
    options: dict[str, Any] = {"software": software}
    found = calibrate(cluster, runs=runs, gemms=timings, rows=rows, **options)
    written = output if output is not None and not dry_run and found.changed else None
    if written is not None:
        name = f"{found.gpu} in {cluster.name}, {found.software}"
        written.write_text(calibration_text(name, found.changed, found.residuals), encoding="utf-8")
    if as_json:
        echo_json({**as_mapping(found), "file": str(written) if written else None})
    else:
        click.echo(describe(found))
    for line in (*found.unused, *found.warnings):
        click.echo(f"warning: {line}", err=True)
    if not found.changed:
        click.echo("error: these measurements identify no figure: no calibration file", err=True)
        ctx.exit(1)
    if written is not None:
        click.echo(f"Calibration written to {written}", err=True)
    elif not as_json:
        click.echo("No calibration file written; -o calibration.yaml writes it.", err=True)


def _runs(entry: str, gpus: int | None, nodes: int | None) -> "list[NcclRun]":
    """``LOG`` or ``COLLECTIVE=LOG``."""
    from planner.readers.nccl_tests import NAMES, read_nccl_log

    collective, _, path = entry.partition("=")
    if collective in NAMES and path:
        return read_nccl_log(path, collective=collective, gpus=gpus, nodes=nodes)
    return read_nccl_log(entry, gpus=gpus, nodes=nodes)
