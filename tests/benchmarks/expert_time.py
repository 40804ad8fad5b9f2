"""Seconds gained by placing experts for time, beside contiguous experts and both policies of EPLB.

    python -m tests.benchmarks.expert_time [--tokens 4096]

DeepSeek-V3 on H100 nodes, loads like those of DeepSeek-R1 (``cases/experts/deepseek-r1-gpqa-like.json``), with and
without copies merged. All seconds are modelled.
"""

import argparse

import cases
from planner.expert_problem import load_experts
from planner.experts import plan_experts

SHAPES = ((32, 8), (32, 9), (64, 4), (64, 5))
"""GPUs of nodes of eight, and slots on each."""
DISPATCHES = ("all-to-all", "deduplicated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=4096, help="tokens per GPU in a forward pass")
    tokens = parser.parse_args().tokens
    header = (
        "GPUs",
        "slots",
        "dispatch",
        "ms",
        "bound",
        "contiguous",
        "eplb",
        "eplb on nodes",
        "gain",
        "over eplb",
        "s",
    )
    print("  ".join(f"{name:>13}" for name in header))
    for gpus, slots in SHAPES:
        for dispatch in DISPATCHES:
            print("  ".join(f"{cell:>13}" for cell in row(gpus, slots, dispatch, tokens)), flush=True)


def row(gpus: int, slots: int, dispatch: str, tokens: int) -> list[str]:
    found = plan_experts(
        load_experts(
            {
                "loads": str(cases.case_path("experts", "deepseek-r1-gpqa-like.json")),
                "model": "deepseek-v3",
                "cluster": "dgx-h100-8",
                "gpus": gpus,
                "slots_per_gpu": slots,
                "objective": "time",
                "tokens_per_gpu": tokens,
                "dispatch": dispatch,
                "routing": {"groups": 8, "limit": 4},
            }
        )
    )
    assert found.value is not None
    assert found.lower_bound is not None
    beside = {one.name: one.value for one in found.baselines}
    plain, balanced = beside["contiguous"], beside["eplb"]
    assert plain is not None
    assert balanced is not None
    nodes = beside.get("eplb on nodes")
    return [
        str(gpus),
        str(slots),
        dispatch,
        f"{found.value * 1e3:.1f}",
        f"{found.lower_bound * 1e3:.1f}",
        f"{plain * 1e3:.1f}",
        f"{balanced * 1e3:.1f}",
        "-" if nodes is None else f"{nodes * 1e3:.1f}",
        f"{1 - found.value / plain:.1%}",
        f"{1 - found.value / balanced:.1%}",
        f"{found.seconds:.0f}",
    ]


if __name__ == "__main__":
    main()
