"""How one layer is cut over the ranks of its stage, for many configurations at once.

Rank order is Megatron's: tensor fastest, then context, data, pipeline; inside expert blocks expert
tensor fastest, then expert, then expert-data. So a layer's groups do not depend on ``dp`` or ``pp``,
and a few hundred distinct shards price a hundred thousand configurations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.configuration import Job

Column = NDArray[np.float64]
Degree = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """Columns of equal length, one entry per distinct way to cut a layer."""

    tp: Degree
    sp: Degree
    cp: Degree
    ep: Degree
    etp: Degree
    mbs: Degree

    def __len__(self) -> int:
        return len(self.tp)

    def tokens(self, job: Job) -> Column:
        """Tokens of one micro-batch that a tensor group works on together."""
        return self.mbs * job.sequence_length / self.cp

    def sequence_tokens(self, job: Job) -> Column:
        """Tokens of one micro-batch on one rank outside the tensor-parallel regions."""
        return self.tokens(job) / np.where(self.sp == 1, self.tp, 1)


def padded_vocabulary(vocabulary: int, tp: Degree) -> Degree:
    """Rows after Megatron's padding to a multiple of 128 x tp (``make-vocab-size-divisible-by``)."""
    block = 128 * tp
    return -(-vocabulary // block) * block
