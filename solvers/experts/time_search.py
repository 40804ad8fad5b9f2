"""Placements of a layer by seconds: exchanges of two slots from several starts, and the way from one extreme to another.

A descent takes the best of all exchanges that the GPU with the most copies, or the one that most tokens need, can make,
while seconds fall; among exchanges of the same seconds the more even one. The way to balance is the same with the
largest share in place of seconds: from a placement with little traffic it passes through all that trade traffic for
balance, each of which is priced.
"""

from collections.abc import Sequence

import numpy as np

from solvers.experts.problem import Integers
from solvers.experts.time_layer import Exchanges, Standing, TimeLayer, exchanges
from solvers.stop import StoppingRule

GAIN = 1e-9
EVEN = 1e-6  # of the seconds, for the evenness that decides between equals
STEPS = 200  # of one descent or way
CLOSE = 1e-3  # above the mean, where the way to balance ends


def descend(start: Standing, stop: StoppingRule, steps: int = STEPS) -> Standing:
    """No exchange of the critical GPUs of the result is better."""
    standing = start
    for made in range(steps):
        if stop(made):
            break
        best, reached = None, _rank_of(standing)
        for gpu in _critical(standing):
            options = exchanges(standing, gpu)
            rank = options.seconds * (1 + EVEN * (options.shares**2).sum(axis=1))
            at = int(rank.argmin()) if len(rank) else -1
            if at >= 0 and rank[at] < reached * (1 - GAIN):
                best, reached = (gpu, options, at), float(rank[at])
        if best is None:
            break
        standing = _after(standing, *best)
    return standing


def way_to_balance(start: Standing, stop: StoppingRule, steps: int = STEPS) -> list[Standing]:
    """From ``start`` by the exchange that leaves the largest share least, the fewest nodes reached among equals, until
    none gains; ``start`` first."""
    way = [start]
    for made in range(steps):
        now = way[-1]
        if stop(made) or now.shares.max() * len(now.shares) <= 1 + CLOSE:
            break
        gpu = int(now.shares.argmax())
        options = exchanges(now, gpu)
        largest = options.shares.max(axis=1)
        even = (options.shares**2).sum(axis=1)
        spread = 0.0 if options.on_nodes is None else options.on_nodes.max(axis=1)
        rank = largest + EVEN * (even + spread)
        at = int(rank.argmin()) if len(rank) else -1
        before = float(now.shares.max() + EVEN * (now.shares**2).sum())
        if at < 0 or largest[at] + EVEN * even[at] >= before * (1 - GAIN):
            break
        way.append(_after(now, gpu, options, at))
    return way


def fastest(layer: TimeLayer, starts: Sequence[Integers], stop: StoppingRule) -> Standing:
    """The best placement that descents from ``starts`` [gpus, slots] reach."""
    return min((descend(Standing(layer=layer, held=held), stop) for held in starts), key=lambda one: one.seconds)


def _critical(standing: Standing) -> list[int]:
    gpus = [int(standing.shares.argmax())]
    if standing.layer.merged:
        per_node = standing.layer.gpus_per_node
        node = int(standing.on_nodes.argmax())
        gpus.append(int(standing.on_gpus.argmax()))
        gpus.append(node * per_node + int(standing.shares[node * per_node : (node + 1) * per_node].argmax()))
    return list(dict.fromkeys(gpus))


def _rank_of(standing: Standing) -> float:
    return standing.seconds * (1 + EVEN * float((standing.shares**2).sum()))


def _after(standing: Standing, gpu: int, options: Exchanges, at: int) -> Standing:
    return standing.exchanged(gpu, int(options.own[at]), int(options.other[at]), int(options.slot[at]))
