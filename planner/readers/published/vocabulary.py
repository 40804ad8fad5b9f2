"""Rows that split the vocabulary over pipeline stages, and the study most of them come from.

The runs of "Balancing Pipeline Parallelism with Vocabulary Parallelism" (Yeung et al., arXiv
2411.05288) state their method. All of them untie the embeddings. Its peak allocated bytes
(``cases/vocabulary_stage_times.yaml``) say the rest: they grow by 16.0 for each parameter of an
embedding, so gradients are kept in bf16 (its code also multiplies by the weights in the precision of
the gradients), and by 34 s b h a layer for each micro-batch more in flight, so hidden dropout is on.
"""

import re
from typing import Any

from costmodels.configuration import Vocabulary
from planner.readers.published.cells import Refusal, text
from planner.readers.published.table import Cells

METHODS: dict[str, Vocabulary] = {
    "baseline": "whole",
    "redis": "whole",
    "vocab-1": "vocab-1",
    "vocab-2": "vocab-2",
    "interlaced": "interlaced",
}
ALGORITHMS: dict[str, Vocabulary] = {r"vocab-?1|alg\w* ?1": "vocab-1", r"vocab-?2|alg\w* ?2": "vocab-2"}


def of_the_study(extra: dict[str, Any]) -> bool:
    """Whether the row states one of the study's methods."""
    return extra.get("method") in METHODS


def vocabulary_of(cells: Cells, extra: dict[str, Any]) -> Vocabulary:
    """By the stated method, else by the schedule's name."""
    if of_the_study(extra):
        return METHODS[extra["method"]]
    schedule = text(cells, "schedule").lower()
    if "interlaced" in schedule:
        return "interlaced"
    if "vocab" not in schedule:
        return "whole"
    for pattern, method in ALGORITHMS.items():
        if re.search(pattern, schedule):
            return method
    raise Refusal(f"vocabulary-parallel schedule {schedule[:40]!r}: neither algorithm 1 nor 2")
