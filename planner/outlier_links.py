"""Links whose figure can hardly be right: a message relayed over a third node would arrive many times sooner."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

TIMES = 10.0
"""How many times sooner. In the two bundled region tables NL-London is at 137 (32 MiB, 0.35 s a message), the next at
1.6: nothing between stands in doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """From ``sender`` to ``receiver`` a message takes ``seconds``, over the best third node ``relayed_seconds``."""

    sender: int
    receiver: int
    seconds: float
    relayed_seconds: float


def outlier_links(link_seconds: Sequence[Sequence[float]], times: float = TIMES) -> Iterator[Outlier]:
    """The links of the matrix [N, N] that take over ``times`` as long as the best relay; finite links only."""
    link = np.array(link_seconds, dtype=np.float64)
    size = len(link)
    np.fill_diagonal(link, np.inf)
    for i in range(size):
        # the relays from i over k to every j: [j]
        relayed = (link[i][:, None] + link).min(axis=0)
        for j in range(size):
            if i != j and np.isfinite(link[i, j]) and link[i, j] > times * relayed[j]:
                yield Outlier(sender=i, receiver=j, seconds=float(link[i, j]), relayed_seconds=float(relayed[j]))
