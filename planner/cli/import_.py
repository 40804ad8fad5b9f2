"""``plan import``: files that users own, turned into specs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.inputs import check_writable
from planner.cli.output import echo_json

if TYPE_CHECKING:
    from planner.importing.cluster import ClusterDraft

KINDS = ["topo-m", "nccl-topology", "nccl-tests", "slurm", "topograph", "galvatron", "pipette", "huggingface"]
NIC_KINDS = ["infiniband", "ethernet", "roce", "efa", "slingshot"]


@click.command(name="import", short_help="Specs from files you own: topo -m, Slurm, nccl-tests, config.json, ...")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE...")
@click.option("--kind", type=click.Choice(KINDS), help="Of every FILE; otherwise each is known by its content.")
@click.option("--gpu", metavar="NAME", help="Of the catalogue, where no file names the GPU.")
@click.option("--gpus-per-node", type=click.IntRange(1, 1024), metavar="N", help="Where no file tells.")
@click.option("--nodes", type=click.IntRange(1, 10**6), metavar="N", help="Where no file names the nodes; else 1.")
@click.option("--intra-node", metavar="LINK", help="Of the catalogue, or a bandwidth of one GPU, e.g. '450 GB/s'.")
@click.option("--nvlink-domain", type=click.IntRange(1), metavar="GPUS", help="Where it is larger than a node.")
@click.option("--nics", type=click.IntRange(1, 1024), metavar="N", help="Network cards of a node.")
@click.option("--nic-bandwidth", metavar="BANDWIDTH", help="Of one card, e.g. 400Gb/s.")
@click.option("--nic-kind", type=click.Choice(NIC_KINDS), help="Where no file tells.")
@click.option("--name", help="What to call the cluster.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here (.yaml or .json).")
@click.option("--json", "as_json", is_flag=True, help="Print specs, their sources and what was not read as JSON.")
def command(files: tuple[Path, ...], kind: str | None, output: Path | None, as_json: bool, **said: Any) -> None:
    """Turn FILE... into one cluster spec, and each Hugging Face config.json into a model spec.

    Read are 'nvidia-smi topo -m', NCCL's topology XML, nccl-tests logs, Slurm's topology.conf, models of topograph,
    bandwidths measured by Galvatron and Pipette, and config.json. Several files of one cluster are merged. What no
    file tells is asked for by an option; every line that was not read is listed on stderr.
    """
    from planner.importing import Wanted, import_files, spec_text, write_import
    from planner.specs.errors import refuse

    check_writable(output)
    imported = import_files(files, Wanted(**said), kind)
    for line in imported.unread:
        click.echo(f"not read: {line}", err=True)
    draft = imported.cluster
    if draft is not None and draft.bandwidths is not None and output is None and not as_json:
        refuse("options", "where to? The bandwidths go into a table beside the spec", key="-o", value="missing")
    if output is not None:
        for path in write_import(imported, output):
            click.echo(f"wrote {path}", err=True)
    if as_json:
        cluster = None if draft is None else _plain(draft)
        echo_json({"files": imported.kinds, "cluster": cluster, "models": imported.models, "unread": imported.unread})
    elif output is None:
        texts = [spec_text(draft.spec, draft.remarks)] if draft is not None else []
        texts += [spec_text(model, ()) for model in imported.models]
        click.echo("---\n".join(texts), nl=False)


def _plain(draft: "ClusterDraft") -> dict[str, Any]:
    """With the measured bandwidths, bytes per second, null from a node to itself."""
    cluster: dict[str, Any] = {"spec": draft.spec, "sources": draft.remarks}
    if draft.bandwidths is not None:
        rows = [[None if i == j else float(x) for j, x in enumerate(row)] for i, row in enumerate(draft.bandwidths)]
        cluster |= {"names": draft.names, "bandwidth_bytes_per_second": rows}
    return cluster
