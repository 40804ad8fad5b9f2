"""Small problems of hosts to map, as mappings of the keys that files have."""

from typing import Any


def two_leaves(**more: Any) -> dict[str, Any]:
    """Four hosts: a, b on one leaf (20 GB/s), c, d on the other, 10 GB/s between the leaves.

    Listed so that the default order crosses leaves along the pipelines: a c / b d.
    """
    near, far = 20, 10
    return {
        "gpus": ["a", "c", "b", "d"],
        "bandwidth": [[0, far, near, far], [far, 0, far, near], [near, far, 0, far], [far, near, far, 0]],
        "pipeline_stages": 2,
        "pipeline_bytes": 1e8,
        "data_parallel_bytes": 1e9,
        "microbatches": 8,
        **more,
    }
