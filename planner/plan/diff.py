"""What changed from one plan to another, and what that does to time and memory."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.plan.document import Plan

DIGESTS = ("/digest", "/inputs/digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value of the document that differs. ``path`` is a JSON pointer; None: absent there."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One figure of the step before and after; ``relative`` is after / before - 1 (0 from 0)."""

    name: str
    unit: str
    before: float
    after: float

    @property
    def relative(self) -> float:
        return self.after / self.before - 1.0 if self.before else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """All changes in document order and their effect; false when the plans are the same."""

    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __str__(self) -> str:
        if not self.changes:
            return "no difference"
        width = max(len(effect.name) for effect in self.effects)
        lines = [_effect_line(effect, width) for effect in self.effects]
        for path, changes in _alike(self.changes).items():
            first = changes[0]
            count = f" ({len(changes)} values)" if len(changes) > 1 else ""
            moved = _moved(first) if len(changes) == 1 else ""
            lines.append(f"{path}{count}: {_short(first.before)} -> {_short(first.after)}{moved}")
        return "\n".join(lines)


def diff_plans(before: Plan, after: Plan) -> PlanDiff:
    """Every value that differs, digests left out, and the effect on the step's figures."""
    found = changes("", before.to_json(), after.to_json())
    return PlanDiff(
        changes=tuple(change for change in found if change.path not in DIGESTS),
        effects=_effects(before, after),
    )


def _effects(before: Plan, after: Plan) -> tuple[Effect, ...]:
    figures = (
        ("step", "s", "step_seconds"),
        ("tokens per second per GPU", "1/s", "tokens_per_second_per_gpu"),
        ("model FLOPs utilisation", "", "mfu"),
        ("bubble", "", "bubble_fraction"),
        ("peak memory", "bytes", "peak_memory_bytes"),
    )
    return tuple(
        Effect(name=name, unit=unit, before=getattr(before.prediction, key), after=getattr(after.prediction, key))
        for name, unit, key in figures
    )


def changes(path: str, before: Any, after: Any) -> Iterator[Change]:
    """Values of two JSON documents that differ, below ``path``."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            step = f"{path}/{pointer_step(key)}"
            if key in before and key in after:
                yield from changes(step, before[key], after[key])
            else:
                yield Change(path=step, before=before.get(key), after=after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and any(isinstance(x, dict) for x in before + after):
        for index in range(max(len(before), len(after))):
            pair = (items[index] if index < len(items) else None for items in (before, after))
            yield from changes(f"{path}/{index}", *pair)
    elif before != after:
        yield Change(path=path, before=before, after=after)


def pointer_step(key: object) -> str:
    """A key as a step of a JSON pointer (RFC 6901)."""
    return str(key).replace("~", "~0").replace("/", "~1")


def _alike(changes: tuple[Change, ...]) -> Mapping[str, list[Change]]:
    """Changes that differ only in list positions, together."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(re.sub(r"/\d+(?=/|$)", "/*", change.path), []).append(change)
    return found


def _effect_line(effect: Effect, width: int) -> str:
    scale, unit = (1e9, "GB") if effect.unit == "bytes" else (1.0, effect.unit)
    before, after = (f"{value / scale:.6g} {unit}".rstrip() for value in (effect.before, effect.after))
    figures = f"{before} -> {after}"
    return f"{effect.name:<{width}}  {figures} ({effect.relative:+.2%})"


def _moved(change: Change) -> str:
    """How many places of two equally long lists differ."""
    before, after = change.before, change.after
    if not isinstance(before, list) or not isinstance(after, list) or len(before) != len(after):
        return ""
    return f" ({sum(a != b for a, b in zip(before, after, strict=True))} of {len(after)} differ)"


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
