"""The configuration of a row, or the few it may have meant where the row does not print one."""

import re
from dataclasses import replace
from typing import Any

from costmodels.architecture import Model
from costmodels.configuration import Configuration, Job
from costmodels.recompute import default_levels
from planner.readers.published.cells import Refusal, degree, number, text
from planner.readers.published.jobs import FLASH_YEAR, year_of
from planner.readers.published.layouts import layout_chunks
from planner.readers.published.recompute import levels_of
from planner.readers.published.table import Cells
from planner.readers.published.vocabulary import vocabulary_of

MICRO_BATCHES = (1, 2, 4, 8, 16)
CHUNKS = (1, 2, 3, 4, 5, 6, 7, 8)
MEGATRON = re.compile(r"megatron|nemo")


def expert_degrees(cells: Cells, extra: dict[str, Any], model: Model, tensor: int) -> tuple[int, int]:
    """``ep`` and ``etp``; where etp is blank, Megatron-based software sets it to tp."""
    if not model.is_moe:
        return 1, 1
    megatron = "num-experts" in extra or MEGATRON.search(text(cells, "software").lower())
    return degree(cells, "ep", 1), degree(cells, "etp", tensor if megatron else 1)


def dense_degrees(cells: Cells, assumptions: list[str]) -> tuple[int, int, int]:
    """``tp``, ``pp`` and ``cp``; pure FSDP runs may leave them out."""
    default = None
    if "fsdp" in text(cells, "zero_stage").lower() and not text(cells, "tp") and not text(cells, "pp"):
        default = 1
        assumptions.append("FSDP over all GPUs, tp=pp=1")
    return degree(cells, "tp", default), degree(cells, "pp", default), degree(cells, "cp", 1)


def configurations(
    cells: Cells,
    extra: dict[str, Any],
    model: Model,
    job: Job,
    gpus: int,
    dense: tuple[int, int, int],
    experts: tuple[int, int],
    assumptions: list[str],
) -> tuple[Configuration, ...]:
    """One configuration, or several where micro-batch, interleaving or recompute are not printed."""
    tp, pp, cp = dense
    if gpus % (tp * pp * cp):
        raise Refusal(f"n_gpus={gpus} is not a multiple of tp*pp*cp={tp * pp * cp}")
    dp, batch = gpus // (tp * pp * cp), job.global_batch
    chunks = _chunks(cells, extra, len(model.layers), pp, assumptions)
    sizes = {vp: _micro_batches(cells, batch, dp, pp, vp, assumptions) for vp in chunks}
    common = Configuration(
        tp=tp,
        sp=_sequence_parallel(cells, extra, tp, assumptions),
        cp=cp,
        pp=pp,
        dp=dp,
        zero=_zero(cells, pp, dp * cp, assumptions),
        ep=experts[0],
        etp=experts[1],
        vocabulary=vocabulary_of(cells, extra),
    )
    levels = levels_of(cells, extra, len(model.layers), assumptions) or default_levels(model, job)
    found = [replace(common, mbs=mbs, vp=vp, recompute=level) for vp in chunks for mbs in sizes[vp] for level in levels]
    if not found:
        raise Refusal(f"gbs={batch} is no multiple of dp={dp} x {pp} stages")
    regular = tuple(c for c in found if c.vp == 1 or c.microbatches(batch) % pp == 0)
    if regular:
        return regular
    assumptions.append("interleaving of micro-batches in no multiple of pp priced as none")
    return tuple(replace(c, vp=1) for c in found)


def _sequence_parallel(cells: Cells, extra: dict[str, Any], tp: int, assumptions: list[str]) -> int:
    """As stated, if only by a command line without it; else as has been usual since it was published
    (arXiv 2205.05198)."""
    if tp == 1 or text(cells, "sp"):
        return int(tp > 1 and number(cells, "sp") == 1)
    if year_of(cells) <= FLASH_YEAR or "hidden-size" in extra:
        return 0
    assumptions.append("sequence parallelism beside tensor parallelism")
    return 1


def _micro_batches(cells: Cells, batch: int, dp: int, pp: int, vp: int, assumptions: list[str]) -> tuple[int, ...]:
    if text(cells, "mbs"):
        return (degree(cells, "mbs"),)
    if pp > 1 and "torchtitan" in text(cells, "software").lower():
        assumptions.append("as many micro-batches as chunks, torchtitan's default")
        return (batch // (dp * pp * vp),) if batch % (dp * pp * vp) == 0 else ()
    found = tuple(mbs for mbs in MICRO_BATCHES if batch % (dp * mbs) == 0)
    if not found:
        raise Refusal(f"gbs={batch} is not a multiple of dp={dp}")
    assumptions.append("micro-batch not printed: the fastest that fits")
    return found


def _chunks(cells: Cells, extra: dict[str, Any], layers: int, pp: int, assumptions: list[str]) -> tuple[int, ...]:
    if pp == 1:
        return (1,)
    chunks = layout_chunks(cells, extra)
    if chunks is not None:
        if chunks % pp:
            raise Refusal(f"a layout of {chunks} chunks on {pp} stages")
        return (chunks // pp,)
    if text(cells, "vp"):
        return (degree(cells, "vp"),)
    if "interleaved" not in text(cells, "schedule").lower():
        return (1,)
    assumptions.append("interleaving not printed: the fastest that fits")
    return tuple(vp for vp in CHUNKS if layers % (pp * vp) == 0 or (layers + 2) % (pp * vp) == 0) or (1,)


def _zero(cells: Cells, pp: int, replicas: int, assumptions: list[str]) -> int:
    printed, shards = text(cells, "zero_stage").lower(), number(cells, "fsdp_shard") or 0
    if 0 < shards < replicas:
        raise Refusal(f"states sharded over {shards:g} of {replicas} replicas")
    stage = number(cells, "zero_stage")
    if "fsdp" in printed and stage is None:
        return 3
    if stage is None and shards and pp > 1:
        assumptions.append("weights and gradients whole from first to last micro-batch, as torchtitan's pipelines keep")
        return 1
    if stage is None:
        if not text(cells, "dist_opt"):
            assumptions.append("optimizer not sharded")
        stage = 0.0
    if stage not in (0, 1, 2, 3):
        raise Refusal(f"zero_stage {printed[:40]!r}")
    return max(int(stage), int(number(cells, "dist_opt") == 1))
