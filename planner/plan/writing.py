"""From JSON values to bytes: the same value always gives the same text and the same digest."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

WIDTH = 240
"""A chunk, a figure or a short section stands on one line, so that a comparison of two files reads well."""


def canonical(value: object) -> bytes:
    """Keys sorted, no spaces, floats by their shortest representation: what digests are taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def digest(value: object) -> str:
    return f"sha256:{hashlib.sha256(canonical(value)).hexdigest()}"


def without_digest(value: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping a digest inside it covers: all other keys."""
    return {key: item for key, item in value.items() if key != "digest"}


def seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """The plan document with the digest of its inputs and its own digest computed anew."""
    inputs = {**document["inputs"], "digest": digest(without_digest(document["inputs"]))}
    sealed = {**document, "inputs": inputs}
    return {**sealed, "digest": digest(without_digest(sealed))}


def render(value: object) -> str:
    """JSON text in the given key order: what fits in 240 columns on one line, a newline at the end."""
    return _lines(value, "") + "\n"


def _lines(value: object, indent: str) -> str:
    flat = json.dumps(value, allow_nan=False)
    deeper = indent + " "
    if isinstance(value, dict) and (len(indent) + len(flat) > WIDTH or not indent):
        items = [f"{deeper}{json.dumps(key)}: {_lines(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}" if items else "{}"
    if isinstance(value, list) and len(indent) + len(flat) > WIDTH and isinstance(value[0], dict | list):
        return "[\n" + ",\n".join(deeper + _lines(item, deeper) for item in value) + f"\n{indent}]"
    return flat
