"""How flows that run at the same time share the links they cross.

F flows, each over at most K links; link l carries ``capacities[l]`` bytes/s in its direction, flow f alone would run at
``alone[f]``. ``crossed`` [F, K] holds the links of each flow, -1 where it has fewer.

Equal share: every link gives each flow that crosses it the same share, used or not:

    rate[f] = min(alone[f], min over its links l of capacities[l] / flows over l).

Max-min: progressive filling (Bertsekas and Gallager, Data Networks, section 6.5.2): all flows grow together; one stops
where it runs as alone or one of its links is full. No flow is slower than by equal share, since on the link that stops
it nobody is faster, and some link's rest goes to others.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

FULL = 1e-9
"""Share of a link's capacity below which its rest counts as nothing."""


def equal_share(alone: Floats, crossed: Ints, capacities: Floats) -> Floats:
    """[F] bytes/s of each flow; see the module."""
    each = capacities / np.maximum(_flows_over(crossed, len(capacities)), 1)
    return np.minimum(alone, _least_of(each, crossed))


def max_min_share(alone: Floats, crossed: Ints, capacities: Floats) -> Floats:
    """[F] bytes/s of each flow; see the module."""
    rates = np.where(np.isinf(alone), np.inf, 0.0)
    rest = capacities.astype(np.float64)
    growing = np.flatnonzero(np.isfinite(alone))
    while len(growing):
        flows = _flows_over(crossed[growing], len(capacities))
        room = np.where(flows > 0, rest / np.maximum(flows, 1), np.inf)
        step = max(0.0, float(np.minimum(_least_of(room, crossed[growing]), alone[growing] - rates[growing]).min()))
        rates[growing] += step
        rest = np.maximum(rest - step * flows, 0.0)
        full = rest <= FULL * capacities
        stopped = (rates[growing] >= alone[growing] * (1 - FULL)) | _any_of(full, crossed[growing])
        growing = growing[~stopped]
    return rates


def _flows_over(crossed: Ints, links: int) -> Ints:
    return np.bincount(crossed[crossed >= 0], minlength=links)


def _least_of(figures: Floats, crossed: Ints) -> Floats:
    """[F]: the least figure of the links of each flow."""
    padded = np.append(figures, np.inf)
    least: Floats = padded[crossed].min(axis=1, initial=np.inf)
    return least


def _any_of(marked: NDArray[np.bool_], crossed: Ints) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.asarray(np.append(marked, False)[crossed].any(axis=1))
    return found
