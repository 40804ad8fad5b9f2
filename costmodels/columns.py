"""Many configurations side by side: one array per degree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.configuration import PIPELINE_SCHEDULES, V_SCHEDULES, VOCABULARIES, Configuration, Recompute
from costmodels.sharding import Degree, Shards

SHARD_FIELDS = ("tp", "sp", "cp", "ep", "etp", "mbs", "vocabulary_stages")
INTEGER_FIELDS = ("tp", "sp", "cp", "pp", "vp", "dp", "zero", "ep", "etp", "mbs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Equal-length columns of ``Configuration``'s fields; ``recompute`` indexes ``levels``, ``vocabulary``
    indexes ``VOCABULARIES``, ``schedule`` ``PIPELINE_SCHEDULES``."""

    tp: Degree
    sp: Degree
    cp: Degree
    pp: Degree
    vp: Degree
    dp: Degree
    zero: Degree
    ep: Degree
    etp: Degree
    mbs: Degree
    recompute: Degree
    levels: tuple[Recompute, ...]
    vocabulary: Degree
    schedule: Degree

    def __len__(self) -> int:
        return len(self.tp)

    @classmethod
    def of(cls, configurations: Sequence[Configuration]) -> "Columns":
        levels = tuple(dict.fromkeys(configuration.recompute for configuration in configurations))
        columns = {
            name: np.array([getattr(configuration, name) for configuration in configurations], dtype=np.int64)
            for name in INTEGER_FIELDS
        }
        recompute = np.array([levels.index(configuration.recompute) for configuration in configurations], np.int64)
        vocabulary = np.array([VOCABULARIES.index(c.vocabulary) for c in configurations], np.int64)
        schedule = np.array([PIPELINE_SCHEDULES.index(c.schedule) for c in configurations], np.int64)
        return cls(**columns, recompute=recompute, levels=levels, vocabulary=vocabulary, schedule=schedule)

    def row(self, index: int) -> Configuration:
        values = {name: int(getattr(self, name)[index]) for name in INTEGER_FIELDS}
        return Configuration(
            **values,
            recompute=self.levels[self.recompute[index]],
            vocabulary=VOCABULARIES[self.vocabulary[index]],
            schedule=PIPELINE_SCHEDULES[self.schedule[index]],
        )

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Columns":
        names = (*INTEGER_FIELDS, "recompute", "vocabulary", "schedule")
        taken = {name: getattr(self, name)[chosen] for name in names}
        return Columns(**taken, levels=self.levels)

    def distinct(self) -> tuple["Columns", NDArray[np.int64]]:
        """The distinct configurations, and for each of these columns which one it is."""
        names = (*INTEGER_FIELDS, "recompute", "vocabulary", "schedule")
        first, index = _distinct([getattr(self, name) for name in names])
        return self.take(first), index

    def shards(self) -> tuple[Shards, NDArray[np.int64]]:
        """The distinct layer shards and, for each configuration, which one it uses."""
        first, index = _distinct([getattr(self, name) for name in SHARD_FIELDS])
        return Shards(**{name: getattr(self, name)[first] for name in SHARD_FIELDS}), index

    @property
    def vocabulary_stages(self) -> Degree:
        """Pipeline stages that share each embedding; 1 where it stands whole on one of them."""
        return np.where(self.vocabulary == 0, 1, self.pp)

    @property
    def splits_backward(self) -> NDArray[np.bool_]:
        """Whether weight gradients run apart from input gradients."""
        return np.asarray(self.schedule > 0)

    @property
    def turns_back(self) -> NDArray[np.bool_]:
        """Whether chunks are placed in a V: the first and the last on stage 0."""
        named = np.isin(self.schedule, [PIPELINE_SCHEDULES.index(name) for name in V_SCHEDULES])
        return np.asarray(named | ((self.schedule == PIPELINE_SCHEDULES.index("best")) & (self.vp == 2)))

    @property
    def dense_replicas(self) -> Degree:
        """Ranks that hold the same dense parameters: they shard and reduce them together."""
        return self.dp * self.cp

    @property
    def expert_replicas(self) -> Degree:
        """Ranks that hold the same experts."""
        return self.tp * self.cp * self.dp // (self.ep * self.etp)

    @property
    def gpus(self) -> Degree:
        return self.tp * self.cp * self.pp * self.dp

    def microbatches(self, global_batch: int) -> Degree:
        return global_batch // (self.dp * self.mbs)


def _distinct(columns: Sequence[Degree]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each kind, and for every row which kind it is."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:  # one number a row, as rows of a table are slow to sort
        values, code = np.unique(column, return_inverse=True)
        key = key * len(values) + code.reshape(-1)
    _, first, index = np.unique(key, return_index=True, return_inverse=True)
    return first, index.reshape(-1)
