"""Bundled data: clusters, models and whole cases. Reading them needs nothing else of the project."""

from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent


def case_path(*parts: str) -> Path:
    """A file or folder of the bundled data."""
    return ROOT.joinpath(*parts)


def models_path() -> Path:
    """The folder with one YAML file per model."""
    return ROOT / "models"


@lru_cache(maxsize=1)
def model_names() -> tuple[str, ...]:
    """Names of the bundled models, sorted."""
    return tuple(sorted(path.stem for path in models_path().glob("*.yaml")))


def model_path(name: str) -> Path:
    """The file of a bundled model; raises ``KeyError`` for another name."""
    if name not in model_names():
        raise KeyError(name)
    return models_path() / f"{name}.yaml"


@lru_cache(maxsize=1)
def cluster_names() -> tuple[str, ...]:
    """Names of the bundled clusters, sorted."""
    return tuple(sorted(path.stem for path in (ROOT / "clusters").glob("*.yaml")))


def cluster_path(name: str) -> Path:
    """The file of a bundled cluster; raises ``KeyError`` for another name."""
    if name not in cluster_names():
        raise KeyError(name)
    return ROOT / "clusters" / f"{name}.yaml"


def list_cases() -> list[dict[str, Any]]:
    """Every bundled case: ``name``, ``about``, ``cluster`` and ``model`` (bundled names), ``gpus``,
    ``job`` (``global_batch``, ``sequence_length``, ``precision``), ``expect`` (feasible or infeasible)."""
    cases: list[dict[str, Any]] = _read("cases.yaml")["cases"]
    return cases


@lru_cache(maxsize=1)
def model_aliases() -> dict[str, str]:
    """Other names of bundled models."""
    return dict(_read("model_aliases.yaml")["aliases"])


@lru_cache(maxsize=1)
def unsupported_models() -> dict[str, str]:
    """Known models that cannot be described, and the part that cannot."""
    return dict(_read("model_aliases.yaml")["unsupported"])


def published_folder() -> Path:
    """The folder with tables of published training runs, one CSV file per family of sources."""
    return ROOT / "published"


def published_tables() -> tuple[Path, ...]:
    """The tables of published training runs, sorted; their columns are those of ``plan predict --rows``."""
    return tuple(sorted(published_folder().glob("*.csv")))


@lru_cache(maxsize=1)
def published_sources() -> dict[str, Any]:
    """``published/sources.yaml``: titles, groups to report, rows not to score."""
    return dict(_read("published/sources.yaml"))


def published_uncertainty() -> dict[str, Any]:
    """``published/uncertainty.yaml``: how far published runs were from their predictions, by kind."""
    return dict(_read("published/uncertainty.yaml"))


@lru_cache(maxsize=1)
def region_tables() -> tuple[str, ...]:
    """Names of the bundled tables of latency and bandwidth between cloud regions, sorted."""
    return tuple(sorted(path.stem for path in (ROOT / "regions").glob("*.csv")))


def region_table_path(name: str) -> Path:
    """The file of a bundled table of regions; raises ``KeyError`` for another name."""
    if name not in region_tables():
        raise KeyError(name)
    return ROOT / "regions" / f"{name}.csv"


def _read(name: str) -> Any:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((ROOT / name).read_text(encoding="utf-8"), Loader=loader)
