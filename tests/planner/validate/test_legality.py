"""Each rule of legality, alone: one configuration that breaks only it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels.architecture import Moe
from costmodels.configuration import Configuration, Job
from planner.plan import PlanOptions
from planner.space import IllegalConfiguration, check
from planner.validate.legality import breaches, option_breaches
from tests.planner.plan import samples

CLUSTER = samples.h100_cluster(2)
JOB = Job(global_batch=64, sequence_length=4096)
DENSE = Configuration(tp=2, sp=1, pp=4, dp=2)
SPARSE = Configuration(tp=2, sp=1, pp=1, dp=8, ep=4, etp=2)


def broken(model: samples.Model, job: Job, configuration: Configuration) -> list[str]:
    return [field for field, _ in breaches(CLUSTER, model, job, configuration)]


def test_legal_configurations_break_nothing() -> None:
    assert broken(samples.LLAMA_8B, JOB, DENSE) == []
    assert broken(samples.LATENT_MOE, JOB, SPARSE) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dp": 1}, "dp"),  # 8 of 16 GPUs
        ({"tp": 1, "dp": 4}, "sp"),  # sequence parallelism without a tensor group
        ({"pp": 1, "vp": 2, "dp": 8}, "vp"),  # interleaving one stage
        ({"mbs": 64}, "mbs"),  # 64 sequences over 2 x 64
        ({"ep": 2}, "ep"),  # no experts
        ({"recompute": "full:33"}, "recompute"),  # of 32 layers
    ],
)
def test_dense_rules(changes: dict[str, Any], field: str) -> None:
    assert broken(samples.LLAMA_8B, JOB, replace(DENSE, **changes)) == [field]


def test_interleaving_needs_micro_batches_in_multiples_of_the_stages() -> None:
    """Batch 12 over dp 2: six micro-batches on four stages."""
    odd = replace(JOB, global_batch=12)
    assert broken(samples.LLAMA_8B, odd, replace(DENSE, vp=2)) == ["vp"]
    assert broken(samples.LLAMA_8B, odd, DENSE) == []


def test_heads_and_widths_divide_by_tp() -> None:
    """24 heads and 8 key/value heads on tp 16: neither divides; width 14340 is not a multiple of 16."""
    kind = samples.LLAMA_8B_LAYER
    wide = Configuration(tp=16, sp=1)
    attention = replace(kind.attention, heads=24, kv_heads=12)
    odd = replace(kind, attention=attention, block=samples.Mlp(ffn=14340))
    model = replace(samples.LLAMA_8B, kinds=(odd,))
    assert broken(model, JOB, wide) == ["tp", "tp", "tp"]


def test_key_value_heads_are_copied_when_tp_is_a_multiple_of_them() -> None:
    assert broken(samples.LLAMA_8B, JOB, Configuration(tp=16, sp=1)) == []


def test_sequence_rules() -> None:
    """Length 4096 + 2 = 2 x 2049: not by 2 cp = 4, and by cp x tp = 4 neither."""
    odd = replace(JOB, sequence_length=4098)
    c = Configuration(tp=2, sp=1, cp=2, dp=4)
    assert broken(samples.LLAMA_8B, odd, c) == ["cp", "sp"]
    assert broken(samples.LLAMA_8B, replace(JOB, attention="unfused"), c) == ["cp"]


def test_more_chunks_than_pieces_are_refused() -> None:
    """34 pieces: embedding, 32 layers, head; 2 x 18 chunks."""
    c = replace(DENSE, pp=2, dp=4, vp=18)
    assert broken(samples.LLAMA_8B, JOB, c) == ["pp"]


def test_expert_rules() -> None:
    assert broken(samples.LATENT_MOE, JOB, replace(SPARSE, ep=16, etp=1)) == []
    assert broken(samples.LATENT_MOE, JOB, replace(SPARSE, sp=0)) == ["sp", "sp"]  # both kinds with experts
    assert broken(samples.LATENT_MOE, JOB, replace(SPARSE, ep=16)) == ["ep"]  # 32 of 16 ranks
    assert broken(samples.LATENT_MOE, JOB, replace(SPARSE, ep=1, etp=3)) == ["etp", "etp", "ep"]


def test_six_experts_do_not_spread_over_four_ranks() -> None:
    kind = replace(samples.EXPERT_LAYER, block=Moe(experts=6, top_k=2, ffn=1408))
    model = replace(samples.LATENT_MOE, kinds=(kind,), layers=(0,) * 4, mtp_layers=())
    assert broken(model, JOB, SPARSE) == ["ep"]


def test_shared_experts_divide_by_tp() -> None:
    kind = replace(samples.EXPERT_LAYER, block=Moe(experts=8, top_k=2, ffn=1408, shared_ffn=1409))
    model = replace(samples.LATENT_MOE, kinds=(kind,), layers=(0,) * 4, mtp_layers=())
    assert broken(model, JOB, SPARSE) == ["tp"]


@given(
    st.sampled_from([samples.LLAMA_8B, samples.LATENT_MOE, samples.WINDOWED]),
    st.sampled_from([12, 64, 126]),
    st.sampled_from([4096, 4098]),
    st.builds(
        Configuration,
        tp=st.sampled_from([1, 2, 3, 4, 16]),
        sp=st.integers(0, 1),
        cp=st.sampled_from([1, 2]),
        pp=st.sampled_from([1, 2, 4, 16]),
        vp=st.sampled_from([1, 2, 18]),
        dp=st.sampled_from([1, 2, 4, 8, 16]),
        ep=st.sampled_from([1, 2, 4, 5, 16]),
        etp=st.sampled_from([1, 2, 3]),
        mbs=st.sampled_from([1, 2]),
    ),
)
def test_the_search_and_the_validator_agree_on_what_is_legal(
    model: samples.Model, batch: int, length: int, configuration: Configuration
) -> None:
    """Second method: ``planner.space.check``, written apart from these rules."""
    job = Job(global_batch=batch, sequence_length=length)
    try:
        check(CLUSTER, model, job, configuration)
        legal = True
    except IllegalConfiguration:
        legal = False
    assert legal == (broken(model, job, configuration) == [])


def test_experts_that_fold_though_it_is_forbidden() -> None:
    """By hand, on 16 GPUs: tp 2, dp 8."""
    options = PlanOptions(forbid=("folding",))

    def fields(**changes: int) -> list[str]:
        return [field for field, _ in option_breaches(options, samples.LATENT_MOE, replace(SPARSE, **changes))]

    assert fields() == []  # ep 4 is part of dp 8, and etp 2 is tp
    assert fields(etp=1) == ["etp"]
    assert fields(ep=16) == ["ep"]
    assert fields(cp=4, dp=2) == ["ep", "cp"]
    assert fields(cp=2, dp=4) == ["cp"]
    assert fields(cp=2, dp=4, ep=1) == []
    assert list(option_breaches(options, samples.LLAMA_8B, DENSE)) == []  # tp 2, and no experts


def test_pins_and_bans_are_held() -> None:
    options = PlanOptions(pins={"tp": 4, "recompute": "none"}, forbid=("pp", "sp", "zero"))
    assert [field for field, _ in option_breaches(options, samples.LLAMA_8B, DENSE)] == ["tp", "pp", "sp", "zero"]
    plain = Configuration(tp=4, dp=4, zero=0)
    assert list(option_breaches(options, samples.LLAMA_8B, plain)) == []
