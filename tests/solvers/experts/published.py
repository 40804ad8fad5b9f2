"""The published counts and placements of Mixtral-8x7B that the tests use."""

import json
from functools import cache

import numpy as np
from numpy.typing import NDArray

import cases


@cache
def mixtral_transitions(data_set: str) -> NDArray[np.float64]:
    """Counts [31, 8, 8] of ``gsm8k``, ``humaneval``, or ``pooled`` (their sum)."""
    if data_set == "pooled":
        return mixtral_transitions("gsm8k") + mixtral_transitions("humaneval")
    document = json.loads(cases.case_path("experts", "mixtral-8x7b-transitions.json").read_text())
    return np.array(document["data_sets"][data_set]["transitions"], dtype=np.float64)


@cache
def exflow_placement(gpus: int) -> NDArray[np.intp]:
    """ExFlow's GPU of each expert, [32, 8], for 4 or 8 GPUs."""
    document = json.loads(cases.case_path("experts", "exflow-mixtral-8x7b.json").read_text())
    return np.array(document["gpu_of_expert"][str(gpus)], dtype=np.intp)
