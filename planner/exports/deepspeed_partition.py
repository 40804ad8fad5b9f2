"""Where DeepSpeed's ``PipelineModule`` (0.19) would cut a chain of layers.

It knows three rules (``PipelineModule._partition_layers``):

- ``uniform``: n layers over p stages, n // p each and one more on the first n mod p
- ``parameters``: with w_i the trainable parameters of layer i, the cut whose heaviest and lightest stages
  differ least,  min over cuts of  max_j W_j - min_j W_j,  W_j the sum of w over stage j
- ``type:REGEX``: the same with w_i = 1 where the layer's class name matches, else 0

The cut of the latter two is found by dynamic programming over (layers placed, stages used); of equally
good places for a boundary the last is taken. It keeps one pair (max, min) per state, so it is not always
the optimum of its own measure; here as there.
"""

from collections.abc import Sequence
from math import inf

Cut = tuple[int, ...]
"""stages + 1 indices into the chain."""


def uniform_cut(layers: int, stages: int) -> Cut:
    if layers <= stages:
        return tuple(min(stage, layers) for stage in range(stages + 1))
    each, more = divmod(layers, stages)
    return tuple(stage * each + min(stage, more) for stage in range(stages + 1))


def balanced_cut(weights: Sequence[int], stages: int) -> Cut:
    """The cut that ``parameters`` and ``type`` make of ``weights``."""
    layers = len(weights)
    if layers <= stages:
        return uniform_cut(layers, stages)
    before = [0]
    for weight in weights:
        before.append(before[-1] + weight)
    # of the first i layers on j stages: the heaviest, the lightest, and where the last of them begins
    state: list[tuple[float, float]] = [(inf, inf)] * (layers + 1)
    state[0] = (0, inf)
    begins: list[list[int]] = []
    for stage in range(1, stages + 1):
        found: list[tuple[float, float]] = [(inf, inf)] * (layers + 1)
        begin = [0] * (layers + 1)
        for placed in range(stage, layers + 1):
            least = inf
            for start in range(placed):
                own = before[placed] - before[start]
                heaviest, lightest = max(state[start][0], own), min(state[start][1], own)
                if heaviest - lightest <= least:
                    least, found[placed], begin[placed] = heaviest - lightest, (heaviest, lightest), start
        begins.append(begin)
        state = found
    cut = [layers]
    for begin in reversed(begins):
        cut.append(begin[cut[-1]])
    return tuple(reversed(cut))
