"""The hardware catalogue: known GPUs and links, as data with sources.

The bundled file is ``data/hardware.yaml``; a file of the user's own, of the same form, adds entries
and replaces those of the same name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from costmodels.hardware import Gpu, Link

BUNDLED = Path(__file__).with_name("data") / "hardware.yaml"
PRECISIONS = ("fp16", "bf16", "fp8", "fp4")
MOST_BYTES = 2**20
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CatalogueError(Exception):
    """A hardware file cannot be used; the text names file, entry and key, one line a problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Entries by name. ``sources`` says where each entry's figures come from; ``spans_nodes`` names
    the links whose domain is larger than a node."""

    gpus: Mapping[str, Gpu]
    links: Mapping[str, Link]
    sources: Mapping[str, str]
    spans_nodes: frozenset[str] = frozenset()

    def dense_peak(self, architecture: str, precision: str) -> float | None:
        """The highest dense FLOP/s of any part of ``architecture``; None when there is none."""
        parts = (g for g in self.gpus.values() if g.architecture == architecture)
        return max((g.peak_flops[precision] for g in parts if precision in g.peak_flops), default=None)


def load_catalogue(path: str | Path | None = None) -> Catalogue:
    """The bundled catalogue, with the entries of ``path`` added or put in place of bundled ones.

    Raises ``CatalogueError`` when a file cannot be read or an entry lacks a figure.
    """
    base = _read(BUNDLED)
    if path is None:
        return base
    extra = _read(Path(path))
    return Catalogue(
        gpus={**base.gpus, **extra.gpus},
        links={**base.links, **extra.links},
        sources={**base.sources, **extra.sources},
        spans_nodes=(base.spans_nodes - extra.links.keys()) | extra.spans_nodes,
    )


@lru_cache(maxsize=8)
def _read(path: Path) -> Catalogue:
    data = _mapping(path)
    problems = [f"{path}: {key}: unknown key; known: gpus, links" for key in data if key not in ("gpus", "links")]
    reader = _Reader(str(path), problems)
    gpus = {str(n): reader.gpu(str(n), e) for n, e in reader.section(data, "gpus").items()}
    links = {str(n): reader.link(str(n), e) for n, e in reader.section(data, "links").items()}
    if problems:
        raise CatalogueError("\n".join(problems))
    entries = {**data.get("gpus", {}), **data.get("links", {})}
    return Catalogue(
        gpus=gpus,
        links=links,
        sources={str(name): str(entry["source"]) for name, entry in entries.items()},
        spans_nodes=frozenset(n for n in links if data["links"][n].get("spans_nodes") is True),
    )


def _mapping(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise CatalogueError(f"{path}: is larger than 1 MiB: not read")
        text = raw.decode()
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            raise CatalogueError(f"{path}: uses a YAML alias (*name): write the value out")
        data = yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise CatalogueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise CatalogueError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise CatalogueError(f"{path}: must hold a mapping with 'gpus' and 'links'")
    return data


@dataclass(frozen=True, slots=True)
class _Reader:
    """Builds entries and collects what is wrong with them."""

    file: str
    problems: list[str]

    def section(self, data: dict[str, Any], key: str) -> dict[Any, Any]:
        value = data.get(key, {})
        if isinstance(value, dict):
            return value
        self.problems.append(f"{self.file}: {key}: must be a mapping of names to entries")
        return {}

    def gpu(self, name: str, entry: object) -> Gpu:
        known = ("architecture", "memory_bytes", "memory", "memory_bytes_per_second", "peak_flops", "source")
        fields = self._fields(f"gpus.{name}", entry, known)
        where = f"gpus.{name}.peak_flops"
        peaks = self._fields(where, fields.get("peak_flops"), PRECISIONS)
        if not peaks:
            self.problems.append(f"{self.file}: {where}: needs dense FLOP/s for one of {', '.join(PRECISIONS)}")
        return Gpu(
            name=name,
            architecture=self._text(f"gpus.{name}", fields, "architecture"),
            memory_bytes=self._figure(f"gpus.{name}", fields, "memory_bytes"),
            memory_bytes_per_second=self._figure(f"gpus.{name}", fields, "memory_bytes_per_second"),
            peak_flops={precision: self._figure(where, peaks, precision) for precision in peaks},
        )

    def link(self, name: str, entry: object) -> Link:
        known = ("bytes_per_second", "latency_seconds", "spans_nodes", "source")
        fields = self._fields(f"links.{name}", entry, known)
        return Link(
            bytes_per_second=self._figure(f"links.{name}", fields, "bytes_per_second"),
            latency_seconds=self._figure(f"links.{name}", fields, "latency_seconds"),
        )

    def _fields(self, where: str, entry: object, known: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(entry, dict):
            self.problems.append(f"{self.file}: {where}: must be a mapping of {', '.join(known)}")
            return {}
        self.problems.extend(
            f"{self.file}: {where}.{key}: unknown key; known: {', '.join(known)}" for key in entry if key not in known
        )
        if "source" in known:
            self._text(where, entry, "source")
        return {key: value for key, value in entry.items() if key in known}

    def _text(self, where: str, fields: dict[str, Any], key: str) -> str:
        value = fields.get(key)
        if not isinstance(value, str) or not value.strip():
            self.problems.append(f"{self.file}: {where}.{key}: must be a text")
        return str(value)

    def _figure(self, where: str, fields: dict[str, Any], key: str) -> float:
        value = fields.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
        hint = " (YAML wants a sign in the exponent: 1.0e+12)" if isinstance(value, str) else ""
        self.problems.append(f"{self.file}: {where}.{key}: {value!r}: must be a number above zero{hint}")
        return 1.0
