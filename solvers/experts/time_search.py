"""Placements of a layer by seconds: exchanges of two slots from a start, and the way from one extreme to the other.

A descent takes the best of all exchanges that the GPU with the most copies, or the one that most tokens need, can make,
while seconds fall; among exchanges of the same seconds the more even one. The way to balance is the same with the
largest share in place of seconds: from a placement with little traffic it passes through all that trade traffic for
balance, each of which is priced.
"""

import numpy as np

from solvers.experts.time_layer import Exchanges, Standing, exchanges, nodes_reached, share_changes
from solvers.stop import StoppingRule

GAIN = 1e-9
EVEN = 1e-6  # of the seconds, for the evenness that decides between equals
NODE = 0.1  # of the mean load, what one more node of a token counts on the way to balance
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
    """From ``start`` by exchanges of the GPU with the most copies that lessen the largest share, the one with the
    least of largest load and nodes of a token together, until none gains; ``start`` first."""
    way = [start]
    for made in range(steps):
        now = way[-1]
        if stop(made) or now.shares.max() * len(now.shares) <= 1 + CLOSE:
            break
        gpu = int(now.shares.argmax())
        own, other, slot, shares = share_changes(now, gpu)
        largest = shares.max(axis=1) + EVEN * (shares**2).sum(axis=1)
        before = float(now.shares.max() + EVEN * (now.shares**2).sum())
        better = np.flatnonzero(largest < before * (1 - GAIN))
        if not len(better):
            break
        nodes = nodes_reached(now, gpu, own[better], other[better], slot[better]) if now.layer.merged else 0.0
        at = int(better[(largest[better] * len(now.shares) + NODE * nodes).argmin()])
        way.append(now.exchanged(gpu, int(own[at]), int(other[at]), int(slot[at])))
    return way


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
