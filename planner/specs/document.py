"""YAML and JSON files read with care: a spec comes from anywhere and must not hurt.

Refused before anything is built: more than ``MOST_BYTES``, other encodings than UTF-8, YAML
aliases (a few of them expand without end), nesting deeper than ``DEEPEST``, keys given twice,
several documents in one file, and anything that is not a mapping at the top.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from planner.specs.errors import Problem, SpecError, shown

MOST_BYTES = 2**20
DEEPEST = 24
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Place = tuple[str | int, ...]
"""Where a value stands: mapping keys and list positions from the top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a file holds. ``lines`` is the line of each place, where the format tells."""

    file: str
    data: dict[Any, Any]
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int | None:
        """Of the value at ``place``, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)


def read_document(path: str | Path, most_bytes: int = MOST_BYTES) -> Document:
    """The mapping in a ``.json`` file, or in any other as YAML; raises ``SpecError``."""
    file = str(path)
    text = read_text(path, most_bytes)
    if not text.strip():
        _refuse(file, "the file is empty")
    if file.lower().endswith(".json"):
        return Document(file=file, data=_mapping(file, _json(file, text)))
    return _yaml(file, text)


def read_text(path: str | Path, most_bytes: int = MOST_BYTES) -> str:
    """A file's text, byte-order mark dropped; raises ``SpecError`` unless it is UTF-8 and not too large."""
    file = str(path)
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(most_bytes + 1)
    except OSError as error:
        _refuse(file, f"cannot be read: {error.strerror or error}")
    except ValueError as error:
        _refuse(shown(file), f"is no file name: {error}")
    if len(raw) > most_bytes:
        _refuse(file, f"is larger than {most_bytes / 2**20:.0f} MiB: not read")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(file, f"is not UTF-8 text (byte {error.start}): save it as UTF-8")


def _refuse(file: str, message: str, *, key: str = "", line: int | None = None) -> NoReturn:
    raise SpecError([Problem(file=file, key=key, value="", message=message, line=line)])


def _mapping(file: str, data: object) -> dict[Any, Any]:
    if not isinstance(data, dict):
        _refuse(file, f"must hold a mapping of keys to values, not {type(data).__name__}")
    return data


def _json(file: str, text: str) -> object:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys: set[str] = set()
        for key, _ in pairs:
            if key in keys:
                _refuse(file, "is given twice", key=key)
            keys.add(key)
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        _refuse(file, f"is not JSON: {error.msg}", line=error.lineno)
    except RecursionError:
        _refuse(file, "is nested too deeply")
    except ValueError as error:
        _refuse(file, f"is not JSON: {error}")


def _yaml(file: str, text: str) -> Document:
    try:
        _check_events(file, text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                _refuse(file, "the file is empty")
            lines = dict(_walk(file, node, ()))
            data = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        _refuse(file, f"is not YAML: {error.problem or error.context}", line=line)
    except yaml.YAMLError as error:
        _refuse(file, f"is not YAML: {' '.join(str(error).split())}")
    except (ValueError, TypeError, AttributeError, OverflowError, KeyError, RecursionError) as error:
        _refuse(file, f"holds a value that cannot be read: {shown(str(error))}")
    return Document(file=file, data=_mapping(file, data), lines=lines)


def _check_events(file: str, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            _refuse(file, "uses a YAML alias (*name): write the value out", line=line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                _refuse(file, f"is nested deeper than {DEEPEST} levels", line=line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _walk(file: str, node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from _walk(file, item, (*place, position))
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, item in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    _refuse(file, "is given twice", key=spelled((*place, key.value)), line=line)
                keys.add(key.value)
                yield from _walk(file, item, (*place, key.value))
                yield (*place, key.value), line


def spelled(place: Place) -> str:
    """``node_groups[0].gpu``."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if len(part) <= 60 else shown(part)
            text += f".{name}" if text else name
    return text
