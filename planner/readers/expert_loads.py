"""Expert loads as people have them: what each expert of each layer got, from any of the formats of a trace.

- ``.npy``, ``.npz`` (``FILE:NAME``), ``.json``, ``.csv``: [layers, experts], or [experts] of one layer;
- SGLang's recorder, ``logical_count`` [steps, layers, experts], in ``.npz``, ``.pt`` or ``.json``: steps are summed,
  those that are no part of the workload left out or refused (``planner.readers.expert_warmup``);
- ``.jsonl``: routed tokens (``planner.readers.routed_tokens``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.readers.arrays import as_array, read_array, refuse, split_reference
from planner.readers.expert_warmup import polluted_steps, ranges
from planner.readers.routed_tokens import RoutedTokens, read_routed_tokens
from planner.specs.errors import Problem, SpecError, shown

Floats: TypeAlias = NDArray[np.float64]
DropWarmup: TypeAlias = int | Literal["auto"] | None
Source: TypeAlias = str | list[object]

PREFERRED = ("logical_count", "loads", "load")
MOST_PROBLEMS = 20
REMEDY = "drop_warmup: auto leaves them out, a number that many first steps, and 0 keeps all"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTrace:
    """``loads`` [layers, experts] of one trace, summed over its ``steps``; ``layer_ids`` the model's numbers of
    the layers where the file tells; ``notes`` what was left out or is worth knowing."""

    file: str
    loads: Floats
    steps: int = 1
    layer_ids: tuple[int, ...] | None = None
    tokens: RoutedTokens | None = None
    notes: tuple[str, ...] = ()


def read_loads(
    source: Source,
    folder: Path = Path(),
    *,
    key: str = "loads",
    file: str = "problem",
    experts: int | None = None,
    drop_warmup: DropWarmup = None,
) -> LoadTrace:
    """The trace that ``source`` names (relative to ``folder``), or holds as nested lists.

    ``experts`` is how many there are where a file of tokens may not have seen all; ``key`` and ``file`` say in
    errors where the source stands. Raises ``SpecError``: unreadable files, figures that are negative or undefined
    (each named by layer and expert), wrong shapes, and polluted steps where ``drop_warmup`` is None.
    """
    if not isinstance(source, str):
        return _from_counts(file, key, as_array(file, source, key), drop_warmup)
    name, inner = split_reference(source)
    path = folder / name
    if path.suffix.lower() == ".jsonl":
        if inner is not None:
            refuse(str(path), "a file of tokens holds no names: leave the name out", key=inner)
        return _from_tokens(path, experts)
    return _from_counts(str(path), inner or "", read_array(path, inner, PREFERRED), drop_warmup)


def read_counts(source: Source, folder: Path = Path(), *, key: str, file: str = "problem") -> Floats:
    """Transitions or co-activations [.., experts, experts] as they stand in the file, checked to be counts.

    A file of tokens is not read here. Raises ``SpecError``.
    """
    if not isinstance(source, str):
        where, array = (file, key), as_array(file, source, key)
    else:
        name, inner = split_reference(source)
        where, array = (str(folder / name), inner or ""), read_array(folder / name, inner, (key,))
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1] != array.shape[2] or not array.size:
        refuse(where[0], f"has the shape {list(array.shape)}; {key} are [layers, experts, experts]", key=where[1])
    _check(where[0], where[1], array, ("layer", "from expert", "to expert"))
    return array


def is_tokens(source: object) -> bool:
    """Whether a source names a file of routed tokens."""
    return isinstance(source, str) and split_reference(source)[0].lower().endswith(".jsonl")


def _from_tokens(path: Path, experts: int | None) -> LoadTrace:
    tokens = read_routed_tokens(path)
    seen = tokens.experts
    if experts is not None and seen > experts:
        refuse(str(path), f"holds expert {seen - 1}, and there are {experts}", key="experts", value=str(experts))
    notes = [] if experts is not None else [f"{path}: {seen} experts, as the largest number seen is {seen - 1}"]
    return LoadTrace(
        file=str(path),
        loads=tokens.loads(experts or seen),
        layer_ids=tokens.layer_ids,
        tokens=tokens,
        notes=tuple(notes),
    )


def _from_counts(file: str, key: str, array: Floats, drop_warmup: DropWarmup) -> LoadTrace:
    if array.ndim == 1:
        array = array[None]
    if array.ndim not in (2, 3) or not array.size:
        refuse(
            file,
            f"has the shape {list(array.shape)}; loads are [layers, experts], or [steps, layers, experts]",
            key=key,
        )
    if array.ndim == 2:
        _check(file, key, array, ("layer", "expert"))
        return LoadTrace(file=file, loads=array)
    _check(file, key, array, ("step", "layer", "expert"))
    kept, notes = _without_warmup(file, key, array, drop_warmup)
    return LoadTrace(file=file, loads=array[kept].sum(axis=0), steps=len(kept), notes=notes)


def _without_warmup(file: str, key: str, array: Floats, drop: DropWarmup) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Which steps to keep, and what was done about the others."""
    steps = np.arange(len(array))
    if isinstance(drop, int) and drop > 0:
        if drop >= len(array):
            refuse(file, f"has {len(array)} steps: nothing is left", key="drop_warmup", value=str(drop))
        steps = steps[drop:]
    found = polluted_steps(array[steps])
    first = int(steps[0])
    notes = [f"{file}: the first {first} of {len(array)} steps are left out, as drop_warmup says"] if first else []
    if found.empty:
        notes.append(f"{file}: {_steps(found.empty, first)} without a token")
    if len(found.empty) == len(steps):
        refuse(file, "holds no token at all", key=key)
    reasons = []
    if found.uniform:
        reasons.append(f"{_steps(found.uniform, first)} with the same count for every expert")
    if found.far:
        reasons.append(f"{_steps(found.far, first)} far from the rest")
    if reasons and drop is None:
        message = f"of {len(array)} steps, {' and '.join(reasons)}: warm-up or made-up tokens"
        refuse(file, f"{message}; {REMEDY}", key=key)
    if reasons and drop == "auto":
        notes.append(f"{file}: left out of {len(array)} steps, {' and '.join(reasons)}")
        steps = np.delete(steps, found.misleading)
    elif reasons:
        notes.append(f"{file}: kept as drop_warmup says, {' and '.join(reasons)}")
    return steps, tuple(notes)


def _steps(steps: tuple[int, ...], first: int) -> str:
    named = ranges(tuple(step + first for step in steps))
    return f"step {named}" if len(steps) == 1 else f"steps {named}"


def _check(file: str, key: str, array: Floats, axes: tuple[str, ...]) -> None:
    """Raises ``SpecError`` naming figures that are no counts."""
    bad = np.argwhere(~(np.isfinite(array) & (array >= 0)))
    problems = [
        Problem(
            file=file,
            key=f"{key}: {place}" if key else place,
            value=shown(float(array[tuple(at)])),
            message="must be a finite number of at least 0",
        )
        for at in bad[:MOST_PROBLEMS]
        for place in [", ".join(f"{axis} {index}" for axis, index in zip(axes, at.tolist(), strict=True))]
    ]
    if len(bad) > MOST_PROBLEMS:
        more = f"{len(bad) - MOST_PROBLEMS:,} more figures are no counts: read the trace without them"
        problems.append(Problem(file=file, key=key, value="", message=more))
    if problems:
        raise SpecError(problems)
