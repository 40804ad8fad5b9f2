"""The members of a family: stages on each group, the order of groups along the pipeline, and shares of the batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, permutations, product

import numpy as np

from costmodels.sharding import Column
from planner.mixed.bounds import Ramp
from planner.mixed.ground import Lane
from planner.mixed.islands import Islands

MOST_MEMBERS = 20_000
"""Of one family, by their own bounds; what is beyond leaves a gap."""

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One bundle of a family. ``room``: stages each of its ``groups`` holds at the most; ``slowness``: w_k of each;
    ``forward_share``, ``host``: as ``planner.mixed.bounds`` has them."""

    groups: tuple[int, ...]
    room: tuple[int, ...]
    pipelines: int
    slowness: tuple[float, ...]
    forward_share: float
    host: float
    states: float = 0.0
    """Seconds that the states of an average stage take at the least, and ``hidden`` the h of ``state_bound``."""
    hidden: float = 0.0

    def synchronised(self, microbatches: Column, stages: int) -> Column:
        """Seconds of the mean of (m - h) l_j + R_j + G_j over its stages, at the least."""
        return np.asarray((microbatches - self.hidden) * min(self.slowness) / stages + self.states)

    def most(self, seconds: float, stages: int) -> float:
        """Micro-batches for which that is ``seconds``."""
        return (seconds - self.states) * stages / min(self.slowness) + self.hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Members that differ in the order of groups alone. ``seconds``: a bound on their pipelines; ``held``: stages on
    each group of each bundle; ``shares``: micro-batches of a pipeline of each."""

    seconds: float
    held: tuple[tuple[int, ...], ...]
    shares: tuple[int, ...]


def staged(bundles: Sequence[Bundle], stages: int, turns: int, limit: float) -> tuple[list[Staged], bool]:
    """All whose pipelines may end before ``limit`` seconds, the least bound first, ``turns`` micro-batches shared among
    all pipelines; and whether that is all, or they are too many."""
    everything = _staged(bundles, stages, turns, limit)
    found = list(islice(everything, MOST_MEMBERS))
    complete = next(everything, None) is None
    return sorted(found, key=lambda one: one.seconds), complete


def _staged(bundles: Sequence[Bundle], stages: int, turns: int, limit: float) -> Iterator[Staged]:
    pipelines = [bundle.pipelines for bundle in bundles]
    for chosen in product(*([*_stagings(bundle, stages)] for bundle in bundles)):
        ramps = [ramp for _, ramp in chosen]
        most = [_most(bundle, ramp, stages, limit, turns) for bundle, ramp in zip(bundles, ramps, strict=True)]
        seconds_of = [
            np.maximum(ramp.seconds(count := _counts(n)), bundle.synchronised(count, stages)).tolist()
            for bundle, ramp, n in zip(bundles, ramps, most, strict=True)
        ]
        for shares in _shares(pipelines, most, turns):
            seconds = max(seconds_of[b][m] for b, m in enumerate(shares))
            if seconds < limit:
                yield Staged(seconds=seconds, held=tuple(held for held, _ in chosen), shares=shares)


def _counts(most: int) -> Column:
    """Micro-batches from none to ``most``; none, which no pipeline runs, counts as one."""
    return np.maximum(np.arange(most + 1, dtype=np.float64), 1.0)


def _most(bundle: Bundle, ramp: Ramp, stages: int, limit: float, turns: int) -> int:
    """Micro-batches that may end before ``limit`` seconds."""
    if limit == float("inf"):
        return turns
    found = min(ramp.microbatches(np.array(limit)).item(), bundle.most(limit, stages))
    return min(turns, max(0, int(found * (1 + ROUNDING) + ROUNDING)))


def _stagings(bundle: Bundle, stages: int) -> Iterator[tuple[tuple[int, ...], Ramp]]:
    """Stages on each group, one at least and no more than it has room for, ``stages`` in all."""
    own = np.array(bundle.slowness)[:, None]
    for held in _compositions(bundle.room, stages):
        ramp = Ramp.of(own, np.array(held)[:, None], np.array([stages]), np.array([bundle.forward_share]), bundle.host)
        yield held, ramp


def _compositions(room: tuple[int, ...], total: int) -> Iterator[tuple[int, ...]]:
    if len(room) == 1:
        if 1 <= total <= room[0]:
            yield (total,)
        return
    rest = room[1:]
    for first in range(max(1, total - sum(rest)), min(room[0], total - len(rest)) + 1):
        for others in _compositions(rest, total - first):
            yield (first, *others)


def _shares(pipelines: Sequence[int], most: Sequence[int], turns: int) -> Iterator[tuple[int, ...]]:
    """Micro-batches of a pipeline of each bundle, at least one and at most ``most``, ``turns`` in all."""
    own, limit = pipelines[0], most[0]
    if len(pipelines) == 1:
        if turns % own == 0 and 1 <= turns // own <= limit:
            yield (turns // own,)
        return
    others = sum(d * m for d, m in zip(pipelines[1:], most[1:], strict=True))
    least = max(1, -(-(turns - others) // own))
    for share in range(least, min(limit, (turns - sum(pipelines[1:])) // own) + 1):
        for rest in _shares(pipelines[1:], most[1:], turns - share * own):
            yield (share, *rest)


class Orders:
    """Orders of groups along a pipeline; of those that differ in interchangeable groups alone the first."""

    def __init__(self, islands: Islands) -> None:
        count = range(len(islands.groups))
        self.kinds = islands.kinds()
        shown = [repr(islands.between[a][b]) for a in count for b in count]
        self.trunks = [[shown.index(repr(islands.between[a][b])) for b in count] for a in count]

    def layouts(self, bundles: Sequence[Bundle], one: Staged) -> Iterator[tuple[Lane, ...]]:
        """The members of a family that ``one`` stands for: every order of each bundle's groups."""
        lanes = [
            [Lane(chain=chain, pipelines=bundle.pipelines, microbatches=share) for chain in self._chains(bundle, held)]
            for bundle, held, share in zip(bundles, one.held, one.shares, strict=True)
        ]
        yield from product(*lanes)

    def _chains(self, bundle: Bundle, held: tuple[int, ...]) -> list[tuple[tuple[int, int], ...]]:
        seen, found = set(), []
        for chain in permutations(zip(bundle.groups, held, strict=True)):
            key = (
                tuple((self.kinds[group], stages) for group, stages in chain),
                tuple(self.trunks[a][b] for (a, _), (b, _) in pairwise(chain)),
            )
            if key not in seen:
                seen.add(key)
                found.append(chain)
        return found
