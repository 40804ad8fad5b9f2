"""Hosts placed with the configuration, and planned without: ``python -m tests.benchmarks.hosts [small|large]``.

``small``: Llama 3 70B on sixteen measured DGX H100, their links drawn about 330 GB/s with three slow pairs. ``large``:
Llama 3.1 405B on 1,024 nodes, leaves of 32 behind a spine of a quarter of their bandwidth, 51 slow links and 10 nodes
with half their cards. Beside each: the same plan with the hosts as listed, and the plan made as though every link were
as slow as the slowest that two nodes can count on. Nothing is asserted.
"""

import random
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from costmodels.configuration import Job
from costmodels.hardware import Cluster
from planner.solve import SolveOptions, solve
from planner.specs import load_cluster, load_model
from planner.validate import validate

NODES = "gpu: h100-sxm-80gb, gpus_per_node: 8, intra_node: nvlink4-nvswitch"
CARDS = "nics: {count: 8, bandwidth: 400 Gb/s, kind: infiniband}"


def sixteen_measured(folder: Path) -> Cluster:
    draw = random.Random(1)
    table = [[0.0] * 16 for _ in range(16)]
    for i in range(16):
        for j in range(i):
            table[i][j] = table[j][i] = round(draw.gauss(330, 30), 1)
    for a, b in ((0, 5), (3, 9), (12, 13)):
        table[a][b] = table[b][a] = 70.0
    (folder / "table.csv").write_text("\n".join(",".join(map(str, row)) for row in table))
    spec = folder / "cluster.yaml"
    spec.write_text(
        f'name: sixteen measured nodes\nnode_groups:\n  - {{count: 16, {NODES}, {CARDS}, names: "gpu[01-16]"}}\n'
        "measured: {bandwidth_csv: table.csv}\n"
    )
    return load_cluster(spec)


def leaf_and_spine(folder: Path) -> Cluster:
    draw = random.Random(3)
    lines = [f'  - {{count: 1024, {NODES}, {CARDS}, names: "n[0001-1024]"}}', "topology:", "  switches:"]
    lines += [f'    - {{name: leaf{i:02d}, nodes: "n[{32 * i + 1:04d}-{32 * i + 32:04d}]"}}' for i in range(32)]
    lines += ['    - {name: spine, switches: "leaf[00-31]", oversubscription: 4}', "degraded:"]
    for _ in range(51):
        a, b = draw.sample(range(1, 1025), 2)
        lines.append(f"  - {{nodes: [n{a:04d}, n{b:04d}], bandwidth: 40 GB/s}}")
    lines += [f"  - {{node: n{k:04d}, bandwidth: 200 GB/s}}" for k in draw.sample(range(1, 1025), 10)]
    spec = folder / "cluster.yaml"
    spec.write_text("\n".join(["name: leaf and spine", "node_groups:", *lines]))
    return load_cluster(spec)


CASES = {
    "small": (sixteen_measured, "llama-3-70b", Job(global_batch=256, sequence_length=8192)),
    "large": (leaf_and_spine, "llama-3.1-405b", Job(global_batch=2048, sequence_length=8192)),
}


def main() -> None:
    for name in sys.argv[1:] or list(CASES):
        make, model_name, job = CASES[name]
        with TemporaryDirectory() as folder:
            cluster = make(Path(folder))
        model, began, used = load_model(model_name), time.perf_counter(), time.process_time()
        found = solve(cluster, model, job, options=SolveOptions(time_limit_seconds=120)).plan
        seconds, computing = time.perf_counter() - began, time.process_time() - used
        assert found is not None
        step, listed = found.prediction.step_seconds, found.ground and found.ground.listed_seconds
        print(
            f"{name}: {model.name} on {cluster.gpus:,} GPUs: {step:.4g} s, nothing below "
            f"{found.certificate.lower_bound:.4g} s, gap {found.certificate.gap:.2%}; {seconds:.1f} s, of these "
            f"{computing:.1f} s computing; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB; "
            f"{len(validate(found, cluster))} findings"
        )
        print(f"  hosts as listed: {listed or step:.4g} s, {(listed or step) / step - 1:+.2%}")
        slowest = solve(replace(cluster, topology=None), model, job, options=SolveOptions(time_limit_seconds=120)).plan
        assert slowest is not None
        other = slowest.prediction.step_seconds
        print(f"  planned as though every link were the slowest: {other:.4g} s, {other / step - 1:+.2%}", flush=True)


if __name__ == "__main__":
    main()
