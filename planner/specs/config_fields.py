"""Typed access to the keys of a Hugging Face config, collecting what is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.specs.errors import Problem, SpecError, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """``data`` is the config, ``prefix`` where it stands in the file. Getters note a problem and go
    on with a harmless value, so that ``check`` can raise all of them at once."""

    file: str
    data: Mapping[Any, Any]
    prefix: str = ""
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, key: str, message: str) -> None:
        value = shown(self.data[key]) if key in self.data else ""
        problem = Problem(file=self.file, key=f"{self.prefix}{key}", value=value, message=message)
        if problem not in self.problems:
            self.problems.append(problem)

    def given(self, key: str) -> bool:
        return self.data.get(key) is not None

    def count(self, *keys: str, default: int | None = None, least: int = 1, most: int = 2**24) -> int:
        """The integer under the first of ``keys`` that is there; those that are must agree."""
        there = [key for key in keys if self.given(key)]
        if not there:
            if default is None:
                self.wrong(keys[0], f"missing; so are {', '.join(keys[1:])}" if keys[1:] else "missing")
            return least if default is None else default
        key, value = there[0], self.data[there[0]]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(key, f"must be a whole number from {least} to {most}")
            return least
        for other in there[1:]:
            if self.data[other] != value:
                self.wrong(other, f"contradicts {key}, {value}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(key, "must be true or false")
            return default
        return value

    def positions(self, key: str, layers: int) -> frozenset[int]:
        """A list of layer positions from 0; empty when absent."""
        value = self.data.get(key)
        if value is None:
            return frozenset()
        if not isinstance(value, list) or not all(type(i) is int and 0 <= i < layers for i in value):
            self.wrong(key, f"must be a list of layer numbers from 0 to {layers - 1}")
            return frozenset()
        return frozenset(value)

    def per_layer(self, key: str, layers: int, values: tuple[object, ...]) -> list[Any] | None:
        """A list with one of ``values`` for each layer; None when absent."""
        found = self.data.get(key)
        if found is None:
            return None
        if not isinstance(found, list) or len(found) != layers:
            self.wrong(key, f"must be a list of {layers} values, one a layer")
            return None
        odd = next((v for v in found if isinstance(v, bool) or v not in values), None)
        if odd is not None:
            self.wrong(key, f"unsupported value {shown(odd)}; known: {', '.join(str(v) for v in values)}")
            return None
        return found

    def check(self) -> None:
        if self.problems:
            raise SpecError(self.problems)
