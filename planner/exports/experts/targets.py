"""The runtimes that placements of experts are written for. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertTarget:
    """``module`` of ``planner.exports.experts`` writes and reads it."""

    module: str
    suffix: str
    summary: str


EXPERT_TARGETS: dict[str, ExpertTarget] = {
    "sglang": ExpertTarget(module="sglang", suffix=".json", summary="--init-expert-location of SGLang"),
    "tensorrt-llm": ExpertTarget(
        module="tensorrt_llm", suffix=".yaml", summary="moe_config.load_balancer of TensorRT-LLM"
    ),
    "vllm-ascend": ExpertTarget(
        module="vllm_ascend", suffix=".json", summary="expert_map_path of vLLM-Ascend, and MindIE"
    ),
    "vllm": ExpertTarget(module="vllm", suffix=".json", summary="the list of vLLM's pull request 49572"),
    "omni-infer": ExpertTarget(module="omni_infer", suffix=".npy", summary="pattern_path of Omni-infer"),
    "megatron": ExpertTarget(module="megatron", suffix=".json", summary="renumbering of a Megatron checkpoint"),
}
