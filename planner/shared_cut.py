"""The cut of a chain whose vocabulary is split over the stages, and each stage's share of it, chosen together.

A stage that holds fewer layers can take more rows. Stage j with items a..b and u units of rows is busy

    m (forward + backward of a..b) + S, T and lookups of m micro-batches with u units,

the second priced by the same kernels as even shares, and holds the items' and the rows' states, its
micro-batches in flight, an open softmax, and the larger of what a layer needs while it runs and what a step of
the vocabulary does. ``solvers.shared_partition`` finds the least busiest stage; every stage has a unit at least
and ``MOST_SHARES`` even shares at most. Interlaced, all stages run the vocabulary in step: shares stay even.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.configuration import VOCABULARIES
from costmodels.sharding import Column, vocabulary_unit
from costmodels.step import StepModel
from costmodels.timeline import Order, peak_live_counts
from planner.partition import range_maxima
from solvers.shared_partition import shared_partition

MOST_SHARES = 4
"""Even shares that one stage may hold: all stages wait for the longest S and T of a micro-batch, so that busy times
alone mislead beyond (``tests/benchmarks/partitions.py``)."""

UNEVEN_METHODS = tuple(VOCABULARIES.index(name) for name in ("vocab-1", "vocab-2"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCut:
    """``boundaries`` [pp + 1] into the chain, ``rows`` [pp] of each embedding on every rank of a stage, and the
    seconds that the busiest stage computes: no cut and no shares (in memory, where it is respected) have less."""

    boundaries: tuple[int, ...]
    rows: tuple[int, ...]
    busy_seconds: float


def may_be_uneven(step: StepModel) -> NDArray[np.bool_]:
    """[n]: whether stages may have shares of their own."""
    return np.isin(step.columns.vocabulary, UNEVEN_METHODS)


def shared_cut(
    step: StepModel, index: int, order: Order, *, among: Sequence[int] | None = None, memory: bool = True
) -> SharedCut | None:
    """The cut and shares of candidate ``index`` whose busiest stage has least to do; None where none fits.

    ``order``, of a rule, says how many micro-batches are alive at once on each stage. ``among``: where the chain may
    be cut, its ends with them (None: anywhere). Where some layers are recomputed, as though none were; ``memory`` off:
    as though all fitted.
    """
    stages, microbatches = int(step.columns.pp[index]), int(step.microbatches[index])
    even = int(step.even_rows[index])
    unit = vocabulary_unit(even)
    shares, states = step.shares_of(index, unit * np.arange(1.0, even // unit * stages - stages + 2))
    types = step.chain.types
    at = np.arange(len(types) + 1) if among is None else np.asarray(among)
    ends = len(at)

    def sums(table: Column) -> Column:
        total = np.concatenate([[0.0], np.cumsum(table[types, index])])[at]
        return np.asarray(np.maximum(total[None, :] - total[:, None], 0.0))

    work = sums(step.kept.forward_seconds + step.kept.backward_seconds) + step.calibration.microbatch_seconds
    busy = shares.busy_seconds(microbatches)
    never = microbatches * work[0, -1] + busy[-1]
    busy[MOST_SHARES * (even // unit) :] += never
    held, each = np.zeros((2, stages, ends, ends)), np.zeros((2, stages))
    if memory:
        live = peak_live_counts(order)[:, None, None]
        transient = range_maxima(step.kept.transient_bytes[types, index])[np.ix_(at, at)]
        per_share = states.total + shares.kept_bytes
        held += sums(step.state.total) + live * sums(step.kept.saved_bytes) + per_share[0]
        held[0] += np.maximum(transient, 0.0)
        held[1] += shares.step_bytes[0]
        if len(states.total) > 1:
            each += per_share[1] - per_share[0]
            each[1] += shares.step_bytes[1] - shares.step_bytes[0]
    found = shared_partition(
        np.broadcast_to(microbatches * work, (stages, ends, ends)),
        np.broadcast_to(busy, (stages, len(busy))),
        load_bytes=held,
        unit_bytes=each,
        cap_bytes=step.allocatable_bytes - step.calibration.workspace_bytes if memory else np.inf,
    )
    if found.choice is None or found.value >= never:
        return None
    return SharedCut(
        boundaries=tuple(int(at[b]) for b in found.choice.boundaries),
        rows=tuple(unit * (1 + int(units)) for units in found.choice.units),
        busy_seconds=found.value,
    )
