"""What is wrong with a plan file, all of it at once."""

from collections.abc import Sequence
from dataclasses import dataclass

KeyPath = tuple[int | str, ...]
"""Keys and positions from the top of the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProblem:
    """One thing wrong: in which file, where in it (empty for the file as a whole), the offending
    value as written, and what would be right."""

    file: str
    path: KeyPath
    value: str
    message: str

    @property
    def key(self) -> str:
        """``stages[3].memory.peak_bytes``."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return text.removeprefix(".")

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.value, self.message) if part)


class PlanError(Exception):
    """A plan cannot be read. ``problems`` holds every one found; the text is one line a problem."""

    def __init__(self, problems: Sequence[PlanProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
