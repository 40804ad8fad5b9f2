"""Where groups lie: against drawings by hand and an enumeration of every group."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels.groups import group_shape


def enumerated(size: int, stride: int, domain: int) -> tuple[int, int]:
    """Fewest ranks in a domain and most domains, from the rank lists of all groups of many blocks."""
    fewest, most = size, 1
    for block in range(domain):
        for offset in range(stride):
            ranks = block * size * stride + offset + stride * np.arange(size)
            _, counts = np.unique(ranks // domain, return_counts=True)
            fewest, most = min(fewest, counts.min()), max(most, len(counts))
    return fewest, most


@pytest.mark.parametrize(
    ("size", "stride", "domain", "ranks_per_domain", "domains"),
    [
        (8, 1, 8, 8, 1),  # tensor group of a node
        (16, 8, 8, 1, 16),  # data groups behind it: one rank in each node
        (16, 2, 8, 4, 4),
        (4, 16, 8, 1, 4),
        (72, 1, 72, 72, 1),  # an NVL72 rack
        (16, 1, 72, 8, 2),  # 72 = 4.5 x 16: ranks 64..79 straddle two racks, 8 in each
        (6, 1, 8, 2, 2),  # ranks 6..11 straddle two nodes, 2 in the first
        (7, 1, 8, 1, 2),  # ranks 7..13 straddle two nodes, one in the first
        (1, 8, 8, 1, 1),
    ],
)
def test_groups_drawn_by_hand(size: int, stride: int, domain: int, ranks_per_domain: int, domains: int) -> None:
    group = group_shape(size, stride, domain)
    assert (int(group.size), int(group.ranks_per_domain), int(group.domains)) == (
        size,
        ranks_per_domain,
        domains,
    )


@given(st.integers(1, 24), st.integers(1, 16), st.integers(1, 18))
def test_the_worst_group_is_the_worst_of_all_groups(size: int, stride: int, domain: int) -> None:
    group = group_shape(size, stride, domain)
    assert (int(group.ranks_per_domain), int(group.domains)) == enumerated(size, stride, domain)


def test_a_column_of_groups_equals_each_group_alone() -> None:
    sizes, strides = np.array([8, 6, 16, 3, 6]), np.array([1, 1, 2, 5, 1])
    together = group_shape(sizes, strides, 8)
    for i, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        alone = group_shape(size, stride, 8)
        assert together.ranks_per_domain[i] == alone.ranks_per_domain
        assert together.domains[i] == alone.domains


def test_ranks_count_from_one() -> None:
    with pytest.raises(ValueError, match="stride: 0"):
        group_shape(4, 0, 8)
