"""Problems of one document, collected with their places."""

from dataclasses import dataclass, field

from planner.specs.document import Document, Place, spelled
from planner.specs.errors import Problem, SpecError, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Keeps what is wrong with ``document`` until ``check``."""

    document: Document
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, place: Place, message: str, value: object = None) -> None:
        """Adds a problem once; ``value`` as it was written, None: as the message says."""
        problem = Problem(
            file=self.document.file,
            key=spelled(place),
            value="" if value is None else shown(value),
            message=message,
            line=self.document.line(place),
        )
        if problem not in self.problems:
            self.problems.append(problem)

    def check(self) -> None:
        """Raises ``SpecError`` with everything found, in the order of the file."""
        if self.problems:
            raise SpecError(sorted(self.problems, key=lambda problem: problem.line or 0))
