"""The rules a configuration obeys to run at all, written without the search's own.

Each rule yields the field at fault and what it breaks; the plan's configuration and every
alternative are held to the same rules.
"""

from collections.abc import Iterator

from costmodels.architecture import Attention, Mlp, Model, Moe
from costmodels.configuration import ALLOWABLE, FOLDING, Configuration, Job
from costmodels.hardware import Cluster
from costmodels.recompute import FIT, first_layers
from planner.plan.inputs import PlanOptions
from planner.plan.parallelism import CONFIGURATION_FIELDS

Breach = tuple[str, str]
"""(field of the configuration, what it breaks)."""

NEUTRAL: dict[str, int | str] = {
    "sp": 0,
    "zero": 0,
    "recompute": "none",
    "vocabulary": "whole",
    "schedule": "1f1b",
}
"""Values of fields that are switched off; 1 for all others."""


def breaches(
    cluster: Cluster, model: Model, job: Job, configuration: Configuration, *, even: bool = True
) -> Iterator[Breach]:
    """Every rule that ``configuration`` breaks on this cluster, model and job; ``even``: its pipelines share the batch
    evenly."""
    c = configuration
    if c.gpus != cluster.gpus:
        yield "dp", f"tp x cp x pp x dp is {c.gpus}, the cluster has {cluster.gpus} GPUs"
    for kind in model.kinds:
        yield from _attention(kind.attention, c.tp)
        yield from _dense(kind.block, c.tp) if isinstance(kind.block, Mlp) else _experts(kind.block, c)
    yield from _sequence(job, c, even)
    yield from _pipeline(model, job, c)
    if job.offloaded_layers and c.pp > 1:
        yield "pp", "layers are offloaded on a single stage only"
    if job.offloaded_layers and c.recompute != "none":
        yield "recompute", "layers that are offloaded are not recomputed"
    if (first_layers(c.recompute) or 0) > len(model.layers):
        yield "recompute", f"more first layers than the model's {len(model.layers)}"
    if not model.is_moe:
        for name in ("ep", "etp"):
            if getattr(c, name) != 1:
                yield name, "the model has no experts"
    if c.tp * c.cp * c.dp % (c.ep * c.etp):
        yield "ep", f"ep x etp = {c.ep * c.etp} does not divide the {c.tp * c.cp * c.dp} ranks of a stage"


def _attention(attention: Attention, tp: int) -> Iterator[Breach]:
    if attention.heads % tp:
        yield "tp", f"{attention.heads} heads are not divisible by tp"
    kv_heads = attention.kv_heads if attention.kind == "gqa" else attention.heads
    if kv_heads % tp and tp % kv_heads:
        yield "tp", f"{kv_heads} key/value heads are neither divided by tp nor copied evenly over it"


def _dense(block: Mlp, tp: int) -> Iterator[Breach]:
    if block.ffn % tp:
        yield "tp", f"feed-forward width {block.ffn} is not divisible by tp"


def _experts(block: Moe, c: Configuration) -> Iterator[Breach]:
    if block.experts % c.ep:
        yield "ep", f"{block.experts} experts are not divisible by ep"
    if block.ffn % c.etp:
        yield "etp", f"expert width {block.ffn} is not divisible by etp"
    if block.shared_ffn % c.tp:
        yield "tp", f"shared expert width {block.shared_ffn} is not divisible by tp"
    if c.tp > 1 and not c.sp:
        yield "sp", "experts behind tp > 1 need sequence parallelism"


def _sequence(job: Job, c: Configuration, even: bool) -> Iterator[Breach]:
    length = job.sequence_length
    if c.cp > 1 and length % (2 * c.cp):
        yield "cp", f"sequence length {length} is not divisible by 2 cp"
    if c.cp > 1 and job.attention == "unfused":
        yield "cp", "context parallelism needs fused attention"
    if c.sp and c.tp == 1:
        yield "sp", "sequence parallelism cuts over a tensor group: tp > 1"
    if c.sp and length % (c.cp * c.tp):
        yield "sp", f"sequence length {length} is not divisible by cp x tp"
    if even and job.global_batch % (c.dp * c.mbs):
        yield "mbs", f"global batch {job.global_batch} is not divisible by dp x mbs = {c.dp * c.mbs}"


def _pipeline(model: Model, job: Job, c: Configuration) -> Iterator[Breach]:
    pieces = len(model.layers) + 2
    if c.pp * c.vp > pieces:
        yield "pp", f"{c.pp * c.vp} chunks for a chain of {pieces} pieces"
    if c.vp > 1 and c.pp == 1:
        yield "vp", "interleaving needs pp > 1"
    if c.schedule == "1f1b" and c.vp > 1 and c.microbatches(job.global_batch) % c.pp:
        yield "vp", f"interleaving needs micro-batches in multiples of pp = {c.pp}"
    if c.schedule != "1f1b":
        yield from _halved(c)
    if c.vocabulary == "whole":
        return
    for broken, message in (
        (c.pp == 1, "a vocabulary is split over stages: pp > 1"),
        (c.vp > 1, "a split vocabulary runs one chunk a stage: vp = 1"),
        (c.zero > 1, "weights and gradients of a split vocabulary are not sharded: zero of 0 or 1"),
        (model.tied_embeddings, "a split vocabulary needs an output embedding of its own"),
        (bool(model.mtp_layers), "prediction layers need the whole head"),
    ):
        if broken:
            yield "vocabulary", message


def _halved(c: Configuration) -> Iterator[Breach]:
    """What schedules with halves of the backward pass need."""
    chunks = {1, 2} if c.schedule == "best" else {1} if c.schedule.startswith("zb-h") else {2}
    if c.pp == 1:
        yield "schedule", f"{c.schedule} schedules several stages: pp > 1"
    if c.vp not in chunks:
        yield "schedule", f"{c.schedule} runs {' or '.join(map(str, sorted(chunks)))} chunks a stage, not {c.vp}"
    if c.schedule == "best" and c.recompute == FIT:
        yield "recompute", "full:fit follows from the memory of a schedule with a rule; best has none"
    if c.vocabulary != "whole" and (c.schedule != "best" or c.vocabulary == "interlaced"):
        yield "schedule", f"{c.schedule} has no passes of a split vocabulary"


def option_breaches(options: PlanOptions, model: Model, configuration: Configuration) -> Iterator[Breach]:
    """Where ``configuration`` is not what was pinned or forbidden, or what only an allowed search tries."""
    for name, value in options.pins.items():
        if name in CONFIGURATION_FIELDS and getattr(configuration, name) != value:
            yield name, f"pinned to {value}"
    for name in options.forbid:
        if name in CONFIGURATION_FIELDS and getattr(configuration, name) != NEUTRAL.get(name, 1):
            yield name, "forbidden"
    if FOLDING in options.forbid and model.is_moe:
        yield from _folded(configuration)
    for name in ALLOWABLE:
        value = getattr(configuration, name)
        rare = value == FIT if name == "recompute" else value != NEUTRAL[name]
        if rare and name not in options.pins and (name not in options.allow or value == "best"):
            yield name, "not pinned" if value == "best" else "neither pinned nor allowed"


def _folded(c: Configuration) -> Iterator[Breach]:
    """Where experts do not lie along the attention's tensor and data-parallel groups."""
    if c.etp != c.tp:
        yield "etp", f"folding is forbidden: experts are cut over tp = {c.tp} ranks"
    if c.dp % c.ep:
        yield "ep", f"folding is forbidden: an expert group is part of the dp = {c.dp} replicas"
    if c.cp > 1 and c.ep > 1:
        yield "cp", f"folding is forbidden: ranks of an expert group stand etp = {c.etp} apart, replicas tp x cp"
