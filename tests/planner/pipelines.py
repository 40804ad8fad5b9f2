"""Small pipelines that several tests share."""

from typing import Any

from hypothesis import strategies as st

from planner.pipeline import load_pipeline
from solvers.schedule.problem import ScheduleProblem

TEN = {"forward_seconds": 10, "input_grad_seconds": 10, "weight_grad_seconds": 10}


def pipeline(devices: int = 4, microbatches: int = 8, **keys: Any) -> ScheduleProblem:
    """F = I = W = 10 unless ``keys`` of the problem file say otherwise."""
    return load_pipeline({"devices": devices, "microbatches": microbatches, **TEN, **keys}).problem


@st.composite
def pipelines(draw: st.DrawFn) -> ScheduleProblem:
    """Unlike stages, links, shares and passes, on placements that some named schedule has."""
    devices = draw(st.integers(1, 4))
    rounds = draw(st.integers(1, 3))
    placement = draw(st.sampled_from(["linear", "v", {"interleaved": {"chunks": 2}}]))
    chunks = devices if placement == "linear" else 2 * devices

    def figures(count: int, least: int = 0) -> list[float]:
        return draw(st.lists(st.integers(least, 9).map(lambda n: n / 3), min_size=count, max_size=count))

    forward = figures(chunks)
    keys: dict[str, Any] = {
        "placement": placement,
        "forward_seconds": figures(chunks, 1),
        "input_grad_seconds": figures(chunks, 1),
        "weight_grad_seconds": figures(chunks),
        "p2p_seconds": figures(chunks - 1),
        "activation": {
            "forward": forward,
            "released_by_input_grad": [draw(st.sampled_from([-0.5, 0.0, 0.5, 1.0])) * part for part in forward],
        },
        "split_backward": draw(st.booleans()),
        "objective": draw(st.sampled_from(["makespan", "span"])),
    }
    if placement == "linear" and devices > 1 and draw(st.booleans()):
        keys["vocabulary"] = {
            "passes": draw(st.sampled_from(["vocab-1", "vocab-2"])),
            "s_seconds": figures(devices),
            "t_seconds": figures(devices),
            "input_forward_seconds": figures(devices),
            "input_backward_seconds": figures(devices),
            "barrier_seconds": draw(st.integers(0, 3)) / 3,
            "broadcast_seconds": draw(st.integers(0, 3)) / 3,
            "kept": figures(devices),
        }
    return pipeline(devices, rounds * devices, **keys)
