"""Model FLOPs of an optimizer step: what the mathematics needs, whatever the machine redoes or pads.

The convention of model FLOPs utilisation (Chowdhery et al., PaLM, arXiv 2204.02311, appendix B):

    FLOPs per token = 6 x multiply-adds in GEMMs + 6 x sum over layers of heads (qk + v) keys

A backward pass costs twice the forward, hence 6. GEMMs are the projections, the feed-forward or the
``top_k`` routed experts with the shared ones and the router, and the output head; the embedding
lookup, norms and biases multiply nothing. ``keys`` is what a causal query attends to on average: half
the sequence, less under a sliding window. Recomputation, vocabulary padding and masked-out scores
do not count.
"""

from costmodels.architecture import Attention, LayerKind, Mlp, Model
from costmodels.configuration import Job
from costmodels.hardware import Cluster


def model_flops(model: Model, job: Job) -> float:
    """FLOPs of one optimizer step over ``job.tokens`` tokens, forward and backward."""
    kinds = [token_multiply_adds(kind, model.hidden, job.sequence_length) for kind in model.kinds]
    head = model.vocabulary * model.hidden
    # a multi-token-prediction layer joins two hidden states and multiplies with the head once more
    prediction = 2 * model.hidden**2 + head
    total = head + sum(kinds[k] for k in model.layers) + sum(kinds[k] + prediction for k in model.mtp_layers)
    return 6.0 * job.tokens * total


def token_multiply_adds(kind: LayerKind, hidden: int, sequence_length: int) -> float:
    """Multiply-adds of one token's forward pass through a layer."""
    attention = kind.attention
    keys = mean_causal_keys(sequence_length, attention.window)
    scores = attention.heads * (attention.head_dim + attention.value_dim) * keys
    return projection_weights(attention, hidden) + block_weights(kind, hidden) + scores


def projection_weights(attention: Attention, hidden: int) -> int:
    """Matrix entries of the query, key, value and output projections."""
    out = attention.heads * attention.value_dim * hidden
    if attention.kind == "gqa":
        return out + hidden * (attention.query_width + attention.key_width + attention.value_width)
    rank = attention.q_lora_rank
    queries = (hidden + attention.query_width) * rank if rank else hidden * attention.query_width
    down = hidden * (attention.kv_lora_rank + attention.rope_dim)
    up = attention.heads * (attention.head_dim - attention.rope_dim + attention.value_dim)
    return out + queries + down + attention.kv_lora_rank * up


def block_weights(kind: LayerKind, hidden: int) -> int:
    """Matrix entries one token meets in the feed-forward or expert block."""
    block = kind.block
    matrices = 3 if block.gated else 2
    if isinstance(block, Mlp):
        return matrices * hidden * block.ffn
    router = hidden * (block.experts + block.shared_gate)
    return router + matrices * hidden * (block.top_k * block.ffn + block.shared_ffn)


def mean_causal_keys(sequence_length: int, window: int | None) -> float:
    """Keys a query attends to on average: s / 2, or w - w^2 / 2s behind a window of w tokens."""
    if window is None or window >= sequence_length:
        return sequence_length / 2
    return window - window**2 / (2 * sequence_length)


def mfu(model: Model, job: Job, cluster: Cluster, step_seconds: float) -> float:
    """Model FLOPs utilisation: model FLOP/s over the cluster's dense peak at the job's precision."""
    return model_flops(model, job) / (step_seconds * cluster.gpus * cluster.gpu.peak_flops[job.precision])
