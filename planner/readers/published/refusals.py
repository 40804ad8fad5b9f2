"""Rows that are no training run of a model we know, refused by name before anything else is read."""

import re
from typing import Any

from planner.readers.published.cells import Refusal, text
from planner.readers.published.table import Cells

NOT_A_RUN = {
    "busbw_GBps": "a communication timing, not a training run",
    "forward_ms": "a single-layer timing, not a training run",
    "norm": "a model's shape, not a training run",
}
MODELS = {
    r"\b(bert|t5)\b": "BERT and T5 encoders",
    r"multimodal|llava|mimo|vlm": "multimodal models",
    r"single transformer layer": "single-layer timings",
    r"mamba|nemotron.?(h|3|35|5)\b|nemotron_?3": "state-space hybrids",
    r"deepseek.?v4": "compressed sparse attention",
    r"\(megascale\)": "parallel attention and feed-forward blocks with sliding windows",
}
HYBRID_ARGUMENTS = ("hybrid-layer-pattern", "hybrid-override-pattern", "is-hybrid-model", "hybrid_pattern")
SCHEDULES = {
    r"zero.?bubble|\bzb": "zero-bubble schedules",
}


def refuse_by_name(cells: Cells, extra: dict[str, Any]) -> None:
    """Raises ``Refusal`` with the name of the unsupported part."""
    for column, what in NOT_A_RUN.items():
        if column in cells:
            raise Refusal(what)
    if text(cells, "task").lower() == "lora":
        raise Refusal("LoRA: frozen weights have no gradients")
    if any(key in extra for key in HYBRID_ARGUMENTS):
        raise Refusal("state-space hybrids")
    name = f"{text(cells, 'model')} {text(cells, 'model_key')}".lower().replace("_", " ").replace("/", " / ")
    for pattern, what in MODELS.items():
        if re.search(pattern, name):
            raise Refusal(what)
    schedule = text(cells, "schedule").lower()
    for pattern, what in SCHEDULES.items():
        if re.search(pattern, schedule):
            raise Refusal(what)
