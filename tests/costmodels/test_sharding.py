"""What a rank sees of a micro-batch and of the vocabulary."""

import numpy as np
import pytest

from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.sharding import padded_vocabulary


@pytest.mark.parametrize(
    ("vocabulary", "tp", "rows"),
    [
        (50257, 1, 50304),  # GPT-2's, as nanoGPT and Megatron-LM pad it
        (50257, 8, 51200),  # Megatron-LM's GPT-3 runs (arXiv 2104.04473 sec. 5)
        (51200, 8, 51200),
        (51201, 8, 52224),
        (1, 2, 256),
    ],
)
def test_the_vocabulary_is_padded_to_a_multiple_of_128_rows_a_rank(vocabulary: int, tp: int, rows: int) -> None:
    assert padded_vocabulary(vocabulary, np.array([tp]))[0] == rows


def test_tokens_of_a_micro_batch() -> None:
    """By hand: 3 x 4,096 tokens over two context ranks, and over four tensor ranks only with sp."""
    shards, _ = Columns.of([Configuration(tp=4, sp=sp, cp=2, mbs=3) for sp in (0, 1)]).shards()
    job = Job(global_batch=8, sequence_length=4096)
    assert shards.tokens(job).tolist() == [6144, 6144]
    assert shards.sequence_tokens(job).tolist() == [6144, 1536]
