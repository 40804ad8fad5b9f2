"""What parallel folding is worth: ``python -m tests.benchmarks.folding [case ...] [--published]``.

Each case is searched twice on H100 nodes, with all foldings of the experts over a stage's ranks and with none
(``--forbid folding``), two sequences of 4,096 tokens a GPU as in arXiv 2504.14960 sec. 6.4 on 128 GPUs. Searched so,
the degrees of both differ; the paper's runs, of which the bundled ones follow (``--published``: they alone), are
predicted in their own, with what was not printed chosen for them: chunks a stage, micro-batches, recompute. They route
with a capacity factor of 1, as the model's even load does; their MFU is of 989.5 TFLOP/s. Nothing is asserted.

The paper's rows without folding at long sequences have more expert ranks than replicas (ep = 4, dp = 2): their expert
groups took in context ranks, which ``--forbid folding`` does not.
"""

import sys
import time

from planner.cli.summary import configuration_line
from planner.published import best_choice
from planner.published.bundled import bundled_rows
from planner.solve import SolveOptions, solve
from planner.specs import load_cluster, load_model, make_job

CASES = {
    f"{model} on {gpus:,} H100": (model, gpus)
    for model in ("mixtral-8x22b", "qwen2-57b-a14b")
    for gpus in (128, 256, 512, 1024)
}
SEQUENCES_PER_GPU, TOKENS = 2, 4096
ABSTRACT = (
    "arXiv 2504.14960, abstract: with folding 49.3% MFU for Mixtral 8x22B and 39.0% for Qwen2-57B-A14B, their best "
    "on H100, at 256 sequences of 4,096 tokens"
)
MFU_PERCENT = {
    "mpf-0082": 45.3,
    "mpf-0083": 43.2,
    "mpf-0084": 42.6,
    "mpf-0085": 38.2,
    "mpf-0086": 47.6,
    "mpf-0087": 45.1,
    "mpf-0088": 44.5,
    "mpf-0089": 42.9,
}
"""Model FLOP/s utilisation that arXiv 2504.14960, Table 5, prints for the bundled rows."""

SEARCHED = f"{'case':28} {'experts':9} {'step s':>8} {'MFU':>6} {'gap':>8} {'seconds':>8} {'priced':>7}  configuration"
PREDICTED = f"{'row':9} {'GPUs':>5} {'tokens':>7} {'experts':9} {'modelled':>9} {'published':>10}  configuration"


def search(name: str) -> None:
    model, gpus = CASES[name]
    cluster = load_cluster("dgx-h100-16").resized(gpus // 8)
    job = make_job(global_batch=SEQUENCES_PER_GPU * gpus, sequence_length=TOKENS)
    steps = []
    for kind, forbid in (("folded", frozenset[str]()), ("unfolded", frozenset({"folding"}))):
        started = time.perf_counter()
        outcome = solve(cluster, load_model(model), job, options=SolveOptions(forbid=forbid))
        seconds = time.perf_counter() - started
        if outcome.plan is None:
            print(f"{name:28} {kind:9} {outcome.status}")
            continue
        proof, found = outcome.plan.certificate, outcome.plan.prediction
        steps.append(proof.value)
        print(
            f"{name:28} {kind:9} {proof.value:>8.4f} {found.mfu:>6.1%} {proof.gap:>8.1e} {seconds:>8.1f} "
            f"{proof.searched.evaluated:>7}  {configuration_line(outcome.plan.parallelism)}",
            flush=True,
        )
    if len(steps) == 2:
        print(f"{'':28} folding saves {1 - steps[0] / steps[1]:.1%} of the step", flush=True)


def published() -> None:
    print(f"\n{ABSTRACT}\n\n{PREDICTED}")
    for row in bundled_rows(["mpf"]):
        assert row.request is not None
        found, gpus = best_choice(row.request), row.request.cluster.gpus
        chosen = found.configuration
        kind = "unfolded" if chosen.etp == chosen.tp else "folded"  # as the paper has it: see above
        shown = " ".join(
            f"{name}={getattr(chosen, name)}" for name in ("tp", "cp", "pp", "vp", "dp", "ep", "etp", "mbs")
        )
        print(
            f"{row.row_id:9} {gpus:>5,} {row.request.job.sequence_length:>7,} {kind:9} {found.mfu:>9.1%} "
            f"{MFU_PERCENT[row.row_id] / 100:>10.1%}  {shown} recompute={chosen.recompute}",
            flush=True,
        )


def main() -> None:
    alone = "--published" in sys.argv
    if not alone:
        print(SEARCHED, flush=True)
        for name in sys.argv[1:] or CASES:
            search(name)
    published()


if __name__ == "__main__":
    main()
