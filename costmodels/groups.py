"""How a communication group lies on the machine.

A group is an arithmetic row of ranks, ``start + stride * i``; consecutive ranks fill the machine's
NVLink domains. With Megatron's rank order (tensor fastest, then context, data, pipeline) strides are:
tensor 1, context tp, data tp cp, pipeline tp cp dp; in expert layers expert-tensor 1, expert etp,
expert-data etp ep.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Where the ranks of a group sit; equal-length integer columns, or single numbers.

    ``size`` ranks in ``domains`` NVLink domains, ``ranks_per_domain`` in the least filled of them:
    that many NICs carry the group's traffic out of the domain.
    """

    size: NDArray[np.int64]
    ranks_per_domain: NDArray[np.int64]
    domains: NDArray[np.int64]


def group_shape(size: ArrayLike, stride: ArrayLike, domain_gpus: ArrayLike) -> Group:
    """The worst-placed of the groups of ``size`` ranks, ``stride`` apart, over domains of
    ``domain_gpus`` consecutive GPUs.

    Groups are laid out in blocks of ``size * stride`` consecutive ranks from rank 0 on. Where blocks
    or strides do not line up with domains, the worst group has the fewest ranks in some domain and
    spans the most domains. Arguments broadcast; all are integers of at least 1.
    """
    sizes, strides, domains = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.int64) for value in (size, stride, domain_gpus))
    )
    for name, values in (("size", sizes), ("stride", strides), ("domain_gpus", domains)):
        if values.size and values.min() < 1:
            raise ValueError(f"{name}: {values.min()}: ranks, strides and domains count from 1")
    block = sizes * strides
    inside = domains % block == 0
    scattered = strides >= domains
    per_domain = np.where(inside, sizes, np.where(scattered, 1, domains // strides))
    spanned = np.where(inside, 1, np.where(scattered, sizes, block // domains))
    uneven = ~inside & ~scattered & ((domains % strides != 0) | (block % domains != 0))
    if uneven.any():
        triples = np.stack([np.atleast_1d(a)[np.atleast_1d(uneven)] for a in (sizes, strides, domains)])
        distinct, index = np.unique(triples, axis=1, return_inverse=True)
        worst = np.array([_worst_group(*map(int, triple)) for triple in distinct.T])[index.reshape(-1)]
        np.place(per_domain, uneven, worst[:, 0])
        np.place(spanned, uneven, worst[:, 1])
    return Group(size=sizes.copy(), ranks_per_domain=per_domain, domains=spanned)


@lru_cache(maxsize=4096)
def _worst_group(size: int, stride: int, domain: int) -> tuple[int, int]:
    """Fewest ranks in a domain and most domains over every group that can occur (stride < domain).

    Blocks repeat against domain borders after ``domain`` of them at most.
    """
    period = domain // np.gcd(size * stride, domain)
    start = (np.arange(period)[:, None] * size * stride + np.arange(stride)).ravel() % domain
    last = start + stride * (size - 1)
    domains = last // domain + 1
    in_first = np.minimum(size, -(-(domain - start) // stride))
    in_last = np.where(domains > 1, (last % domain) // stride + 1, size)
    fewest = np.minimum(in_first, in_last)
    fewest = np.where(domains > 2, np.minimum(fewest, domain // stride), fewest)
    return int(fewest.min()), int(domains.max())
