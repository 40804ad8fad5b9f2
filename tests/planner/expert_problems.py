"""Small problems of expert placement, as mappings that ``load_experts`` takes."""

from typing import Any

import cases

MIXTRAL = str(cases.case_path("experts", "mixtral-8x7b-transitions.json"))
DEEPSEEK = str(cases.case_path("experts", "deepseek-r1-gpqa-like.json"))
EXFLOW = str(cases.case_path("experts", "exflow-mixtral-8x7b.json"))


def mixtral(*sets: str) -> list[str]:
    """References to the transitions of data sets (gsm8k, humaneval)."""
    return [f"{MIXTRAL}:data_sets.{name}.transitions" for name in sets]


def balance(**keys: Any) -> dict[str, Any]:
    """Two layers of four experts on two GPUs of three slots: 6, 2, 2, 2 and 1, 1, 1, 9."""
    return {"loads": [[6, 2, 2, 2], [1, 1, 1, 9]], "gpus": 2, "slots_per_gpu": 3, **keys}


def transitions(**keys: Any) -> dict[str, Any]:
    """Three layers of two experts on two GPUs: 0 goes to 1 and 1 to 0 (but for one token), then each stays."""
    return {
        "transitions": [[[0, 9], [9, 2]], [[5, 0], [0, 5]]],
        "gpus": 2,
        "objective": "transitions",
        **keys,
    }
