"""What is wrong with a spec, all of it at once."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong: in which file, at which key (``node_groups[0].gpu``; empty for the file as
    a whole), the offending value as written, and what would be right. ``line`` counts from 1."""

    file: str
    key: str
    value: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = ": ".join(part for part in (place, self.key, self.value, self.message) if part)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SpecError(Exception):
    """A spec cannot be used. ``problems`` holds every one found; the text is one line a problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Problems:
    """Collects the problems of several specs, so that a user hears of all of them at once::

    problems = Problems()
    with problems.of():
        cluster = load_cluster(source)
    with problems.of():
        model = load_model(name)
    problems.check()  # SpecError with everything found
    """

    def __init__(self) -> None:
        self.found: list[Problem] = []

    @contextmanager
    def of(self) -> Iterator[None]:
        """Keeps the problems of a ``SpecError`` raised inside, and goes on."""
        try:
            yield
        except SpecError as error:
            self.found += error.problems

    def check(self) -> None:
        """Raises ``SpecError`` if anything was found."""
        if self.found:
            raise SpecError(self.found)


def shown(value: object) -> str:
    """``value`` as a message shows it: one line, at most 60 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."


def refuse(file: str, message: str, *, line: int | None = None, key: str = "", value: str = "") -> NoReturn:
    """Raises a ``SpecError`` of one problem."""
    raise SpecError([Problem(file=file, key=key, value=value, message=message, line=line)])
