"""The bundled instances as problems."""

import json
from typing import Any

from cases import case_path
from solvers.skip.problem import FORCED_ENDS, SKIPPIPE, Path, Rules, SkipProblem, SwapRules

CHAINS = ("chain_8", "chain_12", "chain_20")


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(case_path("skip", f"{name}.json").read_text())
    return document


def twenty_nodes(*, fixed: bool = True, rules: Rules = SKIPPIPE) -> SkipProblem:
    """SkipPipe's own configuration; ``fixed`` keeps its arrangement."""
    data = read("instance_20_nodes")
    stage_of_node = [0] * len(data["nodes"])
    for stage, group in enumerate(data["partitions_shipped"]):
        for node in group:
            stage_of_node[node] = stage
    forward, swaps = data["fwd_time_s"], data["swap_rules"]
    assert rules.swaps == SwapRules(
        count=swaps["count_swaps_max"],
        furthest=swaps["furthest_swap_max"],
        total_distance=swaps["sum_swap_distance_max"],
        forward_jump=swaps["max_forward_jump_from_frontier"],
    )
    starts = data["micro_batches_per_stage0_node_per_wave"] * data["group_sizes"][0]
    return SkipProblem(
        forward_seconds=tuple(forward),
        backward_seconds=tuple(data["bwd_over_fwd"] * f for f in forward),
        loss_seconds=tuple(data["loss_over_fwd"] * f for f in forward),
        link_seconds=tuple(map(tuple, data["link_time_s"])),
        memory_cap=(data["memory_per_node"],) * len(forward),
        group_sizes=tuple(data["group_sizes"]),
        microbatches=starts * data["waves"],
        path_length=data["path_length_incl_stage0"],
        waves=data["waves"],
        stage_of_node=tuple(stage_of_node) if fixed else None,
        rules=rules,
    )


def published_paths(key: str) -> tuple[Path, ...]:
    """``ca-paths``, ``non-ca-paths`` or ``random-paths`` of the published schedule, for both waves."""
    paths = []
    for following in read("instance_20_nodes")["published_schedule"][key].values():
        after = {int(a): b for a, b in following.items()}
        path = [next(a for a in after if a not in after.values())]
        while path[-1] in after:
            path.append(after[path[-1]])
        paths.append(tuple(path))
    return tuple(paths) * 2


def chain(name: str, microbatches: int, path_length: int) -> SkipProblem:
    data = read(name)
    stages = len(data["nodes"])
    return SkipProblem(
        forward_seconds=tuple(data["fwd_time_s"]),
        backward_seconds=tuple(data["bwd_time_s"]),
        link_seconds=tuple(map(tuple, data["link_time_s"])),
        memory_cap=(data["memory_per_node"],) * stages,
        group_sizes=tuple(data["group_sizes"]),
        microbatches=microbatches,
        path_length=path_length,
        stage_of_node=tuple(range(stages)),
        rules=FORCED_ENDS,
    )
