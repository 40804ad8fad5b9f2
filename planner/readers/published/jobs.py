"""The job of a row: batch, precision, and how its software computes attention and overlaps."""

import math
import re
from typing import Any

from costmodels.configuration import GradientPrecision, Job, MomentPrecision, Precision, Software
from planner.readers.published.cells import Refusal, degree, text
from planner.readers.published.table import Cells
from planner.readers.published.vocabulary import of_the_study

PRECISIONS: dict[str, Precision] = {
    "BF16": "bf16",
    "FP16": "fp16",
    "FP8": "fp8",
    "NVFP4": "fp4",
    "FP4": "fp4",
}
MASTERS = re.compile(r" AMP \(FP32 PARAMS\)$")
"""Of software that keeps fp32 weights and computes on 16-bit copies; what every PyTorch trainer here does."""
FLASH_YEAR = 2022
"""FlashAttention (arXiv 2205.14135) is of May 2022; published runs up to that year do without."""
OLD_ATTENTION = re.compile(r"unfused|\blocal\b|no flash|pre-flash|without flash")
TENSOR_OVERLAP = re.compile(r"nemo|tp-comm-overlap|maxtext|paxml|async ?tp")
"""Software that runs tensor-parallel collectives beside GEMMs unasked, and Megatron's flag for it."""
OFFLOADED = re.compile(r"cpu_offloading_num_layers=(\d{1,6})")
MERGING = re.compile(r"dispatcher=(deepep|hybridep)")
BLOCK_SCALES = re.compile(r"mxfp8|block|subchannel")
COMPOSER = re.compile(r"composer|llm-foundry")
PYTORCH = re.compile(r"torchtitan|fsdp2|fms-fsdp|kempner|pytorch fsdp|atorch fsdp|automodel")
BY_DEFAULT = re.compile(r"zero-bubble-pipeline")
"""Zero Bubble's fork of Megatron-LM at its defaults, without FlashAttention and with dropout of 0.1: the 51 peaks
that it prints of 1F1B runs are then 5 % off on average, and else 38 % (22 % without the dropout)."""
NO_OVERLAP = re.compile(r"not overlapped|megatron-deepspeed")


def job_of(cells: Cells, extra: dict[str, Any], assumptions: list[str]) -> Job:
    printed = text(cells, "precision").upper()
    if MASTERS.sub("", printed) not in PRECISIONS:
        raise Refusal(f"precision {printed or '(blank)'}")
    unfused, overlap = _unfused(cells, extra), _overlap(cells, extra)
    if unfused and not text(cells, "attn_impl"):
        assumptions.append("attention without FlashAttention")
    if not overlap:
        assumptions.append("gradient reduction not overlapped")
    return Job(
        global_batch=global_batch(cells),
        sequence_length=degree(cells, "seq_len"),
        precision=PRECISIONS[MASTERS.sub("", printed)],
        attention="unfused" if unfused else "flash",
        gradient_overlap=overlap,
        tensor_overlap=_tensor_overlap(cells, extra),
        gradients=_gradients(cells, extra, assumptions),
        moments=_moments(cells, assumptions),
        gradient_sync="step" if "kempnerforge" in text(cells, "software").lower() else "microbatch",
        fused_loss=_fused_loss(cells, extra),
        dropout=_dropout(cells, extra, assumptions) or of_the_study(extra),
        offloaded_layers=_offloaded(cells),
        dispatch="deduplicated" if MERGING.search(text(cells, "overlap").lower()) else "all-to-all",
        scaling="block" if BLOCK_SCALES.search(text(cells, "fp8_recipe").lower()) else "tensor",
        expert_overlap="moe_a2a_overlap=true" in text(cells, "overlap").lower(),
        cuda_graphs=text(cells, "cuda_graph").strip("[] ") != "",
        software=_software(cells),
    )


def global_batch(cells: Cells) -> int:
    """``gbs``, or where blank the product of what it is made of, if all of that is printed."""
    parts = ("mbs", "dp", "ga")
    if not text(cells, "gbs") and all(text(cells, part) for part in parts):
        return math.prod(degree(cells, part) for part in parts)
    return degree(cells, "gbs")


def _software(cells: Cells) -> Software:
    said = text(cells, "software").lower()
    return "composer" if COMPOSER.search(said) else "pytorch" if PYTORCH.search(said) else "megatron"


def _gradients(cells: Cells, extra: dict[str, Any], assumptions: list[str]) -> GradientPrecision:
    """The performance recipes of NeMo and Megatron-Bridge set ``grad_reduce_in_fp32 = False``; Megatron-LM
    and DeepSpeed accumulate and reduce fp16 gradients in fp16 unless told otherwise."""
    half = text(cells, "precision").upper() == "FP16" or of_the_study(extra)
    nemo = "nemo" in text(cells, "software").lower() and _software(cells) != "pytorch"
    if not (half or _bridge(cells) or nemo):
        return "fp32"
    assumptions.append("gradients in 16 bits")
    return "bf16"


def _moments(cells: Cells, assumptions: list[str]) -> MomentPrecision:
    """Megatron-Bridge's DeepSeek recipes set ``exp_avg_dtype`` and ``exp_avg_sq_dtype`` to bf16."""
    if not (_bridge(cells) and "deepseek" in text(cells, "model").lower()):
        return "fp32"
    assumptions.append("moments in bf16")
    return "bf16"


def _fused_loss(cells: Cells, extra: dict[str, Any]) -> bool:
    """``cross_entropy_fusion_impl`` is ``te`` in Megatron-Bridge's recipes, ``native`` in Megatron-LM."""
    return _bridge(cells) or extra.get("cross-entropy-fusion-impl") == "te"


def _bridge(cells: Cells) -> bool:
    return "megatron-bridge" in text(cells, "source_ref").lower()


def _dropout(cells: Cells, extra: dict[str, Any], assumptions: list[str]) -> bool:
    """Megatron's default is 0.1; papers of GPT-3's time dropped as GPT-3 did."""
    if "hidden-size" in extra:
        return any(float(extra.get(f"{what}-dropout", 0.1)) > 0 for what in ("hidden", "attention"))
    if text(cells, "attn_impl"):
        return False
    if year_of(cells) > FLASH_YEAR and not BY_DEFAULT.search(text(cells, "software").lower()):
        return False
    assumptions.append("dropout")
    return True


def _offloaded(cells: Cells) -> int:
    found = OFFLOADED.search(text(cells, "offload"))
    return int(found[1]) if found else 0


def _tensor_overlap(cells: Cells, extra: dict[str, Any]) -> bool:
    said = " ".join(text(cells, c) for c in ("software", "source_ref", "overlap")).lower()
    return bool(TENSOR_OVERLAP.search(said)) or "tp-comm-overlap" in extra


def year_of(cells: Cells) -> int:
    """The year a row is of; the first one with FlashAttention where it tells none."""
    found = re.match(r"(20\d\d)", text(cells, "source_date"))
    return int(found[1]) if found else FLASH_YEAR + 1


def _unfused(cells: Cells, extra: dict[str, Any]) -> bool:
    stated = text(cells, "attn_impl").lower()
    if stated:
        return bool(OLD_ATTENTION.search(stated))
    if BY_DEFAULT.search(text(cells, "software").lower()):
        return True
    if extra.get("transformer-impl") == "local":
        return "use-flash-attn" not in extra
    said = " ".join(text(cells, c) for c in ("config_completeness", "recompute_detail", "notes")).lower()
    if "flash-attn" in said:
        return False
    return bool(OLD_ATTENTION.search(said)) or year_of(cells) <= FLASH_YEAR


def _overlap(cells: Cells, extra: dict[str, Any]) -> bool:
    """Megatron overlaps gradients when told to; its releases up to 2022 could not."""
    if "hidden-size" in extra:
        return "overlap-grad-reduce" in extra
    said = " ".join(text(cells, c) for c in ("overlap", "config_completeness", "notes", "software")).lower()
    return not NO_OVERLAP.search(said) and year_of(cells) > FLASH_YEAR
