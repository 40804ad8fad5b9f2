"""``tp=8,pp=4`` on the command line, to configuration fields."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import click

from costmodels.configuration import ALLOWABLE, FOLDING, PIPELINE_SCHEDULES, VOCABULARIES, Configuration
from costmodels.recompute import canonical

INTEGER_FIELDS = ("tp", "sp", "cp", "pp", "vp", "dp", "zero", "ep", "etp", "mbs")
CHOICES: dict[str, tuple[str, ...]] = {"vocabulary": VOCABULARIES, "schedule": PIPELINE_SCHEDULES}
NAMES = ("recompute", *CHOICES)
FIELDS = (*INTEGER_FIELDS, *NAMES)
LOWEST = {"sp": 0, "zero": 0}
HIGHEST = {"sp": 1, "zero": 3}


def parse_pairs(text: str) -> dict[str, int | str]:
    """Fields of ``Configuration`` by name; raises ``click.BadParameter`` naming the wrong pair."""
    found: dict[str, int | str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        check_field(name)
        if not equals or not value:
            raise click.BadParameter(f"'{pair}': write {name}=VALUE.")
        if name in found:
            raise click.BadParameter(f"'{name}' is given twice.")
        found[name] = _named(name, value) if name in NAMES else _integer(name, value)
    return found


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """``gradients=bf16`` and the like, several in one with commas, to keys and values of a job spec.

    ``true``, ``false`` and numbers become what they say; which keys there are the spec decides.
    """
    found: dict[str, Any] = {}
    for pair in (part.strip() for setting in settings for part in setting.split(",")):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise click.BadParameter(f"'{pair}': write KEY=VALUE.", param_hint="--set")
        if name in found:
            raise click.BadParameter(f"'{name}' is given twice.", param_hint="--set")
        found[name] = _scalar(value)
    return found


def _scalar(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_field(name: str, fields: tuple[str, ...] = FIELDS) -> None:
    if name not in fields:
        close = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(fields)}."
        raise click.BadParameter(f"unknown field '{name}'; {hint}")


def _integer(name: str, value: str) -> int:
    low, high = LOWEST.get(name, 1), HIGHEST.get(name, 2**20)
    if not (value.isascii() and value.isdigit() and len(value) < 8 and low <= int(value) <= high):
        span = f"a whole number from {low}" + (f" to {high}" if name in HIGHEST else "")
        raise click.BadParameter(f"{name}={value}: {name} is {span}.")
    return int(value)


def _named(name: str, value: str) -> str:
    if value not in CHOICES.get(name, (value,)):
        raise click.BadParameter(f"{name}={value}: one of {', '.join(CHOICES[name])}.")
    try:
        return canonical(value) if name == "recompute" else value
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def configuration_of(pairs: Mapping[str, int | str], gpus: int) -> Configuration:
    """A full configuration: ``dp`` from the GPUs left over, ``sp`` with ``tp``, the rest by default."""
    tp, cp, pp = (int(pairs.get(name, 1)) for name in ("tp", "cp", "pp"))
    filled = {"sp": int(tp > 1), "dp": max(1, gpus // (tp * cp * pp)), **pairs}
    return Configuration(**filled)  # type: ignore[arg-type]


def parse_forbidden(text: str) -> frozenset[str]:
    """``cp,folding`` to the set of those fields, folding of experts among them."""
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    for name in names:
        check_field(name, (*FIELDS, FOLDING))
    return frozenset(names)


def parse_allowed(text: str) -> frozenset[str]:
    """``schedule,vocabulary`` to the set of those fields; raises ``click.BadParameter`` for any that is always
    searched, or is none."""
    names = frozenset(name for name in (part.strip() for part in text.split(",")) if name)
    for name in sorted(names - {*ALLOWABLE}):
        close = difflib.get_close_matches(name, ALLOWABLE, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(ALLOWABLE)}."
        raise click.BadParameter(f"'{name}' cannot be allowed; {hint}", param_hint="--allow")
    return names
