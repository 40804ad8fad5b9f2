"""Experts along the layers: ``python -m tests.benchmarks.transitions [mixtral] [unseen] [large]``.

``mixtral``: share of transitions that leave the GPU, published placements beside proven optima. ``unseen``: what a
placement fitted to one data set is worth on the other, plain and regularised. ``large``: sizes beyond
enumeration on made-up routing (``routing.py``), value, bound and seconds. Nothing is asserted.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.experts.transitions import leaving_share, transitions_problem, two_level_cost
from solvers.experts.transitions_robust import place_for_the_worst, toward_independence
from solvers.experts.transitions_solve import place_along_layers
from solvers.stop import MaxEvaluations, MaxSeconds
from tests.benchmarks.routing import made_transitions
from tests.solvers.experts.published import exflow_placement, mixtral_transitions

LARGE = ((94, 128, 16, 3.0), (58, 256, 32, 20.0))


def in_a_row(gpus: int) -> NDArray[np.intp]:
    return np.tile(np.arange(8) // (8 // gpus), (32, 1))


def mixtral() -> None:
    counts = mixtral_transitions("pooled")
    print(f"{'Mixtral-8x7B, pooled counts':34} {'in a row':>9} {'ExFlow':>8} {'ours':>8} {'bound':>8} {'seconds':>8}")
    for gpus in (4, 8):
        found = place_along_layers(transitions_problem(counts, gpus=gpus))
        shares = [leaving_share(counts, placed) for placed in (in_a_row(gpus), exflow_placement(gpus))]
        total = counts.sum()
        print(
            f"{gpus} GPUs, {found.status:26} {shares[0]:>9.4f} {shares[1]:>8.4f} {found.value / total:>8.4f} "
            f"{found.lower_bound / total:>8.4f} {found.seconds:>8.3f}"
        )


def low_rank(counts: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """Independence plus the largest ``rank`` parts of what differs from it, none negative."""
    independent = toward_independence(counts, 1.0)
    left, size, right = np.linalg.svd(counts - independent)
    smooth = (left[:, :, :rank] * size[:, None, :rank]) @ right[:, :rank]
    return np.maximum(independent + smooth, 0.0)


def resampled(counts: NDArray[np.float64], gpus: int) -> NDArray[np.float64]:
    """Counts times how often two experts share a GPU in the best placements of 30 resamples (seed 0)."""
    random = np.random.default_rng(0)
    together = np.zeros_like(counts)
    for _ in range(30):
        choice = place_along_layers(transitions_problem(random.poisson(counts / 4) * 4.0, gpus=gpus)).choice
        assert choice is not None
        placed = choice.gpu_of_expert
        together += placed[:-1, :, None] == placed[1:, None, :]
    return counts * together


def unseen() -> None:
    sets = {name: mixtral_transitions(name) for name in ("gsm8k", "humaneval")}
    print("\nfewer tokens leave than with experts in a row, %: on the data fitted to -> on the other")
    columns = [(gpus, *pair) for gpus in (4, 8) for pair in (("gsm8k", "humaneval"), ("humaneval", "gsm8k"))]
    print(
        f"{'fitted to':28}" + "".join(f"{f'{a}, {gpus} GPUs':>22}" for gpus, a, _ in columns) + f"{'mean unseen':>13}"
    )
    kinds: dict[str, Any] = {
        "counts": lambda counts, gpus: counts,
        **{
            f"{a:.0%} independence": (lambda counts, gpus, a=a: toward_independence(counts, a))
            for a in (0.25, 0.5, 0.75, 0.9)
        },
        **{f"rank {r}": (lambda counts, gpus, r=r: low_rank(counts, r)) for r in (1, 2, 3)},
        "square roots": lambda counts, gpus: np.sqrt(counts),
        "agreement of resamples": resampled,
    }
    for name, prepare in kinds.items():
        line, gains = "", []
        for gpus, fitted, other in columns:
            choice = place_along_layers(transitions_problem(prepare(sets[fitted], gpus), gpus=gpus)).choice
            assert choice is not None
            gain = [
                100 - 100 * leaving_share(sets[k], choice.gpu_of_expert) / leaving_share(sets[k], in_a_row(gpus))
                for k in (fitted, other)
            ]
            gains.append(gain[1])
            line += f"{f'{gain[0]:.2f} -> {gain[1]:.2f}':>22}"
        print(f"{name:28}{line}{np.mean(gains):>13.2f}")
    for gpus in (4, 8):
        problems = [transitions_problem(counts, gpus=gpus) for counts in sets.values()]
        worst = place_for_the_worst(problems, stop=MaxEvaluations(20))
        pooled = place_along_layers(transitions_problem(mixtral_transitions("pooled"), gpus=gpus)).choice
        assert pooled is not None
        shares = [leaving_share(counts, pooled.gpu_of_expert) for counts in sets.values()]
        print(
            f"both seen, {gpus} GPUs: worst share {worst.value:.4f} (bound {worst.lower_bound:.4f}), "
            f"fitted to the pooled counts {max(shares):.4f}"
        )


def large() -> None:
    print(
        f"\n{'made-up routing, seed 1':44} {'value':>8} {'bound':>8} {'gap':>7} {'random':>8} {'seconds':>8}  bound by"
    )
    for layers, experts, gpus, seconds in LARGE:
        counts = made_transitions(layers, experts, seed=1)
        far = two_level_cost(gpus, 8, same_node=1.0, other_node=5.0)
        for name, options in (
            ("share leaving", {}),
            ("share leaving, load <= 1.1 mean", {"max_over_mean": 1.1}),
            ("two levels, 1 and 5", {"cost": far}),
            ("tail", {"objective": "tail"}),
        ):
            problem = transitions_problem(counts, gpus=gpus, **options)  # type: ignore[arg-type]
            found = place_along_layers(problem, stop=MaxSeconds(seconds))
            some = np.random.default_rng(0).permuted(np.tile(np.arange(experts) % gpus, (layers, 1)), axis=1)
            total = counts.sum()
            title = f"{experts} experts x {layers}, {gpus} GPUs: {name}"
            print(
                f"{title:44} {found.value / total:>8.4f} {found.lower_bound / total:>8.4f} {found.gap:>7.2%} "
                f"{problem.value(some) / total:>8.4f} {found.seconds:>8.2f}  "
                f"{found.choice.bound if found.choice else '-'}"
            )


def main() -> None:
    chosen = sys.argv[1:] or ["mixtral", "unseen", "large"]
    parts = {"mixtral": mixtral, "unseen": unseen, "large": large}
    for name in chosen:
        if name not in parts:
            raise SystemExit(f"{name}: give any of {', '.join(parts)}")
        parts[name]()


if __name__ == "__main__":
    main()
