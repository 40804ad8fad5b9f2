"""megatron-core reads every layout and option and builds the layers that were planned."""

import json
import warnings
from collections.abc import Sequence
from typing import Any

import pytest

from planner.exports import export
from planner.exports.chunks import chunks_of, length
from planner.exports.megatron_layout import layout_refusals, layout_string, split_arguments
from planner.plan import Plan
from planner.plan.stages import Chunk
from tests.consumers.required import need_consumer
from tests.planner.exports.cuts import cut_chunks, from_sizes, random_cut
from tests.planner.plan import samples

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Transformer Engine is not there
    need_consumer("megatron-core", "megatron.core.transformer.transformer_block")

    import torch
    from megatron.core.transformer.enums import LayerType
    from megatron.core.transformer.pipeline_parallel_layer_layout import PipelineParallelLayerLayout
    from megatron.core.transformer.transformer_block import get_num_layers_to_build
    from megatron.core.transformer.transformer_config import TransformerConfig

CONFIG_FIELDS = {
    "decoder-first-pipeline-num-layers": "num_layers_in_first_pipeline_stage",
    "decoder-last-pipeline-num-layers": "num_layers_in_last_pipeline_stage",
    "account-for-embedding-in-pipeline-split": "account_for_embedding_in_pipeline_split",
    "account-for-loss-in-pipeline-split": "account_for_loss_in_pipeline_split",
}
"""What Megatron-LM's arguments set in the configuration."""


def contents(chunk: Chunk) -> list[Any]:
    return [
        *[LayerType.embedding] * chunk.embedding,
        *[LayerType.decoder] * length(chunk.layers),
        *[LayerType.mtp] * length(chunk.mtp_layers),
        *[LayerType.loss] * chunk.head,
    ]


def check_layout(text: str, chunks: Sequence[Chunk], layers: int, mtp: int, stages: int) -> None:
    layout = PipelineParallelLayerLayout(text, stages)
    layout.validate_layer_layout(layers, mtp or None)
    assert layout.virtual_pipeline_model_parallel_size == len(chunks) // stages
    built = [layout.layout[chunk % stages][chunk // stages] for chunk in range(len(chunks))]
    assert built == [contents(chunk) for chunk in chunks]


@pytest.mark.parametrize(
    ("layers", "mtp", "stages", "sizes"),
    [
        pytest.param(61, 1, 16, [4, *[2] * 29, 1, 1], id="61 layers and MTP on 16 x 2, loss alone"),
        pytest.param(61, 1, 16, [3, *[4] * 14, 5], id="61 layers and MTP on 16"),
        pytest.param(126, 0, 16, [1, *[1] * 47, *[2] * 15, 1, *[1] * 47, 2], id="126 layers on 16 x 7"),
        pytest.param(126, 0, 16, [*[2] * 8, *[1] * 95, *[2] * 8, 1], id="126 layers on 16 x 7, ends apart"),
        pytest.param(8, 0, 4, [1, 4, 4, 1], id="embedding alone, loss alone"),
        pytest.param(2, 2, 4, [1, 2, 2, 1], id="two prediction layers alone"),
        pytest.param(40, 0, 1, [42], id="one stage"),
    ],
)
def test_a_layout_gives_back_the_planned_layers(layers: int, mtp: int, stages: int, sizes: list[int]) -> None:
    chunks = from_sizes(layers, mtp, sizes)
    assert layout_refusals(chunks, stages) == []
    check_layout(layout_string(chunks), chunks, layers, mtp, stages)


@pytest.mark.parametrize("seed", range(200))
def test_a_random_cut_comes_back(seed: int) -> None:
    layers, mtp, stages, chunks = random_cut(seed)
    check_layout(layout_string(chunks), chunks, layers, mtp, stages)


@pytest.mark.parametrize("sample", [samples.interleaved_dense, samples.experts_and_prediction_layer])
def test_the_layout_of_a_plan_comes_back(sample: Any) -> None:
    plan: Plan = sample()
    model = plan.model()
    document = json.loads(export(plan, "megatron")["megatron.json"])
    check_layout(document["layout"], chunks_of(plan), len(model.layers), len(model.mtp_layers), len(plan.stages))


def test_what_we_refuse_megatron_refuses() -> None:
    """Prediction layers in two places."""
    chunks = cut_chunks(2, 2, (0, 2, 4, 6))
    assert layout_refusals(chunks, 3)
    with pytest.raises(AssertionError, match="same one virtual pipeline stage"):
        check_layout(layout_string(chunks), chunks, 2, 2, 3)


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [
        (32, 4, [9, 8, 8, 9]),
        (32, 4, [5, 4, 4, 4, 4, 4, 4, 5]),
        (30, 4, [8, 8, 8, 8]),
        (62, 4, [8] * 8),
        (31, 4, [8, 8, 8, 9]),
        (31, 4, [9, 8, 8, 8]),
        (29, 4, [9, 7, 7, 8]),
        (27, 4, [9, 8, 8, 4]),
        (25, 4, [6, 8, 8, 5]),
        (10, 2, [8, 4]),
        (14, 2, [4, 4, 3, 5]),
        (126, 7, [17, 18, 18, 18, 18, 18, 21]),
    ],
)
def test_the_older_options_build_the_planned_layers(layers: int, stages: int, sizes: list[int]) -> None:
    chunks = from_sizes(layers, 0, sizes)
    options = split_arguments(chunks, stages)
    assert "pipeline-model-parallel-layout" not in options
    per_stage = options.pop("num-virtual-stages-per-pipeline-rank", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = TransformerConfig(
            num_layers=layers,
            hidden_size=8,
            num_attention_heads=1,
            pipeline_model_parallel_size=stages,
            virtual_pipeline_model_parallel_size=per_stage,
            pipeline_dtype=torch.bfloat16,
            **{CONFIG_FIELDS[name]: value for name, value in options.items()},
        )
    built = [get_num_layers_to_build(config, chunk // stages, chunk % stages) for chunk in range(len(chunks))]
    assert built == [length(chunk.layers) for chunk in chunks]
