"""Stated pipeline cuts. Strings are Megatron-Core's: examples of its parser's docstring and of published runs."""

from typing import Any

import pytest

from costmodels.architecture import Model
from costmodels.configuration import Configuration
from planner.readers.published.cells import Refusal
from planner.readers.published.layouts import layout_chunks, stated_boundaries
from tests.machines import dense_model, moe_model


def cut(model: Model, extra: dict[str, Any], *, overlap: str = "", **degrees: int) -> tuple[int, ...] | None:
    return stated_boundaries({"overlap": overlap}, extra, model, Configuration(**degrees))


def layout(text: str) -> dict[str, Any]:
    return {"pipeline-model-parallel-layout": text}


def test_the_parsers_own_example() -> None:
    """Ettt|(tt|)*29,m|L is [E t t t], 29 of [t t], [m], [L]: 61 layers in 32 chunks."""
    found = cut(moe_model(61, mtp=1), layout("Ettt|(tt|)*29,m|L"), pp=16, vp=2)
    assert found == (0, 4, *range(6, 63, 2), 63, 64)
    assert layout_chunks({}, layout("Ettt|(tt|)*29,m|L")) == 32


def test_deepseek_v3_of_megatron_bridge() -> None:
    """Et*4|(t*4|)*14tmL: the embedding and 4 layers, 14 times 4, one layer with prediction and head."""
    model = moe_model(61, dense_prefix=3, mtp=1)
    expected = (0, *range(5, 62, 4), 64)
    stated = "dispatcher=hybridep;pp_layout=Et*4|(t*4|)*14tmL"
    assert cut(model, {}, overlap=stated, pp=2, vp=8) == expected
    assert cut(model, {}, overlap=stated, pp=8, vp=2) == expected
    assert cut(model, {}, overlap=stated, pp=8, vp=1) is None, "priced without interleaving"


def test_a_head_alone_and_groups_that_start_with_a_border() -> None:
    assert cut(dense_model(4), layout("E|tt|tt|L"), pp=4) == (0, 1, 3, 5, 6)
    assert cut(dense_model(6), layout("Ett(|tt)*2L"), pp=3) == (0, 3, 5, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ett|tL", "places 3 layers of the model's 4"),
        ("Ettt|ttL", "places 5 layers of the model's 4"),
        ("Ett|ttmL", "places 1 prediction layers of the model's 0"),
        ("tt|ttL", "places 0 embeddings"),
        ("Ett|tt", "places 0 heads"),
        ("Ett|LttL", "places 2 heads"),
        ("tE|tttL", "not in the order"),
        ("Ett|tt||L", "empty chunk"),
        ("Ett|xxL", "made of E, t, m, L"),
        ("Et*(2)|ttL", "made of E, t, m, L"),
        ("Et*99999|L", "repeats too often"),
        ("E(" + "t" * 30 + ")*1000|t*10L", "repeats too often"),
    ],
)
def test_what_does_not_place_every_layer_once_is_refused(text: str, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        cut(dense_model(4), layout(text), pp=text.count("|") + 1)


def test_a_list_is_refused() -> None:
    with pytest.raises(Refusal, match="not a string"):
        cut(dense_model(4), {"pipeline_model_parallel_layout": [["embedding"]]}, pp=2)


def test_stated_numbers_on_the_first_and_the_last_stage() -> None:
    """12 layers on 4 stages with 2 on the first and the last leave 4 for each other; interleaved in two,
    each chunk holds half of its stage's."""
    both = {"decoder-first-pipeline-num-layers": 2, "decoder-last-pipeline-num-layers": 2}
    assert cut(dense_model(12), both, pp=4) == (0, 3, 7, 11, 14)
    assert cut(dense_model(12), both, pp=4, vp=2) == (0, 2, 4, 6, 7, 8, 10, 12, 14)
    assert cut(dense_model(12), {"num_layers_in_first_pipeline_stage": 3}, pp=4) == (0, 4, 7, 10, 14)
    assert cut(dense_model(12), {}, overlap="num_layers_in_last_pipeline_stage=6", pp=4) == (0, 3, 5, 7, 14)
    assert cut(dense_model(12), both | {"decoder-last-pipeline-num-layers": None}, pp=1) is None
    with pytest.raises(Refusal, match="9 are left for 2 stages"):
        cut(dense_model(12), both | {"decoder-first-pipeline-num-layers": 1}, pp=4)
    with pytest.raises(Refusal, match="8 are left for 0 stages"):
        cut(dense_model(12), both, pp=2)
    with pytest.raises(Refusal, match="leave a chunk empty"):
        cut(dense_model(4), both, pp=4)
    with pytest.raises(Refusal, match="do not divide into vp=4"):
        cut(dense_model(12), both, pp=4, vp=4)


def test_embedding_and_head_count_as_layers_where_the_row_says_so() -> None:
    """6 layers, embedding and head are one item for each of 8 chunks; 7 and the head two for each of 4."""
    both = {"account_for_embedding_in_pipeline_split": True, "account-for-loss-in-pipeline-split": True}
    assert cut(dense_model(6), both, pp=4, vp=2) == (0, 1, 2, 3, 4, 5, 6, 7, 8)
    assert cut(dense_model(8), {"account-for-loss-in-pipeline-split": True}, pp=3) == (0, 4, 7, 10)
    assert cut(dense_model(8), {"account-for-embedding-in-pipeline-split": "True"}, pp=3) == (0, 3, 6, 10)
    assert cut(dense_model(8), {"account-for-loss-in-pipeline-split": False}, pp=3) is None
    with pytest.raises(Refusal, match="8 layers and 2"):
        cut(dense_model(8), both, pp=4)
    assert cut(dense_model(3), {"account-for-loss-in-pipeline-split": True}, pp=4) == (0, 2, 3, 4, 5), "a head alone"
