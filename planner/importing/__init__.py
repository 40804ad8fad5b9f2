"""Files that users own, turned into specs: recognised, read, merged into one cluster, and written.

``import_files`` reads; ``write_import`` puts what it returns into files. Nothing is guessed: what no file tells is
asked for by the name of the option, every figure says where it comes from, and what was passed over is listed.
"""

import csv
import io
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from planner.importing.cluster import ClusterDraft, cluster_of
from planner.importing.kinds import KINDS, recognise
from planner.importing.sources import read_sources
from planner.importing.wanted import Wanted
from planner.specs.cluster import ClusterSpec, NodeGroupSpec
from planner.specs.errors import SpecError, refuse
from planner.specs.machines import load_cluster

__all__ = ["KINDS", "Imported", "Wanted", "import_files", "recognise", "spec_text", "write_import"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """``cluster`` where a file was about one; ``models`` as model specs; ``unread`` lists what was passed over."""

    kinds: dict[str, str]
    cluster: ClusterDraft | None
    models: tuple[dict[str, Any], ...]
    unread: tuple[str, ...]


def import_files(paths: Iterable[str | Path], wanted: Wanted | None = None, kind: str | None = None) -> Imported:
    """The specs that ``paths`` and ``wanted`` describe together; ``kind`` of every file, or each by its content.

    Raises ``SpecError`` with what cannot be read, what contradicts itself, and what neither files nor options tell.
    """
    sources = read_sources(paths, kind)
    cluster = cluster_of(sources, wanted or Wanted()) if sources.of_cluster else None
    if cluster is not None:
        _check(cluster)
    return Imported(
        kinds=sources.kinds, cluster=cluster, models=tuple(sources.models), unread=tuple(dict.fromkeys(sources.unread))
    )


def write_import(imported: Imported, output: Path) -> list[Path]:
    """Writes the cluster, or the only model, to ``output``; a table of bandwidths and the models of a cluster go
    beside it, named after it. Returns every path. Raises ``SpecError`` for several models without a cluster."""
    written = []
    models = list(imported.models)
    if imported.cluster is not None:
        spec, draft = dict(imported.cluster.spec), imported.cluster
        if draft.bandwidths is not None:
            table = output.with_name(f"{output.stem}-bandwidth.csv")
            table.write_text(_table(draft), encoding="utf-8")
            spec["measured"] = {"bandwidth_csv": table.name}
            written.append(table)
        output.write_text(spec_text(spec, draft.remarks, as_json=output.suffix == ".json"), encoding="utf-8")
        written.append(output)
    elif len(models) == 1:
        output.write_text(spec_text(models.pop(), (), as_json=output.suffix == ".json"), encoding="utf-8")
        written.append(output)
    elif models:
        refuse(str(output), f"is one file, but there are {len(models)} models: import each by itself")
    for model in models:
        path = output.with_name(f"{output.stem}-{''.join(c if c.isalnum() else '-' for c in model['name'])}.yaml")
        path.write_text(spec_text(model, ()), encoding="utf-8")
        written.append(path)
    return written


def spec_text(spec: dict[str, Any], remarks: Iterable[str], *, as_json: bool = False) -> str:
    """``spec`` as YAML, or JSON, which has no room for the ``remarks`` that YAML shows above."""
    if as_json:
        import json

        return json.dumps(spec, indent=2) + "\n"
    text = yaml.safe_dump(spec, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    return "".join(f"# {' '.join(remark.split())}\n" for remark in remarks) + text


def _table(draft: ClusterDraft) -> str:
    """GB/s with the names of nodes, or of GPUs as ``node/0``; what stays inside one is left empty."""
    assert draft.bandwidths is not None
    each = len(draft.bandwidths) // len(draft.names)
    names = list(draft.names) if each == 1 else [f"{name}/{i}" for name in draft.names for i in range(each)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["", *names])
    for i, row in enumerate(draft.bandwidths):
        writer.writerow([names[i], *("" if i == j else f"{cell / 1e9:.9g}" for j, cell in enumerate(row))])
    return stream.getvalue()


def _check(draft: ClusterDraft) -> None:
    """The spec loads; keys that this version's specs lack and files not yet written stay out of the check."""
    spec = deepcopy({key: value for key, value in draft.spec.items() if key in ClusterSpec.model_fields})
    spec["node_groups"] = [
        {key: value for key, value in group.items() if key in NodeGroupSpec.model_fields}
        for group in draft.spec["node_groups"]
    ]
    try:
        load_cluster(spec)
    except SpecError as error:
        raise SpecError(error.problems) from None
