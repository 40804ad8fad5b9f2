"""Does it fit? The model's verdict on configurations of which a publication tells."""

from collections.abc import Iterable
from dataclasses import dataclass

from planner.published.rows import PredictedRow
from planner.readers.published.cells import text

OUT_OF_MEMORY = "out of memory"
"""What the column ``outcome`` says of a published run that ended so; blank when the run ended well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """How many runs ran, and how many of them are said to fit; the same of those that ran out of memory.
    ``wrong`` names the rows judged wrongly, ``unjudged`` counts those not predicted."""

    ran: int
    ran_right: int
    overflowed: int
    overflowed_right: int
    unjudged: int
    wrong: tuple[str, ...]


def overflowed(found: PredictedRow) -> bool:
    """Out of memory as published: said in words, or by a peak above the GPU's memory."""
    row = found.row
    said = text(row.cells, "outcome").lower() == OUT_OF_MEMORY
    peak, request = row.measured_memory, row.request
    return said or (
        peak is not None and request is not None and peak * row.memory_unit_bytes > request.cluster.gpu.memory_bytes
    )


def _analytical(found: PredictedRow) -> bool:
    return text(found.row.cells, "peak_mem_kind").lower().startswith("analytical")


def verdicts(predicted: Iterable[PredictedRow]) -> Verdicts:
    """Every row of a table of runs is one that ran, unless it says otherwise. Of analytical values only
    those above the GPU's memory tell anything."""
    rows = [found for found in predicted if overflowed(found) or not _analytical(found)]
    judged = [(found, overflowed(found)) for found in rows if found.seconds is not None]
    right = [(found.status == "infeasible") == over for found, over in judged]
    over_right = [ok for (_, over), ok in zip(judged, right, strict=True) if over]
    ran_right = [ok for (_, over), ok in zip(judged, right, strict=True) if not over]
    return Verdicts(
        ran=len(ran_right),
        ran_right=sum(ran_right),
        overflowed=len(over_right),
        overflowed_right=sum(over_right),
        unjudged=len(rows) - len(judged),
        wrong=tuple(found.row.row_id for (found, _), ok in zip(judged, right, strict=True) if not ok),
    )
