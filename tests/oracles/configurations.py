"""Configuration search by brute force: nested loops, legality spelled out again, every price full."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from costmodels.architecture import Mlp, Model, Moe
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster
from planner.predict import predict
from planner.space import interleavings


def legal_configurations(
    cluster: Cluster, model: Model, job: Job, allow: Collection[str] = ()
) -> Iterator[Configuration]:
    """Every configuration of the stated space (docstring of ``planner.space``)."""
    for plain in whole_1f1b(cluster, model, job):
        if is_legal(cluster, model, job, plain):
            yield plain
        if plain.vp == 1 and plain.pp > 1 and "vocabulary" in allow:
            for vocabulary in ("vocab-1", "vocab-2", "interlaced"):
                split = replace(plain, vocabulary=vocabulary)
                if splits_vocabulary(model, split) and is_legal(cluster, model, job, split):
                    yield split
        if plain.vp == 1 and plain.pp > 1 and "schedule" in allow:
            for schedule in ("zb-h1", "zb-h2", "zb-v", "v-half", "v-min"):
                halved = replace(plain, schedule=schedule, vp=1 if schedule.startswith("zb-h") else 2)
                if is_legal(cluster, model, job, halved):
                    yield halved


def splits_vocabulary(model: Model, c: Configuration) -> bool:
    return c.zero <= 1 and not model.tied_embeddings and not model.mtp_layers


def whole_1f1b(cluster: Cluster, model: Model, job: Job) -> Iterator[Configuration]:
    """Combinations of all degrees, legal or not, with the default vocabulary and schedule."""
    gpus = cluster.nodes * cluster.gpus_per_node
    experts = [kind.block.experts for kind in model.kinds if isinstance(kind.block, Moe)]
    for tp in range(1, cluster.domain_gpus + 1):
        for cp in range(1, gpus + 1):
            for pp in range(1, len(model.layers) + 3):
                if gpus % (tp * cp * pp) or (cp > 1 and job.sequence_length // cp < 1024):
                    continue
                dp = gpus // (tp * cp * pp)
                for ep in range(1, max(experts, default=1) + 1):
                    for etp in (1, 2, 4, 8) if experts else (1,):
                        for mbs in (1, 2, 4, 8, 16, 32, 64):
                            for sp in (0, 1):
                                for vp in interleavings(len(model.layers), pp):
                                    for zero in range(4):
                                        for recompute in levels(model, job):
                                            yield Configuration(
                                                tp=tp,
                                                sp=sp,
                                                cp=cp,
                                                pp=pp,
                                                vp=vp,
                                                dp=dp,
                                                zero=zero,
                                                ep=ep,
                                                etp=etp,
                                                mbs=mbs,
                                                recompute=recompute,
                                            )


def levels(model: Model, job: Job) -> list[str]:
    """Levels worth trying, written out case by case."""
    dense = any(isinstance(kind.block, Mlp) for kind in model.kinds)
    experts = any(isinstance(kind.block, Moe) for kind in model.kinds)
    latent = any(kind.attention.kind == "mla" for kind in model.kinds)
    assert not latent
    found = {
        (True, False): ["none", "mlp", "full"],
        (False, True): ["none", "layernorm+moe_act", "layernorm+moe", "full"],
        (True, True): ["none", "layernorm+moe_act", "layernorm+mlp+moe", "full"],
    }[dense, experts]
    if job.attention == "flash":
        return found
    return ["none", "selective", *(f"core_attn+{level}" for level in found[1:-1]), "full"]


def is_legal(cluster: Cluster, model: Model, job: Job, c: Configuration) -> bool:
    if etp_outside(cluster, c) or job.global_batch % (c.dp * c.mbs):
        return False
    microbatches = job.global_batch // (c.dp * c.mbs)
    for kind in model.kinds:
        attention, block = kind.attention, kind.block
        kv_heads = attention.kv_heads if attention.kind == "gqa" else attention.heads
        if attention.heads % c.tp or (kv_heads % c.tp and c.tp % kv_heads):
            return False
        if isinstance(block, Mlp):
            if block.ffn % c.tp:
                return False
        elif (
            block.experts % c.ep
            or block.ffn % c.etp
            or block.shared_ffn % c.tp
            or (c.tp * c.cp * c.dp) % (c.ep * c.etp)
            or (c.tp > 1 and not c.sp)
        ):
            return False
    if c.sp and (c.tp == 1 or job.sequence_length % (c.cp * c.tp)):
        return False
    if c.cp > 1 and (job.sequence_length % (2 * c.cp) or job.attention == "unfused"):
        return False
    if c.pp * c.vp > len(model.layers) + 2 or (
        c.vp > 1 and (c.pp == 1 or (c.schedule == "1f1b" and microbatches % c.pp))
    ):
        return False
    return not (c.zero and c.dp * c.cp == 1 and c.edp == 1)  # never better than zero=0


def etp_outside(cluster: Cluster, c: Configuration) -> bool:
    return c.etp > cluster.domain_gpus


def fastest(cluster: Cluster, model: Model, job: Job) -> tuple[float, Configuration | None, int]:
    """Least step time over all that fit, the configuration that has it (first in the order of the
    loops), and how many were priced."""
    best, chosen, count = float("inf"), None, 0
    for configuration in legal_configurations(cluster, model, job):
        count += 1
        prediction = predict(cluster, model, job, configuration)
        if prediction.feasible and prediction.step_seconds < best:
            best, chosen = prediction.step_seconds, configuration
    return best, chosen, count
