"""Many configurations side by side: one array per degree."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from costmodels.configuration import RECOMPUTE_LEVELS, VOCABULARIES, Configuration
from costmodels.sharding import Degree, Shards

SHARD_FIELDS = ("tp", "sp", "cp", "ep", "etp", "mbs", "vocabulary_stages")
NAMED: dict[str, tuple[str, ...]] = {"recompute": RECOMPUTE_LEVELS, "vocabulary": VOCABULARIES}
"""Fields that are names; their columns hold indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Equal-length columns of ``Configuration``'s fields; those of ``NAMED`` index their names."""

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
    vocabulary: Degree

    def __len__(self) -> int:
        return len(self.tp)

    @classmethod
    def of(cls, configurations: Sequence[Configuration]) -> "Columns":
        def column(name: str) -> Degree:
            values = [getattr(configuration, name) for configuration in configurations]
            if name in NAMED:
                values = [NAMED[name].index(value) for value in values]
            return np.array(values, dtype=np.int64)

        return cls(**{field.name: column(field.name) for field in fields(cls)})

    def row(self, index: int) -> Configuration:
        values = {field.name: int(getattr(self, field.name)[index]) for field in fields(self)}
        named = {name: known[values[name]] for name, known in NAMED.items()}
        return Configuration(**{**values, **named})  # type: ignore[arg-type]

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Columns":
        return Columns(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def shards(self) -> tuple[Shards, NDArray[np.int64]]:
        """The distinct layer shards and, for each configuration, which one it uses."""
        table = np.stack([getattr(self, name) for name in SHARD_FIELDS], axis=1)
        distinct, index = np.unique(table, axis=0, return_inverse=True)
        columns = {name: distinct[:, i] for i, name in enumerate(SHARD_FIELDS)}
        return Shards(**columns), index.reshape(-1)

    @property
    def vocabulary_stages(self) -> Degree:
        """Pipeline stages that share each embedding; 1 where it stands whole on one of them."""
        return np.where(self.vocabulary == 0, 1, self.pp)

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
