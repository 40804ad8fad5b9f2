"""What a reader passed over, said so that nobody takes it for read."""

from dataclasses import dataclass

from planner.specs.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """``text`` at ``line`` (from 1; None for the file as a whole) of ``file`` was not read, and ``why``."""

    file: str
    line: int | None
    text: str
    why: str

    def __str__(self) -> str:
        text = " ".join(self.text.split())
        short = text if len(text) <= 60 else f"{text[:57]}..."
        return str(Problem(file=self.file, line=self.line, key="", value=short, message=self.why))
