"""Made-up routing with the structure of real routers, for sizes without published counts.

Each expert has a position z in ``topics`` dimensions (standard normal) and a popularity (log-normal, sigma
0.5, between the loads of a balanced and of a skewed router). The chance that a token goes from e to f is
proportional to popularity_e popularity_f exp(affinity z_e . z_f / sqrt(topics)); the counts of a layer are a
multinomial draw of ``tokens`` k^2 transitions.
"""

import numpy as np
from numpy.typing import NDArray


def made_transitions(
    layers: int,
    experts: int,
    *,
    seed: int,
    tokens: int = 100_000,
    top_k: int = 8,
    topics: int = 6,
    affinity: float = 0.6,
) -> NDArray[np.float64]:
    """Counts [layers - 1, experts, experts]."""
    random = np.random.default_rng(seed)
    position = random.standard_normal((layers, experts, topics))
    popularity = random.lognormal(0.0, 0.5, (layers, experts))
    result = []
    for layer in range(layers - 1):
        weight = np.exp(affinity * position[layer] @ position[layer + 1].T / np.sqrt(topics))
        weight *= popularity[layer][:, None] * popularity[layer + 1]
        result.append(random.multinomial(tokens * top_k**2, (weight / weight.sum()).ravel()).reshape(experts, experts))
    return np.stack(result).astype(np.float64)
