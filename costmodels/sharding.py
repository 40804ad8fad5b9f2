"""How one layer is cut over the ranks of its stage, for many configurations at once.

Rank order is Megatron's: tensor fastest, then context, data, pipeline; inside expert blocks expert
tensor fastest, then expert, then expert-data. So a layer's groups do not depend on ``dp`` or ``pp``,
and a few hundred distinct shards price a hundred thousand configurations.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from costmodels.configuration import Job

Column = NDArray[np.float64]
Degree = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """Columns of equal length, one entry per distinct way to cut a layer. ``vocabulary_stages``: over
    how many pipeline stages each embedding is cut."""

    tp: Degree
    sp: Degree
    cp: Degree
    ep: Degree
    etp: Degree
    mbs: Degree
    vocabulary_stages: Degree = field(default_factory=lambda: np.ones(1, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.tp)

    def tokens(self, job: Job) -> Column:
        """Tokens of one micro-batch that a tensor group works on together."""
        return self.mbs * job.sequence_length / self.cp

    def sequence_tokens(self, job: Job) -> Column:
        """Tokens of one micro-batch on one rank outside the tensor-parallel regions."""
        return self.tokens(job) / np.where(self.sp == 1, self.tp, 1)


def padded_vocabulary(vocabulary: int, tp: Degree, stages: Degree | int = 1) -> Degree:
    """Rows after padding to a multiple of 128 x tp (Megatron's ``make-vocab-size-divisible-by``) that
    tp x stages divides: split over pipeline stages, each rank holds as many."""
    block = np.lcm(128, stages) * tp
    return np.asarray(-(-vocabulary // block) * block)


def vocabulary_rows(vocabulary: int, tp: Degree, stages: Degree | int = 1) -> Column:
    """Padded rows of one embedding on each rank that holds a part of it, all as many."""
    return np.asarray(padded_vocabulary(vocabulary, tp, stages) / (tp * stages), dtype=np.float64)


def vocabulary_unit(even_rows: int) -> int:
    """Rows a rank that shares of unequal stages are multiples of: the largest power of two that divides the even
    share, at most 128 (a tile's width), so that any share needs no other padding than the even one."""
    return math.gcd(128, even_rows)
