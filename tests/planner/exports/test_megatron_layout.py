"""Layout strings and the older options, by hand; megatron-core itself reads them in ``tests/consumers``."""

import pytest

from planner.exports.megatron_layout import layout_refusals, layout_string, split_arguments
from tests.planner.exports.cuts import cut_chunks, from_sizes

FIRST, LAST = "decoder-first-pipeline-num-layers", "decoder-last-pipeline-num-layers"
EMBEDDING, LOSS = "account-for-embedding-in-pipeline-split", "account-for-loss-in-pipeline-split"


@pytest.mark.parametrize(
    ("layers", "mtp", "sizes", "expected"),
    [
        (61, 1, [4, *[2] * 29, 1, 1], "Ettt|(tt|)*29m|L"),  # DeepSeek-V3 on 16 x 2, as Megatron's own example
        (61, 1, [3, *[4] * 14, 5], "Ett|(t*4|)*14tttmL"),
        (62, 0, [8, *[8] * 7], "Et*7|(t*8|)*6t*7L"),
        (4, 0, [1, 2, 2, 1], "E|tt|tt|L"),
        (4, 0, [6], "Et*4L"),
        (2, 2, [2, 1, 2, 1], "Et|t|mm|L"),
    ],
)
def test_layouts_are_written_short(layers: int, mtp: int, sizes: list[int], expected: str) -> None:
    assert layout_string(from_sizes(layers, mtp, sizes)) == expected


@pytest.mark.parametrize(
    ("layers", "stages", "sizes", "expected"),
    [
        (32, 1, [34], {}),
        (32, 4, [9, 8, 8, 9], {}),
        (32, 4, [5, 4, 4, 4, 4, 4, 4, 5], {"num-virtual-stages-per-pipeline-rank": 2}),
        (30, 4, [8, 8, 8, 8], {EMBEDDING: True, LOSS: True}),
        (31, 4, [8, 8, 8, 9], {EMBEDDING: True}),
        (31, 4, [9, 8, 8, 8], {LOSS: True}),
        (6, 4, [2, 2, 2, 2], {EMBEDDING: True, LOSS: True}),
        (29, 4, [9, 7, 7, 8], {FIRST: 8}),
        (27, 4, [9, 8, 8, 4], {LAST: 3}),
        (25, 4, [6, 8, 8, 5], {FIRST: 5, LAST: 4}),
        (10, 2, [8, 4], {FIRST: 7}),
        (32, 4, [9, 9, 7, 9], {"pipeline-model-parallel-layout": "Et*8|t*9|t*7|t*8L"}),
        # three layers on the first stage do not divide into its two chunks
        (15, 4, [3, 2, 2, 2, 1, 2, 2, 3], {"pipeline-model-parallel-layout": "Ett|(tt|)*3t|tt|tt|ttL"}),
    ],
)
def test_the_older_options_stand_where_they_say_the_cut(
    layers: int, stages: int, sizes: list[int], expected: dict[str, object]
) -> None:
    assert split_arguments(from_sizes(layers, 0, sizes), stages) == expected


def test_prediction_layers_before_the_last_chunk_need_the_layout() -> None:
    """The older options leave them with the head."""
    together, apart = from_sizes(32, 1, [9, 8, 8, 10]), from_sizes(24, 1, [9, 8, 9, 1])
    assert split_arguments(together, 4) == {}
    assert split_arguments(apart, 4) == {"pipeline-model-parallel-layout": "Et*8|t*8|t*8m|L"}


def test_prediction_layers_in_two_places_are_refused() -> None:
    (reason,) = layout_refusals(cut_chunks(2, 2, (0, 2, 4, 6)), 3)
    assert "chunks 1, 2" in reason


def test_prediction_layers_before_a_stages_last_chunk_are_refused() -> None:
    """Two stages of two chunks: the prediction layer on chunk 1 has chunk 3 after it on its stage."""
    assert layout_refusals(cut_chunks(3, 1, (0, 3, 4, 5, 6)), 2) == []
    chunks = [
        *cut_chunks(1, 1, (0, 1, 3)),
        *(chunk.model_copy(update={"chunk": 2 + i}) for i, chunk in enumerate(cut_chunks(0, 0, (0, 1, 2)))),
    ]
    (reason,) = layout_refusals(chunks, 2)
    assert "stand on chunk 1" in reason
    assert "2 to 3" in reason
