"""What one kind of GPU attains in practice: named figures, each with its unit, kind and source.

Figures live in ``data/calibration/*.yaml``, one file per GPU or architecture. A file may be ``like``
another and state only what differs; a user's file overrides single figures in the same format::

    name: h100 in our cluster
    figures:
      scale_out_fraction: {value: 0.87, unit: fraction, kind: measured, source: 'nccl-tests, 64 nodes'}
    residuals: {seconds_p80: 0.03, rows: 12}   # optional: how far predictions stay from measurements
"""

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast, get_args

import yaml

from costmodels.configuration import Software
from costmodels.hardware import Gpu

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Kind = Literal["measured", "fitted", "assumed"]
DATA = Path(__file__).parent / "data" / "calibration"


class CalibrationError(ValueError):
    """A calibration that cannot be used; the message names file, key, value and remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number with its provenance."""

    value: float
    unit: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """What a fit leaves: four in five of ``rows`` measured steps lie within ``seconds_p80``, a share of
    the measured time, of their prediction."""

    seconds_p80: float
    rows: int


def _figure(unit: str, *, may_be_zero: bool = False) -> Any:
    return field(metadata={"unit": unit, "may_be_zero": may_be_zero})


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Attained figures of one GPU. Every field but the last three is a float, also in ``figures``;
    ``residuals`` where a fit to measured steps states them."""

    gemm_peak_fraction: float = _figure("fraction")
    """Share of the dense peak that an unboundedly large GEMM reaches in a short benchmark."""
    gemm_edge_half: float = _figure("elements")
    """Rows or columns of the output at which half of that is reached, other dimensions unbounded:
    what partly filled tiles and waves cost."""
    gemm_k_half: float = _figure("elements")
    """The same for the inner dimension: what filling and draining a tile's pipeline costs."""
    gemm_sustained_fraction: float = _figure("fraction")
    """Speed of GEMMs and attention within hours of training, over that in a short benchmark (clocks)."""
    fp8_gemm_speedup: float = _figure("factor")
    """FP8 against BF16 speed of an unboundedly large GEMM, casts apart."""
    fp8_edge_half: float = _figure("elements")
    """``gemm_edge_half`` of FP8 GEMMs."""
    fp8_k_half: float = _figure("elements")
    """``gemm_k_half`` of FP8 GEMMs."""
    fp8_cast_bytes: float = _figure("bytes", may_be_zero=True)
    """Memory traffic of casting one element to FP8 for a product and for the weight gradient."""
    fp4_gemm_speedup: float = _figure("factor")
    """FP4 against BF16 speed of an unboundedly large GEMM, casts apart."""
    fp4_edge_half: float = _figure("elements")
    """``gemm_edge_half`` of FP4 GEMMs."""
    fp4_k_half: float = _figure("elements")
    """``gemm_k_half`` of FP4 GEMMs."""
    fp4_cast_bytes: float = _figure("bytes", may_be_zero=True)
    """The same for FP4."""
    block_scaling_fraction: float = _figure("fraction")
    """Speed of an FP8 GEMM with a scale for every block (MXFP8, blockwise) over one scale a tensor."""
    grouped_gemm_fraction: float = _figure("fraction")
    """Speed of a grouped (expert) GEMM over that of its groups' GEMMs one by one, launches apart."""
    group_launch_seconds: float = _figure("seconds", may_be_zero=True)
    """Added to a grouped GEMM for every group but the first: experts' GEMMs are started one by one."""
    attention_forward_fraction: float = _figure("fraction")
    """Share of the dense BF16 peak that fused attention reaches in a short benchmark, forward, attended
    pairs counted only, over unboundedly many keys at head dimension 128."""
    attention_keys_half: float = _figure("elements", may_be_zero=True)
    """Attended keys at which half of that is reached."""
    attention_softmax_width: float = _figure("elements", may_be_zero=True)
    """Head dimension whose matrix products take as long as the exponentials of their softmax: smaller
    heads hardly run faster."""
    attention_backward_ratio: float = _figure("factor")
    """Backward over forward seconds of fused attention at head dimension 128, launches apart."""
    attention_backward_softmax_width: float = _figure("elements", may_be_zero=True)
    """``attention_softmax_width`` of the backward pass, which has five products to one softmax."""
    memory_fraction: float = _figure("fraction")
    """Share of HBM bandwidth that element-wise kernels attain."""
    kernel_launch_seconds: float = _figure("seconds", may_be_zero=True)
    """Start and drain of one kernel on the GPU."""
    layer_floor_seconds: float = _figure("seconds", may_be_zero=True)
    """Least seconds of one layer and pass: what the host needs to launch it. 0: never the limit."""
    host_jitter_per_doubling: float = _figure("fraction", may_be_zero=True)
    """Growth of that floor per doubling of the tensor group: collectives wait for the slowest host."""
    moe_layer_seconds: float = _figure("seconds", may_be_zero=True)
    """Added to a mixture-of-experts layer and pass: routing, permutation and host synchronisation."""
    graphed_host_fraction: float = _figure("fraction", may_be_zero=True)
    """Share of the host's time per layer that remains when CUDA graphs replay it."""
    scale_up_fraction: float = _figure("fraction")
    """Attained share of nominal NVLink bandwidth, large messages."""
    scale_out_fraction: float = _figure("fraction")
    """Attained share of the nominal NIC bandwidth, large messages."""
    own_part_fraction: float = _figure("fraction", may_be_zero=True)
    """Time to copy the 1/n of a collective's buffer that a rank keeps, over the time to send it."""
    in_network_fraction: float = _figure("fraction", may_be_zero=True)
    """Attained share of nominal NVLink bandwidth when the switches reduce; 0: they do not."""
    collective_launch_seconds: float = _figure("seconds", may_be_zero=True)
    """Start of one collective of large messages (NCCL's Simple protocol)."""
    scale_up_step_factor: float = _figure("factor", may_be_zero=True)
    """Latency of one step of a collective of large messages inside a domain, over that of the link's hop."""
    low_latency_fraction: float = _figure("fraction")
    """Attained share of nominal NVLink bandwidth of small messages, whose every word carries a flag
    (NCCL's LL and LL128 protocols)."""
    low_latency_launch_seconds: float = _figure("seconds", may_be_zero=True)
    """Start of one collective of small messages."""
    low_latency_step_seconds: float = _figure("seconds", may_be_zero=True)
    """One step of a ring of small messages inside a domain."""
    all_to_all_fraction: float = _figure("fraction")
    """All-to-all speed over what the links' attained bandwidths give."""
    tensor_exposed_fraction: float = _figure("fraction", may_be_zero=True)
    """Share of tensor-parallel collective time that computation does not hide, overlap on."""
    tensor_serial_factor: float = _figure("factor")
    """Time of tensor-parallel collectives in training over the benchmarked one, overlap off."""
    overlap_contention: float = _figure("fraction", may_be_zero=True)
    """Slow-down of computation while a collective runs beside it."""
    fsdp_exposed_fraction: float = _figure("fraction", may_be_zero=True)
    """Least share of the gathers and scatters of sharded states that computation does not hide."""
    microbatch_seconds: float = _figure("seconds", may_be_zero=True)
    """Host work per micro-batch and stage."""
    step_seconds: float = _figure("seconds", may_be_zero=True)
    """Host work per optimizer step."""
    loss_bytes_per_logit: float = _figure("bytes")
    """Memory traffic of the loss per token and vocabulary column, forward and backward."""
    optimizer_bytes_per_parameter: float = _figure("bytes")
    """Memory traffic of one update per parameter updated."""
    straggler_fraction_per_doubling: float = _figure("fraction", may_be_zero=True)
    """Slow-down of a step per doubling of the nodes."""
    runtime_bytes: float = _figure("bytes", may_be_zero=True)
    """Device memory outside the framework's allocator: CUDA context, loaded kernels, NCCL."""
    workspace_bytes: float = _figure("bytes", may_be_zero=True)
    """Allocated work space that does not depend on the model."""
    weight_workspace_bytes_per_element: float = _figure("bytes", may_be_zero=True)
    """Transient bytes per element of the largest GEMM weight shard."""
    logit_workspace_bytes_per_element: float = _figure("bytes", may_be_zero=True)
    """Transient bytes per token and local vocabulary column on the loss stage."""
    allocator_fraction: float = _figure("fraction", may_be_zero=True)
    """Reserved but unusable (fragmented) memory over allocated memory."""
    name: str
    figures: Mapping[str, Figure] = field(hash=False)
    residuals: Residuals | None = None

    def __post_init__(self) -> None:
        for key in FIGURES:
            if self.figures[key].value != getattr(self, key):
                raise CalibrationError(f"{self.name}: {key}: {getattr(self, key)}: change it by adjusted()")

    def adjusted(self, *, kind: Kind, source: str, **values: float) -> "Calibration":
        """A copy with some figures replaced, for a reason that ``kind`` and ``source`` state. It has no
        residuals: those are of the figures as they were."""
        changed = {
            key: {"value": value, "unit": _unit(key), "kind": kind, "source": source} for key, value in values.items()
        }
        return _assemble(self.name, self.figures, changed, where=self.name)

    def to_mapping(self) -> dict[str, object]:
        """Plain strings and floats, ready for JSON; ``from_mapping`` restores the same object."""
        found: dict[str, object] = {"name": self.name, "figures": {k: asdict(f) for k, f in self.figures.items()}}
        return found if self.residuals is None else {**found, "residuals": asdict(self.residuals)}

    def replacing(self, figures: Mapping[str, Figure]) -> "Calibration":
        """The same with some figures in the place of its own."""
        values: dict[str, Any] = {name: figure.value for name, figure in figures.items()}
        return replace(self, figures={**self.figures, **figures}, **values)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], *, where: str = "calibration") -> "Calibration":
        """The inverse of ``to_mapping``. Raises CalibrationError, naming ``where`` and the key."""
        _known_keys(mapping, ("name", "figures", "residuals"), where)
        residuals = _residuals(mapping, where)
        return _assemble(_name(mapping, where), {}, _table(mapping.get("figures"), where), residuals, where=where)


_FIELDS: dict[str, Field[Any]] = {f.name: f for f in fields(Calibration) if f.metadata}
FIGURES: tuple[str, ...] = tuple(_FIELDS)
"""The names of all figures, in the order of ``Calibration``'s fields."""


def load_calibration(gpu: Gpu, path: Path | None = None, software: Software = "megatron") -> Calibration:
    """Figures for ``gpu``: those of its family (``h100`` for ``h100-sxm-80gb``), else of its
    architecture, with the single figures of the file at ``path`` in their place. Where its family has
    figures for ``software`` (``h100-pytorch``), those.

    ``residuals`` are those of the file that was read last. Raises CalibrationError for a GPU without
    figures and for a file with unknown keys, a wrong or missing unit, or a value that is not a positive
    finite number.
    """
    override = _read(path) if path is not None else {}
    where = str(path) if path is not None else ""
    if "like" in override:
        raise CalibrationError(f"{where}: like: figures that are not given are {gpu.name}'s; remove the key")
    changed = _table(override.get("figures"), where) if override else {}
    bundled = bundled_name(gpu, software)
    if bundled is None and not set(FIGURES) <= set(changed):
        known = ", ".join(bundled_calibrations())
        raise CalibrationError(
            f"no calibration for gpu {gpu.name!r} of architecture {gpu.architecture!r} (known: {known}); "
            "give a calibration file with every figure"
        )
    base = _bundled(bundled) if bundled is not None else _File("", MappingProxyType({}), None)
    if not override:
        return _assemble(base.name, base.figures, {}, base.residuals, where=f"{bundled}.yaml")
    return _assemble(_name(override, where), base.figures, changed, _residuals(override, where), where=where)


def bundled_name(gpu: Gpu, software: Software = "megatron") -> str | None:
    """The bundled calibration of ``gpu`` under ``software``; None when there is none."""
    family = gpu.name.lower().replace("_", "-").split("-")[0]
    known = bundled_calibrations()
    return next((n for n in (f"{family}-{software}", family, gpu.architecture.lower()) if n in known), None)


def bundled_calibration(name: str) -> Calibration:
    """The bundled calibration of that name. Raises CalibrationError for an unknown one."""
    if name not in bundled_calibrations():
        raise CalibrationError(f"{name}: no bundled calibration; known are {', '.join(bundled_calibrations())}")
    base = _bundled(name)
    return _assemble(base.name, base.figures, {}, base.residuals, where=f"{name}.yaml")


def calibration_text(
    name: str, figures: Mapping[str, Figure], residuals: Residuals | None = None, like: str | None = None
) -> str:
    """A calibration file, one line a figure in the order of the fields; ``load_calibration`` reads it.

    Raises CalibrationError for an unknown figure.
    """
    for key in figures:
        if key not in _FIELDS:
            raise CalibrationError(f"{name}: {key}: unknown figure; known figures are {', '.join(FIGURES)}")

    def flow(entry: Any) -> str:
        return yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=math.inf).strip()

    lines = [yaml.safe_dump({"name": name}, width=math.inf).strip()]
    lines += [f"like: {like}"] if like is not None else []
    lines += ["figures:" if figures else "figures: {}"]
    lines += [f"  {key}: {flow(asdict(figures[key]))}" for key in FIGURES if key in figures]
    lines += [f"residuals: {flow(asdict(residuals))}"] if residuals is not None else []
    return "\n".join(lines) + "\n"


def bundled_calibrations() -> tuple[str, ...]:
    """Names of the bundled calibration files: GPU families and architectures."""
    return tuple(sorted(file.stem for file in DATA.glob("*.yaml")))


class _File(NamedTuple):
    """A bundled file, what it is like included. ``residuals`` are its own."""

    name: str
    figures: Mapping[str, Figure]
    residuals: Residuals | None


@lru_cache
def _bundled(stem: str) -> _File:
    path = DATA / f"{stem}.yaml"
    document = _read(path)
    figures: dict[str, Figure] = {}
    if "like" in document:
        base = str(document["like"])
        figures = {
            key: Figure(value=f.value, unit=f.unit, kind="assumed", source=f"taken from {base}: {f.source}")
            for key, f in _bundled(base).figures.items()
        }
    for key, entry in _table(document.get("figures"), str(path)).items():
        figures[key] = _parse(key, entry, str(path))
    return _File(_name(document, str(path)), MappingProxyType(figures), _residuals(document, str(path)))


def _read(path: Path) -> Mapping[str, object]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(document, dict):
        raise CalibrationError(f"{path}: expected a mapping with 'name' and 'figures'")
    _known_keys(document, ("name", "like", "figures", "residuals", "sources"), str(path))
    return document


def _known_keys(mapping: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key in mapping:
        if key not in known:
            raise CalibrationError(f"{where}: {key}: unknown key; known keys are {', '.join(known)}")


def _name(mapping: Mapping[str, object], where: str) -> str:
    name = mapping.get("name")
    if not isinstance(name, str) or not name:
        raise CalibrationError(f"{where}: name: {name!r}: say what these figures are for")
    return name


def _table(figures: object, where: str) -> Mapping[str, object]:
    if not isinstance(figures, Mapping):
        raise CalibrationError(f"{where}: figures: {figures!r}: expected a mapping of figures by name")
    return cast(Mapping[str, object], figures)


def _residuals(document: Mapping[str, object], where: str) -> Residuals | None:
    if "residuals" not in document:
        return None
    entry, at = document["residuals"], f"{where}: residuals"
    if not isinstance(entry, Mapping):
        raise CalibrationError(f"{at}: {entry!r}: write {{seconds_p80, rows}}")
    _known_keys(entry, ("seconds_p80", "rows"), at)
    share, rows = entry.get("seconds_p80"), entry.get("rows")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < math.inf:
        raise CalibrationError(f"{at}.seconds_p80: {share!r}: expected a share of the measured time, 0.03 for 3 %")
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise CalibrationError(f"{at}.rows: {rows!r}: expected how many measured steps it comes from")
    return Residuals(seconds_p80=float(share), rows=rows)


def _assemble(
    name: str,
    base: Mapping[str, Figure],
    changed: Mapping[str, object],
    residuals: Residuals | None = None,
    *,
    where: str,
) -> Calibration:
    given = dict(base) | {key: _parse(key, entry, where) for key, entry in changed.items()}
    missing = [key for key in FIGURES if key not in given]
    if missing:
        raise CalibrationError(f"{where}: figures: {', '.join(missing)} missing; add each with its unit and source")
    figures = {key: given[key] for key in FIGURES}
    values: dict[str, Any] = {key: f.value for key, f in figures.items()}
    return Calibration(name=name, figures=figures, residuals=residuals, **values)


def _unit(key: str) -> str:
    return str(_FIELDS[key].metadata["unit"]) if key in _FIELDS else ""


def _parse(key: str, entry: object, where: str) -> Figure:
    at = f"{where}: figures.{key}"
    if key not in _FIELDS:
        raise CalibrationError(f"{at}: unknown figure; known figures are {', '.join(FIGURES)}")
    if not isinstance(entry, Mapping):
        raise CalibrationError(f"{at}: {entry!r}: write {{value, unit, kind, source}}")
    _known_keys(entry, ("value", "unit", "kind", "source"), at)
    value, unit, kind, source = (entry.get(name) for name in ("value", "unit", "kind", "source"))
    if unit != _unit(key):
        raise CalibrationError(f"{at}.unit: {unit!r}: this figure is in {_unit(key)!r}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CalibrationError(f"{at}.value: {value!r}: expected a finite number of {unit}")
    if value < 0 or (value == 0 and not _FIELDS[key].metadata["may_be_zero"]):
        raise CalibrationError(f"{at}.value: {value!r}: must be positive")
    if kind not in get_args(Kind):
        raise CalibrationError(f"{at}.kind: {kind!r}: one of {', '.join(get_args(Kind))}")
    if not isinstance(source, str) or not source.strip():
        raise CalibrationError(f"{at}.source: {source!r}: say where the number comes from")
    return Figure(value=float(value), unit=str(unit), kind=cast(Kind, kind), source=source)
