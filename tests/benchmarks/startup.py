"""What starting costs, and the size of the largest plan: ``python -m tests.benchmarks.startup``.

Wall times are the fastest of five. Nothing is asserted.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

LARGEST = ("dgx-h100-2048", "llama-3.1-405b", 2048, 8192)
PLAN = "from planner.cli.main import main; main()"


def seconds(*arguments: str) -> float:
    """Of ``python -c ARGUMENTS``, start included."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    from planner import load_cluster, load_model, make_job, solve

    cluster, model, batch, length = LARGEST
    job = make_job(global_batch=batch, sequence_length=length)
    plan = solve(load_cluster(cluster), load_model(model), job).plan
    assert plan is not None
    empty = seconds("pass")
    print(f"python -c pass                  {empty * 1e3:6.0f} ms")
    print(f"plan --help                    +{(seconds(PLAN, '--help') - empty) * 1e3:6.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plan.json")
        plan.save(file)
        print(f"plan validate of 16,384 GPUs    {seconds(PLAN, 'validate', str(file)) * 1e3:6.0f} ms")
        print(f"that plan                       {file.stat().st_size / 1e3:6.1f} kB")


if __name__ == "__main__":
    main()
