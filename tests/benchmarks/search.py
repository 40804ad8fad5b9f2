"""Sizes, times, memory and gaps of the search: ``python -m tests.benchmarks.search [case ...]``.

Each case is solved in a process of its own, so that its peak memory is its own. Nothing is asserted.
"""

import subprocess
import sys
import time

CASES = {
    "llama-3-8b on 8 H100": ("dgx-h100-1", "llama-3-8b", 128, 8192),
    "llama-3-70b on 64 H100": ("dgx-h100-8", "llama-3-70b", 128, 8192),
    "mixtral-8x7b on 64 A100": ("dgx-a100-80gb-8", "mixtral-8x7b", 256, 4096),
    "llama-3.1-405b on 2,048 H100": ("dgx-h100-256", "llama-3.1-405b", 2048, 8192),
    "llama-3.1-405b on 16,384 H100": ("dgx-h100-2048", "llama-3.1-405b", 2048, 8192),
    "deepseek-v3 on 2,048 H100": ("dgx-h100-256", "deepseek-v3", 15360, 4096),
}

HEADER = (
    f"{'case':32} {'candidates':>11} {'refined':>8} {'priced':>7} {'seconds':>8} {'MB':>6} {'step s':>9} {'gap':>8}"
)


def run(name: str) -> None:
    import resource

    started = time.perf_counter()
    from planner.solve import SolveOptions, solve
    from planner.specs import load_cluster, load_model, make_job

    cluster, model, batch, length = CASES[name]
    job = make_job(global_batch=batch, sequence_length=length)
    outcome = solve(load_cluster(cluster), load_model(model), job, options=SolveOptions(top_k=5))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if outcome.plan is None:
        print(f"{name:32} {outcome.status}")
        return
    certificate = outcome.plan.certificate
    searched = certificate.searched
    print(
        f"{name:32} {searched.candidates:>11,} {searched.refined:>8,} {searched.evaluated:>7,} "
        f"{seconds:>8.2f} {peak:>6.0f} {certificate.value:>9.4f} {certificate.gap:>8.1e}"
    )


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--one":
        run(sys.argv[2])
        return
    print(HEADER, flush=True)
    for name in sys.argv[1:] or CASES:
        subprocess.run([sys.executable, "-m", "tests.benchmarks.search", "--one", name], check=True)


if __name__ == "__main__":
    main()
