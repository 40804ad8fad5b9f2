"""The arguments that name a cluster, a model and a job, shared by the commands that need them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.completing import cluster_names, model_names

if TYPE_CHECKING:
    from costmodels.architecture import Model
    from costmodels.configuration import Job
    from planner.specs import Machines

PRECISIONS = ["bf16", "fp8", "fp16", "fp4"]
OPTIONS = ("model", "global_batch", "seq_len", "precision", "job_file", "settings", "exclude")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says of cluster, model and job; None where it says nothing."""

    cluster: str | None
    model: str | None
    global_batch: int | None
    seq_len: int | None
    precision: str | None
    job_file: Path | None
    settings: tuple[str, ...]
    exclude: str | None

    @property
    def anything(self) -> bool:
        return any(getattr(self, name) for name in ("cluster", *OPTIONS))

    def complete(self) -> bool:
        sized = self.job_file is not None or None not in (self.global_batch, self.seq_len)
        return None not in (self.cluster, self.model) and sized

    def load(self, *, unlike: bool = False) -> "tuple[Machines, Model, Job]":
        """Resolved specs, nodes of one kind or, where ``unlike`` is allowed, of several; raises ``SpecError`` with
        everything that is wrong in any of them."""
        assert self.cluster is not None
        assert self.model is not None
        from planner.cli.pairs import parse_settings
        from planner.specs import Problems, check_job, load_job, load_model, make_job
        from planner.specs.machines import load_alike, load_machines

        settings, excluded = parse_settings(self.settings), self._excluded()
        flags = {"global_batch": self.global_batch, "sequence_length": self.seq_len, "precision": self.precision}
        fields = {**{name: value for name, value in flags.items() if value is not None}, **settings}
        problems = Problems()
        with problems.of():
            machines = (load_machines if unlike else load_alike)(self.cluster, exclude=excluded)
        with problems.of():
            network = load_model(self.model)
        with problems.of():
            job = make_job(**fields) if self.job_file is None else load_job(self.job_file, fields)
        problems.check()
        for group in machines.groups:
            check_job(job, group, network)
        return machines, network, job

    def _excluded(self) -> tuple[str, ...]:
        if self.exclude is None:
            return ()
        from planner.readers.hostlist import expand_hostlist

        try:
            return expand_hostlist(self.exclude)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", param_hint="--exclude") from None


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """CLUSTER, --model to --set, and --exclude, as one ``asked``; and --calibration."""

    @wraps(function)
    def gathered(**arguments: Any) -> Any:
        names = ("cluster", *OPTIONS)
        asked = Asked(**{name: arguments.pop(name) for name in names})
        return function(asked=asked, **arguments)

    wrapped: Callable[..., Any] = gathered
    for option in reversed(
        [
            click.argument("cluster", required=False, shell_complete=cluster_names),
            click.option("--model", help="Catalogue name, HF config.json or model YAML.", shell_complete=model_names),
            click.option("--global-batch", type=int, metavar="N", help="Sequences a step."),
            click.option("--seq-len", type=int, metavar="S", help="Tokens a sequence."),
            click.option("--precision", type=click.Choice(PRECISIONS), help="Of the matrix products; bf16 by default."),
            click.option(
                "--job",
                "job_file",
                type=click.Path(path_type=Path),
                help="YAML or JSON with the keys of 'plan schema job'; the options here stand before it.",
            ),
            click.option(
                "--set",
                "settings",
                multiple=True,
                metavar="KEY=VALUE",
                help="Another key of the job, e.g. gradients=bf16 or tensor_overlap=false.",
            ),
            click.option("--exclude", metavar="NAMES", help="Nodes to plan without, e.g. node[3,7-9]."),
            click.option("--calibration", type=click.Path(path_type=Path), help="Your figures, over the catalogue's."),
        ]
    ):
        wrapped = option(wrapped)
    return wrapped


def check_writable(path: Path | None) -> None:
    """Raises ``OSError`` now rather than after the work when ``path`` cannot be written."""
    if path is None:
        return
    new = not path.exists()
    with path.open("ab"):
        pass
    if new:
        path.unlink()
