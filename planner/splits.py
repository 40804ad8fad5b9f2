"""Rules by which frameworks cut layers into stages, beside our own cuts."""

import math
from typing import Literal

import numpy as np

from costmodels.architecture import Mlp, Model
from costmodels.configuration import Configuration, Job
from costmodels.items import chain_of

Split = Literal["best", "balanced", "even", "redistributed"]
"""``best``: the fastest of every contiguous cut that fits, one chunk a stage; ``balanced``: the least bottleneck
(``solvers.partition``), and of several chunks a stage in place of the best; the others by a framework's rule."""


def even_boundaries(model: Model, configuration: Configuration) -> tuple[int, ...] | None:
    """Megatron's cut: equal layers in every chunk, embedding and head riding along; where only
    layers + 2 divide, the two count as a layer each. None where neither divides."""
    chunks = configuration.pp * configuration.vp
    layers, length = len(model.layers), len(chain_of(model).types)
    if layers % chunks == 0:
        inner = 1 + np.arange(1, chunks) * (layers // chunks)
    elif (layers + 2) % chunks == 0:
        inner = np.arange(1, chunks) * ((layers + 2) // chunks)
    else:
        return None
    return (0, *(int(i) for i in inner), length)


def redistributed_boundaries(model: Model, job: Job, configuration: Configuration) -> tuple[int, ...] | None:
    """The cut that gives the last stage fewer layers, as the head weighs r of them ("Redis" in Yeung et
    al., arXiv 2411.05288 sec. 6): max(0, ceil((L + r) / p - r)) of L layers with

        r = 2 V / (8 h + 4 s + 4 f),

    the others as even as can be, larger stages later (as in the study's runs). None with several chunks
    per stage, with one stage, or where layers are not all of one dense kind without gate: the weight
    is theirs.
    """
    block = model.kinds[0].block
    plain = len(model.kinds) == 1 and isinstance(block, Mlp) and not block.gated and not model.mtp_layers
    if not plain or configuration.vp != 1 or configuration.pp == 1:
        return None
    assert isinstance(block, Mlp)
    layers, stages = len(model.layers), configuration.pp
    weight = 2 * model.vocabulary / (8 * model.hidden + 4 * job.sequence_length + 4 * block.ffn)
    last = max(0, math.ceil((layers + weight) / stages - weight))
    each, larger = divmod(layers - last, stages - 1)
    counts = np.full(stages - 1, each)
    counts[stages - 1 - larger :] += 1
    return (0, *(1 + int(end) for end in np.cumsum(counts)), len(chain_of(model).types))
