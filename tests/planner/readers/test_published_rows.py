"""Rows of published tables, in the shapes their sources print them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels.architecture import Moe
from planner.readers.published_rows import Row, RowRequest, read_rows

GPT_175B = {
    "source_id": "korthikanti22",
    "source_date": "2022-05",
    "model": "GPT 175B",
    "model_key": "gpt_inline",
    "gpu": "A100",
    "gpu_mem_gb": "80",
    "gpus_per_node": "8",
    "n_gpus": "64",
    "precision": "FP16",
    "seq_len": "2048",
    "gbs": "64",
    "mbs": "1.0",
    "tp": "8.0",
    "pp": "8.0",
    "vp": "3.0",
    "sp": "1.0",
    "zero_stage": "0",
    "recompute": "selective",
    "schedule": "interleaved 1F1B",
    "step_time_s": "13.75",
    "extra_json": '{"layers": 96, "hidden": 12288, "heads": 96, "ffn": 49152, "vocab": 51200}',
}
BRIDGE = {
    "source_id": "mbridge-perf",
    "source_date": "26.04",
    "model": "DeepSeekV3",
    "model_key": "deepseek_v3",
    "gpu": "GB300",
    "gpu_mem_gb": "288",
    "n_gpus": "256",
    "precision": "NVFP4",
    "seq_len": "4096",
    "gbs": "4096",
    "mbs": "2",
    "tp": "1",
    "pp": "2",
    "vp": "8",
    "ep": "32",
    "etp": "1.0",
    "dist_opt": "1",
    "recompute": "selective",
    "recompute_detail": 'modules=["mla_up_proj"]',
    "overlap": "dispatcher=hybridep;pp_layout=Et*4|(t*4|)*14tmL",
    "tokens_per_s_per_gpu": "4000",
}


CI_ARGUMENTS = {"num-layers": 16, "hidden-size": 1024, "num-attention-heads": 16, "max-position-embeddings": 2048}


def read(folder: Path, **cells: str) -> Row:
    path = folder / "runs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(cells))
        writer.writeheader()
        writer.writerow(cells)
    (row,) = read_rows(path)
    return row


def request(folder: Path, **cells: str) -> RowRequest:
    row = read(folder, **cells)
    assert row.request is not None, row.refusal
    return row.request


def test_an_inline_gpt_of_table_5_becomes_the_whole_question(tmp_path: Path) -> None:
    """Korthikanti et al., arXiv 2205.05198, Tables 3 and 5: 175B on 64 A100."""
    found = request(tmp_path, **GPT_175B)
    assert found.model.total_parameters == pytest.approx(175e9, rel=0.01)  # the paper's name for it
    assert (found.cluster.nodes, found.cluster.gpus_per_node, found.cluster.gpu.name) == (8, 8, "a100-sxm-80gb")
    assert found.cluster.scale_out.bytes_per_second == 25e9  # 8 x HDR200 per node
    assert (found.job.precision, found.job.attention, found.job.gradient_overlap) == ("fp16", "unfused", False)
    (choice,) = found.choices
    assert (choice.tp, choice.sp, choice.pp, choice.vp, choice.dp, choice.mbs) == (8, 1, 8, 3, 1, 1)
    assert (choice.zero, choice.recompute, found.split) == (0, "selective", "even")
    assert any("NIC" in assumption for assumption in found.assumptions)


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    turned = dict(reversed(GPT_175B.items()))
    assert request(tmp_path, **turned) == request(tmp_path, **GPT_175B)


def test_blank_micro_batch_and_interleaving_become_choices(tmp_path: Path) -> None:
    """Narayanan et al., arXiv 2104.04473, Table 1 prints neither."""
    found = request(tmp_path, **GPT_175B | {"mbs": "", "vp": "", "n_gpus": "128", "gbs": "128"})
    assert {choice.mbs for choice in found.choices} == {1, 2, 4, 8, 16}
    assert {choice.vp for choice in found.choices} >= {1, 2, 3, 4}
    assert all(96 % (choice.pp * choice.vp) == 0 for choice in found.choices)
    assert all(choice.vp == 1 or choice.microbatches(128) % choice.pp == 0 for choice in found.choices)
    assert any("micro-batch not printed" in assumption for assumption in found.assumptions)


def test_a_rack_row_takes_the_catalogue_model_and_records_what_it_assumes(tmp_path: Path) -> None:
    row = read(tmp_path, **BRIDGE)
    found = row.request
    assert found is not None
    assert found.cluster.domain_gpus == 64
    assert found.cluster.scale_out.bytes_per_second == 100e9  # 800 Gb/s per GPU
    assert (found.job.precision, found.job.attention) == ("fp4", "flash")
    assert (found.choices[0].ep, found.choices[0].etp, found.choices[0].zero) == (32, 1, 1)
    assert found.choices[0].recompute == "mla_up_proj"
    assert found.boundaries[found.choices[0]] == (0, *range(5, 62, 4), 64)
    assert len(found.model.mtp_layers) == 1
    assert row.measured_seconds == 4096 * 4096 / (4000 * 256)  # tokens / (tokens/s/GPU x GPUs)


def test_without_mtp_is_without_it(tmp_path: Path) -> None:
    without = BRIDGE | {"model": "DeepSeekV3 (w/o MTP)", "overlap": "pp_layout=Et*4|(t*4|)*14tL"}
    assert request(tmp_path, **without).model.mtp_layers == ()
    assert "1 prediction layers" in read(tmp_path, **without | {"overlap": BRIDGE["overlap"]}).refusal


def test_a_proxy_has_the_stated_layers_and_one_of_the_dense_prefix(tmp_path: Path) -> None:
    model = request(tmp_path, **BRIDGE | {"extra_json": '{"layers": 4}', "pp": "1", "vp": "1"}).model
    assert [isinstance(model.kinds[kind].block, Moe) for kind in model.layers] == [False, True, True, True]


@pytest.mark.parametrize(
    ("change", "zero"),
    [
        ({"zero_stage": "3 (torch FSDP)"}, 3),
        ({"zero_stage": "fsdp"}, 3),
        ({"zero_stage": "0", "dist_opt": "1"}, 1),
        ({"zero_stage": "", "dist_opt": "1"}, 1),
        ({"zero_stage": "0 (assumed)"}, 0),
        ({"zero_stage": ""}, 0),
    ],
)
def test_the_sharding_of_states_is_read_from_either_column(tmp_path: Path, change: dict[str, str], zero: int) -> None:
    assert request(tmp_path, **GPT_175B | change).choices[0].zero == zero


@pytest.mark.parametrize(
    ("change", "attention"),
    [
        ({"attn_impl": "flash (triton/flash per yaml)"}, "flash"),
        ({"attn_impl": "unfused"}, "unfused"),
        ({"attn_impl": "fused"}, "flash"),
        ({"source_date": "2024-09-26", "config_completeness": "attention kernel (pre-flash)"}, "unfused"),
        ({"source_date": "2024-09-26"}, "flash"),
        ({"source_date": "26.04"}, "flash"),
        ({"source_date": "2023-11", "software": "sail-sg/zero-bubble-pipeline-parallelism"}, "unfused"),
        ({"source_date": "2021-08"}, "unfused"),
    ],
)
def test_attention_follows_the_kernel_the_text_or_the_year(
    tmp_path: Path, change: dict[str, str], attention: str
) -> None:
    assert request(tmp_path, **GPT_175B | change).job.attention == attention


@pytest.mark.parametrize(
    ("printed", "level"),
    [("none", "none"), ("selective", "selective"), ("full", "full"), ("full(block)", "full")],
)
def test_recompute_has_three_levels(tmp_path: Path, printed: str, level: str) -> None:
    (choice,) = request(tmp_path, **GPT_175B | {"recompute": printed}).choices
    assert choice.recompute == level


@pytest.mark.parametrize(
    ("printed", "detail", "extra", "level"),
    [
        ("full(block)", "num_layers=5 per pp stage", "", "full:5"),
        ("full", "method=block,num_layers=2,modules=None", "", "full:2"),
        ("full", "method=uniform,num_layers=1,modules=None", "", "full"),
        ("full", "", '{"recompute-method": "block", "recompute-num-layers": 3}', "full:3"),
        ("full(block)", "num_layers=96", "", "full"),
        ("full", "every layer", "", "full"),
        ("selective", "selective layer", "", "full/2"),
        ("selective layer", "", "", "full/2"),
        ("selective", "selective_ac_option=3", "", "full/3"),
        ("full", "every 4th layer", "", "full/4"),
    ],
)
def test_recompute_of_some_layers(tmp_path: Path, printed: str, detail: str, extra: str, level: str) -> None:
    """Megatron's block method counts each chunk's first layers; torchtitan wraps every second layer."""
    model = json.loads(GPT_175B["extra_json"]) | json.loads(extra or "{}")
    change = {"recompute": printed, "recompute_detail": detail, "extra_json": json.dumps(model)}
    found = request(tmp_path, **GPT_175B | change)
    assert [choice.recompute for choice in found.choices] == [level]
    assert not any("priced as" in text for text in found.assumptions)


def test_groups_of_recomputed_layers_are_recorded(tmp_path: Path) -> None:
    change = {"recompute": "full", "recompute_detail": "method=uniform,num_layers=4"}
    found = request(tmp_path, **GPT_175B | change)
    assert found.choices[0].recompute == "full"
    assert "recompute in groups of 4 layers priced as of single ones" in found.assumptions


@pytest.mark.parametrize(
    ("cells", "dropout"),
    [
        (GPT_175B | {"source_date": "2022-05-10"}, True),
        (GPT_175B | {"source_date": "2024-05-10"}, False),
        (GPT_175B | {"source_date": "2023-11", "software": "sail-sg/zero-bubble-pipeline-parallelism"}, True),
        (GPT_175B | {"source_date": "2022-05-10", "attn_impl": "flash"}, False),
        (GPT_175B | {"extra_json": json.dumps(CI_ARGUMENTS)}, True),
        (GPT_175B | {"extra_json": json.dumps(CI_ARGUMENTS | {"hidden-dropout": 0.0})}, True),
        (
            GPT_175B | {"extra_json": json.dumps(CI_ARGUMENTS | {"hidden-dropout": 0.0, "attention-dropout": 0.0})},
            False,
        ),
    ],
)
def test_dropout_is_megatrons_default_and_that_of_gpt_3s_time(
    tmp_path: Path, cells: dict[str, str], dropout: bool
) -> None:
    assert request(tmp_path, **cells).job.dropout == dropout


def test_what_megatron_bridges_recipes_set(tmp_path: Path) -> None:
    """``grad_reduce_in_fp32=False``, ``cross_entropy_fusion_impl='te'``; moments in bf16 for DeepSeek."""
    source = {"source_ref": "NVIDIA-NeMo/Megatron-Bridge@067f987df03b:docs/performance-summary.md"}
    deepseek = request(tmp_path, **BRIDGE | source).job
    assert (deepseek.gradients, deepseek.moments, deepseek.fused_loss) == ("bf16", "bf16", True)
    dense = {"model": "LLAMA3_70B", "model_key": "llama3_70b", "ep": "1", "overlap": ""}
    llama = request(tmp_path, **BRIDGE | source | dense).job
    assert (llama.gradients, llama.moments, llama.fused_loss) == ("bf16", "fp32", True)
    other = request(tmp_path, **BRIDGE).job
    assert (other.gradients, other.moments, other.fused_loss) == ("fp32", "fp32", False)


def test_offloaded_layers_are_counted_and_other_offload_is_said_to_be_left_out(tmp_path: Path) -> None:
    layers = request(tmp_path, **GPT_175B | {"offload": "cpu_offloading_num_layers=20"})
    assert layers.job.offloaded_layers == 20
    assert not any("offload" in assumption for assumption in layers.assumptions)
    states = request(tmp_path, **GPT_175B | {"offload": "optimizer states"})
    assert states.job.offloaded_layers == 0
    assert "CPU offload not modelled" in states.assumptions


TITAN = GPT_175B | {
    "source_date": "2024-12",
    "software": "torchtitan",
    "gpu": "H100",
    "gpu_mem_gb": "96",
    "precision": "BF16",
    "n_gpus": "128",
    "zero_stage": "",
    "fsdp_shard": "2",
    "mbs": "",
    "vp": "",
    "sp": "",
    "schedule": "1F1B",
}


def test_torchtitans_pipelines_run_as_many_micro_batches_as_stages_on_whole_weights(tmp_path: Path) -> None:
    """64 sequences over 2 replicas and 8 stages are 4 a micro-batch (``pipeline_parallel_microbatches``)."""
    found = request(tmp_path, **TITAN)
    (choice,) = found.choices
    assert (choice.mbs, choice.zero, choice.sp, found.job.software) == (4, 1, 1, "pytorch")
    assert found.cluster.gpu.name == "h100-sxm-96gb-500w"
    with_two_chunks = request(tmp_path, **TITAN | {"vp": "2"}).choices
    assert [choice.mbs for choice in with_two_chunks] == [2]
    indivisible = read(tmp_path, **TITAN | {"gbs": "66"})
    assert "no multiple of dp=2 x 8 stages" in indivisible.refusal


def test_sequence_parallelism_that_is_not_stated_goes_by_the_year(tmp_path: Path) -> None:
    said = "sequence parallelism beside tensor parallelism"
    old, new = (request(tmp_path, **GPT_175B | {"sp": "", "source_date": date}) for date in ("2022-05", "2024-02"))
    assert [found.choices[0].sp for found in (old, new)] == [0, 1]
    assert [said in found.assumptions for found in (old, new)] == [False, True]
    assert request(tmp_path, **GPT_175B | {"sp": "0", "source_date": "2024-02"}).choices[0].sp == 0


@pytest.mark.parametrize(
    ("printed", "per_gpu"),
    [
        ("Omni-Path, 4 Omni-Path links of 100 Gb/s per node", 50),
        ("EFA 400 Gb/s per node", 50),
        ("8x400 Gb/s IB per node", 400),
        ("NVLink; 800 Gb/s RDMA per node (as printed)", 100),
        ("400 Gb/s RDMA per GPU; 500 W", 400),
        ("not stated", 200),
        ("", 200),
    ],
)
def test_the_network_is_the_stated_one_or_that_of_the_generation(tmp_path: Path, printed: str, per_gpu: float) -> None:
    """Gb/s for each of 8 A100, of which the usual node has 200 each."""
    found = request(tmp_path, **GPT_175B | {"interconnect": printed})
    assert found.cluster.scale_out.bytes_per_second == per_gpu * 1e9 / 8
    assert any("NIC per GPU" in text for text in found.assumptions) == (per_gpu == 200)


def test_a_gpu_of_unstated_memory_is_the_usual_one(tmp_path: Path) -> None:
    change = {"gpu": "H100", "gpu_mem_gb": "", "precision": "BF16"}
    assert request(tmp_path, **GPT_175B | change).cluster.gpu.name == "h100-sxm-80gb"


def test_amp_with_fp32_weights_computes_in_16_bits(tmp_path: Path) -> None:
    assert request(tmp_path, **GPT_175B | {"precision": "BF16 amp (fp32 params)"}).job.precision == "bf16"


@pytest.mark.parametrize(
    ("extra", "parameters"),
    [
        ({}, 12 * 64**2 + 13 * 64),
        ({"kv": 1, "activation": "gelu"}, 11 * 64**2 + 12 * 64),
        ({"activation": "swiglu", "ffn": 192, "kv_heads": 1}, 12 * 64**2 + 2 * 64),
        ({"activation": "relu2"}, 12 * 64**2 + 4 * 64),
    ],
)
def test_inline_layers_have_the_stated_activation(tmp_path: Path, extra: dict[str, object], parameters: int) -> None:
    """By hand, hidden 64 in 2 heads, projections 4 h^2 + feed-forward 8 h^2 (gated 9 h^2 of width 3 h; one
    key/value head saves h^2), biases 3 h + h + 4 h + h beside norms of 4 h, without biases 4 h or, RMS, 2 h."""
    stated = {"layers": 2, "hidden": 64, "heads": 2, "vocab": 100, **extra}
    model = request(tmp_path, **GPT_175B | {"tp": "1", "pp": "1", "vp": "1", "extra_json": json.dumps(stated)}).model
    assert model.kinds[0].parameters(64) == parameters


@pytest.mark.parametrize(
    ("extra", "tied", "positions"),
    [
        ({}, True, 2048),
        ({"tied": 0, "position": "alibi"}, False, 0),
        ({"tied": 1, "activation": "swiglu"}, True, 0),
        ({"tied": 0, "activation": "relu2"}, False, 0),
    ],
)
def test_inline_embeddings_are_as_stated(tmp_path: Path, extra: dict[str, object], tied: bool, positions: int) -> None:
    stated = {"layers": 96, "hidden": 12288, "heads": 96, "vocab": 51200, **extra}
    model = request(tmp_path, **GPT_175B | {"extra_json": json.dumps(stated)}).model
    assert (model.tied_embeddings, model.positions) == (tied, positions)


def test_a_blank_batch_is_the_product_of_its_parts(tmp_path: Path) -> None:
    parts = {"gbs": "", "mbs": "2", "dp": "1", "ga": "16"}
    assert request(tmp_path, **GPT_175B | parts).job.global_batch == 32
    assert "no value for gbs" in read(tmp_path, **GPT_175B | parts | {"ga": ""}).refusal


def test_recompute_that_is_not_printed_becomes_choices(tmp_path: Path) -> None:
    found = request(tmp_path, **GPT_175B | {"recompute": "", "source_date": "2024-09-26"})
    assert [choice.recompute for choice in found.choices] == ["none", "mlp", "full"]
    assert "recompute not printed: the fastest that fits" in found.assumptions


def test_reserved_figures_are_told_from_allocated_ones(tmp_path: Path) -> None:
    kinds = ("max over GPUs of torch max reserved", "torch max allocated", "", "nvidia-smi, largest node")
    assert [read(tmp_path, **GPT_175B | {"peak_mem_kind": kind}).memory_reading for kind in kinds] == [
        "reserved",
        "allocated",
        "allocated",
        "device",
    ]


@pytest.mark.parametrize(
    ("detail", "extra", "level"),
    [
        ('modules=["mla_up_proj", "mlp"]', "", "mla_up_proj+mlp"),
        ("method=None,num_layers=None,modules=[moe_act layernorm]", "", "layernorm+moe_act"),
        ("method=None,num_layers=None,modules=None", "", "selective"),
        ("modules=[core_attn]", "", "selective"),
        ("modules=[layernorm", '{"recompute-modules": "[layernorm moe]"}', "layernorm+moe"),
        ("modules=[moe gdn_norm]", "", "moe"),
    ],
)
def test_recomputed_modules_are_read_from_the_row(tmp_path: Path, detail: str, extra: str, level: str) -> None:
    change = {"recompute": "selective", "recompute_detail": detail, "extra_json": extra}
    found = request(tmp_path, **BRIDGE | change)
    assert found.choices[0].recompute == level
    assert any("gdn_norm priced as none" in text for text in found.assumptions) == ("gdn_norm" in detail)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "bert/bert_mcore_tp1_pp2"}, "BERT"),
        ({"model": "multimodal-llava/x"}, "multimodal"),
        ({"model": "GPT 22B single transformer layer"}, "single-layer"),
        ({"model_key": "nemotron3_nano"}, "state-space"),
        ({"extra_json": '{"hybrid-layer-pattern": "MEM*"}'}, "state-space"),
        ({"task": "lora"}, "LoRA"),
        ({"schedule": "1F1B vocab-parallel alg3"}, "vocabulary-parallel"),
        ({"pp": "41"}, "tp*pp*cp=328"),
        ({"tp": ""}, "no value for tp"),
        ({"gbs": ""}, "no value for gbs"),
        ({"seq_len": "many"}, "seq_len"),
        ({"gpu": "TPUv4"}, "GPU TPUV4"),
        ({"precision": "INT8"}, "precision INT8"),
        ({"precision": "FP8"}, "fp8"),
        ({"model_key": "no_such_model", "extra_json": ""}, "no_such_model"),
        ({"extra_json": "{"}, "not JSON"),
        ({"n_gpus": "12", "tp": "1", "pp": "1"}, "multiple of gpus_per_node"),
        ({"zero_stage": "7"}, "zero_stage"),
        ({"n_gpus": "256", "zero_stage": "3 (HSDP)", "fsdp_shard": "2"}, "sharded over 2 of 4 replicas"),
        ({"model": "GPT 175B (MegaScale)"}, "parallel attention"),
        ({"precision": "BF16 + MXFP8 experts"}, "precision BF16 + MXFP8"),
        ({"extra_json": '{"layers": 2, "hidden": 64, "heads": 2, "n_experts": 8}'}, "inline models with experts"),
        ({"extra_json": '{"layers": 2, "hidden": 64, "heads": 2, "activation": "tanh"}'}, "activation 'tanh'"),
    ],
)
def test_what_cannot_be_predicted_is_refused_by_name(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    row = read(tmp_path, **GPT_175B | change)
    assert row.request is None
    assert reason in row.refusal


def ci_row(**arguments: Any) -> dict[str, str]:
    """A Megatron-LM functional-test row: its whole command line stands in extra_json."""
    stated = {
        "num-layers": 12,
        "hidden-size": 512,
        "num-attention-heads": 8,
        "max-position-embeddings": 1024,
        "vocab-file": "vocab.json",
        "seq-length": 1024,
    }
    return {
        "model": "gpt/gpt3_mcore",
        "model_key": "gpt_inline",
        "gpu": "A100",
        "gpu_mem_gb": "80",
        "gpus_per_node": "8",
        "n_gpus": "8.0",
        "precision": "BF16",
        "seq_len": "1024",
        "gbs": "32.0",
        "mbs": "4",
        "tp": "2",
        "pp": "2",
        "vp": "1",
        "zero_stage": "0",
        "recompute": "none",
        "peak_mem_gb": "2.5",
        "peak_mem_unit": "GB(1e9)",
        "peak_mem_kind": "torch max_memory_allocated, logged rank (last rank of world)",
        "extra_json": json.dumps(stated | arguments),
    }


def test_a_ci_row_reads_its_arguments_and_the_rank_it_logged(tmp_path: Path) -> None:
    row = read(tmp_path, **ci_row(**{"overlap-grad-reduce": True, "transformer-impl": "local"}))
    assert row.request is not None
    assert (row.memory_rank, row.memory_unit_bytes, row.measured_memory) == ("last", 1e9, 2.5)
    assert row.request.job.gradient_overlap
    assert row.request.job.attention == "unfused"
    assert read(tmp_path, **ci_row() | {"peak_mem_unit": "GiB"}).memory_unit_bytes == 2**30


def test_megatron_sets_expert_tensor_parallelism_to_tp_unless_told(tmp_path: Path) -> None:
    experts = ci_row(**{"num-experts": 4})
    assert request(tmp_path, **experts | {"ep": "2"}).choices[0].etp == 2
    assert request(tmp_path, **experts | {"ep": "2", "etp": "1.0"}).choices[0].etp == 1


def test_blank_gpu_counts_become_the_fewest_whole_nodes(tmp_path: Path) -> None:
    assert request(tmp_path, **ci_row() | {"n_gpus": ""}).cluster.gpus == 8
    large = ci_row(**{"num-experts": 16}) | {"n_gpus": "", "ep": "16", "etp": "1", "pp": "4", "gbs": "512"}
    assert request(tmp_path, **large).cluster.gpus == 64  # ep 16 x pp 4


def test_a_layout_string_gives_chunks_and_cut(tmp_path: Path) -> None:
    """Et*3 | tt| x 6 | tL: eight chunks, four on each of two stages, of 16 layers."""
    row = ci_row(**{"num-layers": 16, "pipeline-model-parallel-layout": "Et*3|(tt|)*6tL"})
    found = request(tmp_path, **row)
    (choice,) = found.choices
    assert choice.vp == 4
    assert found.boundaries[choice] == (0, 4, 6, 8, 10, 12, 14, 16, 18)
    row = ci_row(**{"num-layers": 15, "pipeline-model-parallel-layout": "Et*3|(tt|)*6tL"})
    assert read(tmp_path, **row).refusal == "layout 'Et*3|(tt|)*6tL' places 16 layers of the model's 15"


def test_layers_that_are_said_to_be_redistributed(tmp_path: Path) -> None:
    change = {"schedule": "1F1B + transformer layers redistributed", "vp": "1"}
    assert request(tmp_path, **GPT_175B | change).split == "redistributed"
    assert request(tmp_path, **GPT_175B | change | {"schedule": "1F1B"}).boundaries == {}


def test_other_tables_are_refused_row_by_row(tmp_path: Path) -> None:
    assert "communication" in read(tmp_path, gpu="A100", n_gpus="2", busbw_GBps="23").refusal
    assert "single-layer" in read(tmp_path, gpu="H100", forward_ms="7").refusal
    assert read(tmp_path, colour="red").refusal


CELL = st.one_of(
    st.sampled_from(["", "0", "-1", "nan", "1e400", "{}", "[]", '{"layers": -1}', "8", "é"]), st.text(max_size=8)
)


@given(st.dictionaries(st.sampled_from(sorted(GPT_175B)), CELL, min_size=1, max_size=3))
def test_any_cell_gives_a_question_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, change: dict[str, str]
) -> None:
    clean = {column: cell.replace("\0", "") for column, cell in change.items()}
    row = read(tmp_path_factory.mktemp("fuzz"), **GPT_175B | clean)
    assert (row.request is None) == bool(row.refusal)
