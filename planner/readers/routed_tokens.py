"""Routed tokens in a JSONL file: which experts each token went to, and what follows from it.

A line is ``{"layer": 3, "experts": [17, 201], "token": 42}``, or several tokens at once with lists:
``{"layer": 3, "experts": [[17, 201], [5, 9]], "token": [42, 43]}``. ``layer`` is the model's number;
``token`` (a number or a text) is optional, and needed to follow a token from layer to layer.

    loads[l, e]            tokens that e got in layer l
    coactivation[l, e, f]  tokens that went to e and f, e != f
    transitions[l, e, f]   pairs (e in layer l, f in the next one) of a token: top-2 counts a token four times
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.specs.document import read_text
from planner.specs.errors import Problem, SpecError, shown

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.intp]

MOST_BYTES = 2**31
MOST_PROBLEMS = 20
MOST_EXPERTS = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedTokens:
    """``routes`` holds for every layer of ``layer_ids`` the experts of its tokens, [tokens, top_k];
    ``tokens`` their ids in the same order, None where the file gives none."""

    layer_ids: tuple[int, ...]
    routes: tuple[Integers, ...]
    tokens: tuple[tuple[int | str, ...], ...] | None

    @property
    def experts(self) -> int:
        """One more than the largest expert that was seen."""
        return int(max(route.max() for route in self.routes)) + 1

    def loads(self, experts: int) -> Floats:
        """[layers, experts]"""
        return np.array([np.bincount(route.ravel(), minlength=experts) for route in self.routes], dtype=np.float64)

    def coactivation(self, experts: int) -> Floats:
        """[layers, experts, experts], symmetric, 0 on the diagonal."""
        found = np.zeros((len(self.routes), experts, experts))
        for layer, route in enumerate(self.routes):
            for i in range(route.shape[1]):
                for j in range(route.shape[1]):
                    if i != j:
                        np.add.at(found[layer], (route[:, i], route[:, j]), 1.0)
        return found

    def transitions(self, experts: int) -> Floats | None:
        """[layers - 1, experts, experts], of tokens seen in both layers; None without token ids."""
        if self.tokens is None:
            return None
        found = np.zeros((len(self.routes) - 1, experts, experts))
        for layer in range(len(self.routes) - 1):
            rows = {token: row for row, token in enumerate(self.tokens[layer + 1])}
            pairs = [(row, rows[token]) for row, token in enumerate(self.tokens[layer]) if token in rows]
            if pairs:
                here, there = np.array(pairs).T
                before, after = self.routes[layer][here], self.routes[layer + 1][there]
                for i in range(before.shape[1]):
                    for j in range(after.shape[1]):
                        np.add.at(found[layer], (before[:, i], after[:, j]), 1.0)
        return found


def read_routed_tokens(path: Path) -> RoutedTokens:
    """Raises ``SpecError`` with every line that cannot be used (the first 20)."""
    file = str(path)
    collected: dict[int, tuple[list[list[int]], list[int | str]]] = {}
    widths: dict[int, int] = {}
    problems: list[Problem] = []
    named = unnamed = 0
    for line, text in enumerate(read_text(path, MOST_BYTES).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            layer, routes, tokens = _line(text)
            width = widths.setdefault(layer, len(routes[0]))
            if any(len(route) != width for route in routes):
                raise _Wrong("experts", routes, f"layer {layer} has {width} experts per token elsewhere")
        except _Wrong as wrong:
            problems.append(
                Problem(file=file, key=wrong.key, value=shown(wrong.value), message=wrong.message, line=line)
            )
            if len(problems) >= MOST_PROBLEMS:
                break
            continue
        kept = collected.setdefault(layer, ([], []))
        kept[0].extend(routes)
        if tokens is None:
            unnamed += 1
        else:
            named += 1
            kept[1].extend(tokens)
    if not problems and not collected:
        problems.append(Problem(file=file, key="", value="", message="holds no tokens"))
    if named and unnamed:
        message = f"{unnamed} lines have none, {named} have one: give every line its token, or none"
        problems.append(Problem(file=file, key="token", value="", message=message))
    problems += [
        Problem(file=file, key="token", value=shown(twice), message=f"is given twice in layer {layer}")
        for layer, (_, tokens) in sorted(collected.items())
        for twice in _repeated(tokens)[:1]
    ]
    if problems:
        raise SpecError(problems[:MOST_PROBLEMS])
    ids = tuple(sorted(collected))
    return RoutedTokens(
        layer_ids=ids,
        routes=tuple(np.array(collected[layer][0], dtype=np.intp) for layer in ids),
        tokens=tuple(tuple(collected[layer][1]) for layer in ids) if named else None,
    )


class _Wrong(Exception):  # noqa: N818 - it carries what is wrong with a line
    def __init__(self, key: str, value: object, message: str) -> None:
        self.key, self.value, self.message = key, value, message


def _line(text: str) -> tuple[int, list[list[int]], list[int | str] | None]:
    """Layer, experts of each token, and the tokens' ids."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Wrong("", text, f"is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _Wrong("", data, 'must be a mapping such as {"layer": 0, "experts": [1, 2]}')
    layer = data.get("layer")
    if not isinstance(layer, int) or not _index(layer):
        raise _Wrong("layer", layer, "must be the number of a layer, from 0 on")
    experts, several = data.get("experts"), False
    if isinstance(experts, list) and experts and all(isinstance(route, list) for route in experts):
        several = True
    routes: list[Any] = experts if several and isinstance(experts, list) else [experts]
    for route in routes:
        if not isinstance(route, list) or not route or not all(_index(e) and e < MOST_EXPERTS for e in route):
            raise _Wrong("experts", route, "must be a list of expert numbers, from 0 on")
        if len(set(route)) < len(route):
            raise _Wrong("experts", route, "a token goes to an expert once")
    tokens = data.get("token")
    if tokens is None:
        return layer, routes, None
    ids = tokens if several else [tokens]
    if not isinstance(ids, list) or len(ids) != len(routes):
        raise _Wrong("token", tokens, f"must hold {len(routes)} ids, one for each list of experts")
    if not all(isinstance(token, str) or _index(token) for token in ids):
        raise _Wrong("token", tokens, "must be a number from 0 on, or a text")
    return layer, routes, ids


def _index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _repeated(tokens: list[int | str]) -> list[int | str]:
    seen: set[int | str] = set()
    return [token for token in tokens if token in seen or seen.add(token)]  # type: ignore[func-returns-value]
