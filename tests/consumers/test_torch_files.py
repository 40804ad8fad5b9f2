"""Files that torch writes, read without torch."""

from pathlib import Path

import numpy as np

from planner.readers.expert_loads import read_loads
from tests.consumers.required import need_consumer

need_consumer("torch", "torch")


def test_a_recording_that_torch_saved(tmp_path: Path) -> None:
    """As SGLang's recorder dumps it: ``logical_count`` beside other things, here transposed in memory."""
    import torch

    counts = torch.arange(24).reshape(2, 4, 3).transpose(1, 2)
    data = {"rank": 0, "logical_count": counts, "average_utilization_rate_over_window": {10: 0.5}}
    torch.save(data, tmp_path / "recorded.pt")
    trace = read_loads("recorded.pt", tmp_path, drop_warmup=0)
    assert trace.steps == 2
    np.testing.assert_array_equal(trace.loads, counts.sum(dim=0).numpy())
