"""Parameters a rank holds, from the model's shapes alone: a second count beside the cost model's.

The cost model adds up operators; this adds up matrices, those cut over the tensor group apart from
those every rank of it holds.
"""

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from costmodels.configuration import Configuration
from planner.plan.stages import Stage
from planner.validate.structure import vocabulary_share

V_SHAPED = ("zb-v", "v-half", "v-min")
"""Schedules that hold both ends of the model on one stage."""


def stage_parameters(model: Model, configuration: Configuration, stage: Stage) -> tuple[float, float]:
    """(all but the routed experts, the routed experts) on a rank of ``stage``, before ZeRO shards them."""
    c, hidden = configuration, model.hidden
    experts = 0.0
    rows = vocabulary_share(model.vocabulary, c)
    split = c.vocabulary != "whole"
    held = stage.vocabulary.input_rows + stage.vocabulary.output_rows
    apart = c.pp > 1 and c.schedule not in V_SHAPED
    dense = float(held * hidden * split)
    if split:
        rows = 0  # on every stage, counted above
    for chunk in stage.chunks:
        decoder = model.layers[slice(*chunk.layers)] if chunk.layers else ()
        prediction = model.mtp_layers[slice(*chunk.mtp_layers)] if chunk.mtp_layers else ()
        for kind in (model.kinds[k] for k in (*decoder, *prediction)):
            dense += _attention(kind.attention, hidden, c.tp) + _block(kind, hidden, c.tp) + kind.norm_parameters
            experts += _experts(kind.block, hidden, c) if isinstance(kind.block, Moe) else 0.0
            dense += kind.extra_parameters
        if chunk.embedding:
            dense += (rows + model.positions) * hidden
        if chunk.head:
            own_copy = not model.tied_embeddings or apart
            dense += model.final_norm_parameters + own_copy * rows * hidden
            # prediction layers embed their tokens again: away from the first stage, from a copy
            dense += (bool(model.mtp_layers) and apart) * (rows + model.positions) * hidden
    return dense, experts


def _attention(attention: Attention, hidden: int, tp: int) -> float:
    a = attention
    out = a.heads * a.value_dim * hidden / tp + a.out_bias * hidden
    if a.kind == "mla":
        down = hidden * (a.q_lora_rank + a.kv_lora_rank + a.rope_dim) + a.q_lora_rank + a.kv_lora_rank
        up = (a.q_lora_rank or hidden) * a.query_width
        up += a.kv_lora_rank * a.heads * (a.head_dim - a.rope_dim + a.value_dim)
        return out + down + up / tp
    norm = {"none": 0.0, "head": 2.0 * a.head_dim, "full": (a.query_width + a.key_width) / tp}[a.qk_norm]
    columns = a.query_width / tp + (a.key_width + a.value_width) / min(tp, a.kv_heads)
    return out + norm + a.sinks * a.heads / tp + (hidden + a.qkv_bias) * columns


def _block(kind: LayerKind, hidden: int, tp: int) -> float:
    block = kind.block
    if isinstance(block, Mlp):
        return _feed_forward(hidden, block.ffn / tp, gated=block.gated, bias=block.bias)
    shared = _feed_forward(hidden, block.shared_ffn / tp, gated=block.gated, bias=False)
    return shared + block.shared_gate * hidden + block.experts * (hidden + block.router_bias)


def _experts(block: Moe, hidden: int, c: Configuration) -> float:
    one = _feed_forward(hidden, block.ffn / c.etp, gated=block.gated, bias=block.bias)
    return block.experts / c.ep * one


def _feed_forward(hidden: int, width: float, *, gated: bool, bias: bool) -> float:
    inputs = 2 if gated else 1
    return (inputs + 1) * hidden * width + bias * (inputs * width + hidden)
