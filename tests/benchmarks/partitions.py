"""What the cut of the layers is worth: ``python -m tests.benchmarks.partitions [case ...]``.

Each case is one configuration; its cut against those of frameworks and simple rules in the same cost model
(``planner.baselines``), with what is proven of it; then, of vocabularies split over the stages, even against uneven
shares. Nothing is asserted; the last lines count how often the best of all small whole solves is found
(``tests/planner/test_whole_solve.py``).
"""

import sys
import time
from dataclasses import replace

import numpy as np

from costmodels.architecture import Attention, LayerKind, Mlp, Model
from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Vocabulary
from costmodels.step_price import price_cut
from planner.baselines import Baseline, baselines
from planner.pricing import Pricing
from planner.specs import load_cluster, load_model, make_job


def gemma_like(*, tied: bool) -> Model:
    """Gemma 2 9B's published sizes (arXiv 2408.00118, table 1), its norms and window left out."""
    attention = Attention(kind="gqa", heads=16, kv_heads=8, head_dim=256, value_dim=256)
    layer = LayerKind(name="dense", attention=attention, block=Mlp(ffn=14336, gated=True), norm_parameters=2 * 3584)
    return Model(
        name=f"Gemma-like, 256k vocabulary, {'tied' if tied else 'untied'}",
        hidden=3584,
        vocabulary=256_000,
        kinds=(layer,),
        layers=(0,) * 42,
        tied_embeddings=tied,
    )


EIGHT = Configuration(pp=8, dp=8, mbs=1)
CASES = {
    "deepseek-v3 pp16": (
        "dgx-h100-256",
        "deepseek-v3",
        8192,
        4096,
        Configuration(tp=1, pp=16, dp=128, ep=64, mbs=1, recompute="full:fit"),
    ),
    "llama-3.1-405b pp16 vp7": (
        "dgx-h100-256",
        "llama-3.1-405b",
        2048,
        8192,
        Configuration(tp=8, sp=1, pp=16, vp=7, dp=16, mbs=1, recompute="full:fit"),
    ),
    "llama-3.1-405b pp16": (
        "dgx-h100-256",
        "llama-3.1-405b",
        2048,
        8192,
        Configuration(tp=8, sp=1, pp=16, dp=16, mbs=1, recompute="full:fit"),
    ),
    "gemma untied pp8, m 32": ("dgx-h100-8", gemma_like(tied=False), 256, 4096, EIGHT),
    "gemma untied pp8, m 8": ("dgx-h100-8", gemma_like(tied=False), 64, 4096, EIGHT),
    "gemma tied pp8, m 32": ("dgx-h100-8", gemma_like(tied=True), 256, 4096, EIGHT),
    "gemma tied pp8, m 8": ("dgx-h100-8", gemma_like(tied=True), 64, 4096, EIGHT),
}

VOCABULARY = 256_000
SHARED = {
    "30 layers pp8": ("dgx-h100-8", "llama-3-8b", 30, 256, 4096, EIGHT),
    "61 layers pp16": ("dgx-h100-8", "llama-3-8b", 61, 256, 4096, Configuration(pp=16, dp=4, mbs=1)),
    "126 layers pp16": (
        "dgx-h100-256",
        "llama-3.1-405b",
        126,
        2048,
        8192,
        Configuration(tp=8, sp=1, pp=16, dp=16, mbs=1, recompute="full"),
    ),
}


def shares(name: str, method: Vocabulary) -> None:
    """Of a vocabulary split over the stages: the rule's cut with even shares against the cut and shares chosen."""
    machine, described, layers, batch, length, configuration = SHARED[name]
    described_model = load_model(described)
    model = replace(described_model, layers=described_model.layers[:1] * layers, vocabulary=VOCABULARY)
    job, cluster = make_job(global_batch=batch, sequence_length=length), load_cluster(machine)
    columns = Columns.of([replace(configuration, vocabulary=method)])
    pricing = Pricing(cluster, model, job, load_calibration(cluster.gpu), columns)
    even = price_cut(pricing.step, 0, pricing.balanced_boundaries(0)).step_seconds
    started = time.perf_counter()
    price, rows = pricing.price(0), pricing.rows(0)
    held = "even shares" if rows is None else f"rows {_runs([str(own) for own in rows])}"
    print(
        f"{name}, {method}, {VOCABULARY} rows: even {even:.4f} s, chosen {price.step_seconds:.4f} s "
        f"({_more(even, price.step_seconds)}), items {_counts(pricing.boundaries(0))}, {held}, "
        f"{time.perf_counter() - started:.2f} s",
        flush=True,
    )


def run(name: str) -> None:
    machine, described, batch, length, configuration = CASES[name]
    cluster = load_cluster(machine)
    model = load_model(described) if isinstance(described, str) else described
    job = make_job(global_batch=batch, sequence_length=length)
    pricing = Pricing(cluster, model, job, load_calibration(cluster.gpu), Columns.of([configuration]))
    pricing.coarse_bounds()
    started = time.perf_counter()
    if pricing.cut(0).boundaries is None:
        print(f"{name}: no cut fits, {pricing.cut(0).shortfall_bytes / 1e9:.1f} GB short\n")
        return
    pricing.improve(0)
    seconds = time.perf_counter() - started
    price = pricing.price(0)
    bound = min(price.step_seconds, pricing.cut_bound(0))
    gap = 100 * (1 - bound / price.step_seconds)
    print(
        f"{name}: pipeline {price.pipeline_seconds:.4f} s, step {price.step_seconds:.4f} s, "
        f"no cut below {bound:.4f} s, gap {gap:.2f} %, {pricing.cut(0).priced} cuts priced, {seconds:.2f} s"
    )
    print(f"  items {_counts(pricing.boundaries(0))}; recompute {_runs([s.recompute for s in price.stages])}")
    found = baselines(pricing.step, 0)
    for baseline in found:
        if baseline.boundaries is not None:
            print(_line(baseline, price.step_seconds))
        else:
            print(f"  {baseline.rule:10} {baseline.detail}")
    plain = Pricing(
        cluster, model, job, load_calibration(cluster.gpu), Columns.of([replace(configuration, recompute="full")])
    )
    plain.coarse_bounds()
    if configuration.recompute != "none" and plain.cut(0).boundaries is not None:
        full = price_cut(plain.step, 0, plain.boundaries(0)).step_seconds
        print(f"  every layer recomputed, its own cut: step {full:.4f} s, {_more(full, price.step_seconds)}")
    print(flush=True)


def _line(baseline: Baseline, ours: float) -> str:
    assert baseline.boundaries is not None
    return (
        f"  {baseline.rule:10} pipeline {baseline.pipeline_seconds:.4f} s, step {baseline.step_seconds:.4f} s, "
        f"{_more(baseline.step_seconds, ours)}{'' if baseline.fits else ', does not fit'}"
        f"{f' ({baseline.detail})' if baseline.detail else ''}"
    )


def _more(seconds: float, ours: float) -> str:
    return f"{100 * (seconds / ours - 1):+.2f} % on ours"


def _counts(boundaries: tuple[int, ...]) -> str:
    return _runs([str(count) for count in np.diff(boundaries)])


def _runs(values: list[str]) -> str:
    found: list[list[str]] = []
    for value in values:
        if found and found[-1][0] == value:
            found[-1].append(value)
        else:
            found.append([value])
    return " ".join(f"{len(run)}x{run[0]}" if len(run) > 1 else run[0] for run in found)


def count_optima() -> None:
    """How many of the small whole solves find the best of all configurations and splits."""
    from costmodels import step
    from tests.planner.test_whole_solve import INSTANCES, both, on_the_grid, problem

    kept, step.item_costs = step.item_costs, on_the_grid
    try:
        pairs = [both(*problem(*instance)) for instance in INSTANCES]
    finally:
        step.item_costs = kept
    excess = [value / optimum - 1 for optimum, value in pairs]
    best = sum(abs(some) < 1e-9 for some in excess)
    print(f"best of all splits: {best} of {len(pairs)} small whole solves, worst {100 * max(excess):.1f} %")


def main() -> None:
    for name in sys.argv[1:] or CASES:
        if name in CASES:
            run(name)
    for name in [name for name in sys.argv[1:] if name in SHARED] or ([] if sys.argv[1:] else SHARED):
        for method in ("vocab-1", "vocab-2"):
            shares(name, method)
    if not sys.argv[1:]:
        count_optima()


if __name__ == "__main__":
    main()
