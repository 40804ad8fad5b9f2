"""Measured bandwidths between every two nodes or every two GPUs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Attained:
    """``matrix`` [n, n] bytes/s from row to column, the diagonal infinite; n nodes, or with ``of_gpus`` all their GPUs,
    node by node. Two are equal when their figures are."""

    matrix: NDArray[np.float64]
    of_gpus: bool = False

    def __post_init__(self) -> None:
        rows, columns = self.matrix.shape
        if rows != columns:
            raise ValueError(f"attained bandwidths are {rows} x {columns}: the table must be square")
        self.matrix.setflags(write=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the matrix as little-endian doubles, row by row."""
        return f"sha256:{hashlib.sha256(np.ascontiguousarray(self.matrix, dtype='<f8').tobytes()).hexdigest()}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attained) and self.of_gpus == other.of_gpus and self.digest == other.digest

    def __hash__(self) -> int:
        return hash((self.of_gpus, self.digest))

    def only(self, rows: NDArray[np.intp]) -> "Attained":
        """The part of the matrix between ``rows``."""
        return Attained(matrix=self.matrix[np.ix_(rows, rows)], of_gpus=self.of_gpus)

    def slowest_between(self, firsts: Sequence[int]) -> NDArray[np.float64]:
        """[nodes, nodes]: the slowest GPU pair from node to node, where node i's GPUs begin at row ``firsts[i]``."""
        rows = np.minimum.reduceat(self.matrix, firsts, axis=0)
        slowest: NDArray[np.float64] = np.minimum.reduceat(rows, firsts, axis=1)
        return slowest
