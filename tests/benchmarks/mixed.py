"""Plans on unlike node groups: how long the search takes, what it proves, and what it gains.

``python -m tests.benchmarks.mixed`` prints a table. Every step is of the cost model: nothing here was measured.

- ``holmes``: two islands of 4 x 8 A100 (InfiniBand, RoCE), 25 Gb/s Ethernet a node between, in the manner of Holmes
  (arXiv 2312.03549); GPT models of its sizes by the shapes of Megatron-LM (arXiv 2104.04473, table 1)
- ``types``: A100 beside H100 nodes on one fabric, as many of each and not
- ``large``: 64 nodes in 4 islands of 3 GPU types, 100 Gb/s Ethernet a node between
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from costmodels.architecture import Model
from costmodels.configuration import Job
from costmodels.hardware import Link
from planner.mixed.islands import Islands, Trunk
from planner.mixed.of_spec import islands_of
from planner.mixed.solve import solve_mixed
from planner.solve import SolveOptions
from planner.specs import load_cluster, load_model
from planner.specs.machines import load_machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    islands: Islands
    model: Model
    job: Job


def gpt(name: str, hidden: int, heads: int, layers: int) -> Model:
    """A GPT of those sizes: vocabulary 51,200, four times as wide inside."""
    return load_model(
        {
            "name": name,
            "hidden": hidden,
            "vocabulary": 51200,
            "tied_embeddings": True,
            "positions": 2048,
            "norm": "layernorm",
            "attention": {
                "heads": heads,
                "kv_heads": heads,
                "head_dim": hidden // heads,
                "qkv_bias": True,
                "out_bias": True,
            },
            "kinds": {"dense": {"mlp": {"ffn": 4 * hidden, "gated": False, "bias": True}}},
            "layers": [{"kinds": ["dense"], "repeat": layers}],
        }
    )


def two_islands() -> Islands:
    found = islands_of(load_machines("two-islands-a100-64"))
    assert found is not None
    return found


def a100_h100(old: int, new: int) -> Islands:
    """``old`` A100 and ``new`` H100 nodes; the A100s' 200 Gb/s cards limit what goes across."""
    a100 = replace(load_cluster("dgx-a100-80gb-8"), name="a100", nodes=old)
    h100 = replace(load_cluster("dgx-h100-8"), name="h100", nodes=new)
    return Islands.joined((a100, h100), Trunk(link=a100.scale_out))


def four_islands() -> Islands:
    """24 + 16 + 16 + 8 nodes of A100 80 GB, A100 40 GB, H100, A100 80 GB."""
    a100 = load_cluster("dgx-a100-80gb-8")
    groups = (
        replace(a100, name="a100-80", nodes=24),
        replace(load_cluster("dgx-a100-40gb-8"), name="a100-40", nodes=16),
        replace(load_cluster("dgx-h100-8"), name="h100", nodes=16),
        replace(a100, name="a100-roce", nodes=8, scale_out=replace(a100.scale_out, latency_seconds=8e-6)),
    )
    ethernet = Link(bytes_per_second=100e9 / 8 / 8, latency_seconds=2e-5)  # 100 Gb/s, an eighth for each GPU
    return Islands.joined(groups, Trunk(link=ethernet))


def cases() -> Iterator[Case]:
    for name, hidden, heads, layers, batch in (
        ("3.6B", 3072, 32, 30, 768),
        ("7.5B", 4096, 32, 36, 1536),
        ("39.1B", 8192, 64, 48, 1536),
    ):
        job = Job(global_batch=batch, sequence_length=2048)
        yield Case(name=f"holmes {name}", islands=two_islands(), model=gpt(name, hidden, heads, layers), job=job)
    job = Job(global_batch=256, sequence_length=4096)
    for old, new in ((4, 4), (3, 5), (6, 2)):
        name = f"types {old} + {new}"
        yield Case(name=name, islands=a100_h100(old, new), model=load_model("llama-2-70b"), job=job)
    yield Case(
        name="large", islands=four_islands(), model=load_model("llama-3-70b"), job=replace(job, global_batch=1024)
    )


def report(case: Case, limit: float | None) -> str:
    started = time.monotonic()
    outcome = solve_mixed(case.islands, case.model, case.job, options=SolveOptions(time_limit_seconds=limit))
    own, spent = outcome.seconds, time.monotonic() - started
    if outcome.plan is None or outcome.standing is None:
        return f"{case.name}: {outcome.status} after {own:.1f} s"
    standing, proof = outcome.standing, outcome.plan.certificate
    lanes = " | ".join(
        f"{lane.pipelines} x ({' -> '.join(f'{n} on {case.islands.groups[g].name}' for g, n in lane.chain)})"
        f" m={lane.microbatches}"
        for lane in standing.lanes
    )
    c = standing.configuration
    cuts = [b - a for a, b in zip(standing.boundaries, standing.boundaries[1:], strict=False)]
    beside = ", ".join(
        f"{one.name} {one.seconds:.3f} s ({one.seconds / standing.seconds:.2f}x)" if one.seconds else one.why
        for one in outcome.baselines
    )
    return (
        f"{case.name}: step {standing.seconds:.3f} s, {proof.status}, gap {proof.gap:.2%}, {own:.1f} s"
        f" ({spent:.1f} s with what is beside), {proof.searched.candidates} families, {outcome.bounded} chains bounded,"
        f" {outcome.members} priced\n  tp={c.tp} cp={c.cp} pp={c.pp} dp={c.dp} mbs={c.mbs} zero={c.zero}"
        f" recompute={c.recompute}; {lanes}; items {cuts}\n  {beside}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="cases whose name begins so")
    parser.add_argument("--time-limit", type=float, default=None)
    arguments = parser.parse_args()
    for case in cases():
        if case.name.startswith(arguments.only):
            print(report(case, arguments.time_limit), flush=True)


if __name__ == "__main__":
    main()
