"""Slurm's short form of many host names: ``srv[1101-1108,1201]`` (Slurm, ``scontrol`` manual, hostlist expressions).

A hostlist is names between commas; brackets hold numbers and ranges of numbers, several brackets in one name
count like digits, the last fastest: ``rack[1-2]n[1-2]`` is ``rack1n1, rack1n2, rack2n1, rack2n2``. Leading zeros
of a range's first number are kept: ``n[08-10]`` is ``n08, n09, n10``.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence

MOST_HOSTS = 2**20
_NUMBERS = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_LAST_NUMBER = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*)")
_FORBIDDEN = re.compile(r"[\s,\[\]]")


def expand_hostlist(text: str) -> tuple[str, ...]:
    """The names that ``text`` stands for, in its order; a name given twice comes twice.

    Raises ``ValueError`` saying what is wrong: no names, a bracket without its other half or inside another,
    a range that is no range or runs backwards, more than ``MOST_HOSTS`` names.
    """
    names: list[str] = []
    for part in _parts(text):
        choices = [_choices(piece) for piece in re.split(r"(\[[^\]]*\])", part) if piece]
        if len(names) + math.prod(len(choice) for choice in choices) > MOST_HOSTS:
            raise ValueError(f"stands for more than {MOST_HOSTS:,} names")
        names.extend("".join(pieces) for pieces in itertools.product(*choices))
    return tuple(names)


def compress_hostlist(names: Sequence[str]) -> str:
    """A hostlist that ``expand_hostlist`` turns into ``names`` again, order included: names that follow one another
    and differ in their last number only share a bracket.

    Raises ``ValueError`` for no names, and for a name that is empty or holds a blank, a comma or a bracket.
    """
    if not names:
        raise ValueError("needs at least one name")
    for name in names:
        if not name or _FORBIDDEN.search(name):
            raise ValueError(f"{name!r} is no host name: it is empty or holds a blank, a comma or a bracket")
    return ",".join(_written(list(group), around) for around, group in itertools.groupby(names, key=_around))


def _parts(text: str) -> Iterator[str]:
    """Between the commas that stand outside brackets."""
    depth, begun = 0, 0
    for position, letter in enumerate([*text, ","]):
        if letter == "[" and depth:
            raise ValueError("has a bracket inside another: write e.g. n[1-4,7]")
        if letter == "]" and not depth:
            raise ValueError("has a ']' without its '['")
        depth += (letter == "[") - (letter == "]")
        if letter == "," and not depth:
            part = text[begun:position].strip()
            if not part:
                raise ValueError("holds no name" if not text.strip(" ,") else "has a comma with no name beside it")
            if re.search(r"\s", part):
                raise ValueError(f"{part[:60]!r} holds a blank: separate names by commas")
            yield part
            begun = position + 1
    if depth:
        raise ValueError("has a '[' without its ']'")


def _choices(piece: str) -> Sequence[str]:
    """What a bracket stands for, or the text outside brackets as it is."""
    if not piece.startswith("["):
        return [piece]
    found: list[str] = []
    for item in piece[1:-1].split(","):
        match = _NUMBERS.fullmatch(item)
        if match is None:
            raise ValueError(f"{item[:60]!r} in brackets is neither a number nor a range such as 1-8")
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first):
            raise ValueError(f"the range {item} runs backwards")
        if int(last) - int(first) >= MOST_HOSTS:
            raise ValueError(f"stands for more than {MOST_HOSTS:,} names")
        found.extend(str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        if len(found) > MOST_HOSTS:
            raise ValueError(f"stands for more than {MOST_HOSTS:,} names")
    return found


def _split(name: str) -> tuple[str, str, str]:
    """What stands before the last number, the number, what stands behind it."""
    match = _LAST_NUMBER.fullmatch(name)
    return (match[1], match[2], match[3]) if match else (name, "", "")


def _around(name: str) -> tuple[str, str] | None:
    before, number, after = _split(name)
    return (before, after) if number else None


def _written(names: list[str], around: tuple[str, str] | None) -> str:
    if around is None or len(names) == 1:
        return ",".join(names)
    ranges: list[list[str]] = []
    for _, number, _ in map(_split, names):
        if ranges and number == str(int(ranges[-1][0]) + len(ranges[-1])).zfill(len(ranges[-1][0])):
            ranges[-1].append(number)
        else:
            ranges.append([number])
    spans = (span[0] if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in ranges)
    return f"{around[0]}[{','.join(spans)}]{around[1]}"
