"""A vocabulary split over stages: its passes, collectives and bytes counted by hand, and measured runs."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import yaml

from cases import case_path
from costmodels.architecture import Model
from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job, Vocabulary
from costmodels.operators import System
from costmodels.sharding import padded_vocabulary
from costmodels.step import StepModel
from costmodels.step_price import price_step
from costmodels.vocabulary import PASS_HOST_SECONDS, SplitVocabulary, split_vocabulary
from planner.predict import predict
from planner.readers.published.models import gpt_layer
from planner.specs import load_cluster
from tests.bare import bare_calibration, bare_cluster
from tests.machines import cluster, dense_model

JOB = Job(global_batch=16, sequence_length=2048)
H, ROWS = 512, 32000 / 8
TOKENS = 2 * 2048 / 2
"""Of a micro-batch of 2 sequences under cp = 2."""
METHODS: tuple[Vocabulary, ...] = ("vocab-1", "vocab-2", "interlaced")


def split(method: Vocabulary, *, job: Job = JOB, **rates: float) -> SplitVocabulary:
    """tp = 2, pp = 4, cp = 2, mbs = 2 on one domain of 16 GPUs: each rank has 32,000 / 8 rows."""
    machine, calibration = bare_cluster(1, 16, **rates), bare_calibration()
    system = System(cluster=machine, calibration=calibration, precision="bf16")
    columns = Columns.of([Configuration(tp=2, pp=4, cp=2, mbs=2, vocabulary=method)])
    return split_vocabulary(dense_model(hidden=H), job, columns, system)


def test_rows_are_padded_so_that_every_rank_has_as_many() -> None:
    """By hand: multiples of 128 t, as p divides 128; with 3 stages, of 384 t."""
    assert padded_vocabulary(50257, np.array(2), 4) == 50432
    assert padded_vocabulary(50257, np.array(1), 3) == 50304
    assert padded_vocabulary(50257, np.array(1), 3) % 3 == 0
    assert padded_vocabulary(32000, np.array(1), 8) == 32000


@pytest.mark.parametrize("method", METHODS)
def test_each_rank_holds_its_rows_of_both_embeddings(method: Vocabulary) -> None:
    assert split(method).parameters[0] == 2 * ROWS * H


@pytest.mark.parametrize(("method", "first", "last"), [("vocab-1", 2, 4), ("vocab-2", 4, 2), ("interlaced", 6, 0)])
def test_flops_of_the_passes(method: Vocabulary, first: int, last: int) -> None:
    """arXiv 2411.05288 sec. 4: 2, 4 or 6 b s h V / p in S, the rest in T; at one FLOP a second."""
    found, volume = split(method, flops=1.0), TOKENS * H * ROWS
    assert found.first_step[0] == pytest.approx(first * volume)
    assert found.last_step[0] == pytest.approx(last * volume)
    assert found.step[0] == pytest.approx(6 * volume)
    assert found.input_forward[0] == pytest.approx(PASS_HOST_SECONDS)


def test_traffic_of_the_softmax() -> None:
    """Per logit: vocab-1 rescales the fp32 softmax (8 bytes more than in step), vocab-2 also casts it
    before the loss is known (4 + 2)."""
    one, two, in_step = (split(method, memory=1.0).step[0] for method in METHODS)
    assert one - in_step == pytest.approx(8 * TOKENS * ROWS)
    assert two - one == pytest.approx(6 * TOKENS * ROWS)


def test_traffic_of_the_lookup() -> None:
    """By hand: 12 bytes an element of the output; backward also 2 to clear the bf16 gradient of the rows,
    2 to read it, and 4 + 4 (2 + 2) for the fp32 (bf16) sum it is added to."""
    fp32 = split("vocab-1", memory=1.0)
    bf16 = split("vocab-1", memory=1.0, job=replace(JOB, gradients="bf16"))
    assert fp32.input_forward[0] == pytest.approx(12 * TOKENS * H)
    assert fp32.input_backward[0] == pytest.approx(12 * TOKENS * H + 12 * ROWS * H)
    assert bf16.input_backward[0] == pytest.approx(12 * TOKENS * H + 8 * ROWS * H)


def test_bytes_of_the_collectives() -> None:
    """By hand, 4 stages: X in fp32 with one value a token to all; three values a token and dX (fp32)
    summed, 2 x 3/4 of the bytes over NVLink; in step X goes in bf16 and the sums are part of S."""
    found, in_step = split("vocab-2", up=1.0), split("interlaced", up=1.0)
    assert found.broadcast[0] == pytest.approx(4 * TOKENS * (H + 1))
    assert found.reduce[0] == pytest.approx(1.5 * 4 * TOKENS * (3 + H))
    assert found.lookup[0] == pytest.approx(1.5 * 2 * TOKENS * H)
    assert in_step.broadcast[0] == pytest.approx(2 * TOKENS * H)
    assert in_step.reduce[0] == 0
    tensor = 1.5 * 0 + 1.0 * 2 * TOKENS * H  # all-reduce of dX over the tensor group: 2 x 1/2 of its bytes
    assert in_step.step[0] == pytest.approx(1.5 * 4 * TOKENS * (3 + H) + tensor)


def test_a_whole_vocabulary_costs_nothing_here_and_columns_do_not_mix() -> None:
    system = System(cluster=cluster(), calibration=load_calibration(cluster().gpu), precision="bf16")
    rows = [Configuration(pp=8, mbs=mbs, vocabulary=v) for v in ("whole", *METHODS) for mbs in (1, 2)]  # type: ignore[arg-type]
    together = split_vocabulary(dense_model(), JOB, Columns.of(rows), system)
    for i, row in enumerate(rows):
        alone = split_vocabulary(dense_model(), JOB, Columns.of([row]), system)
        for name in SplitVocabulary.__slots__:
            assert getattr(together, name)[i] == getattr(alone, name)[0]
            assert row.vocabulary != "whole" or getattr(alone, name)[0] == 0


@pytest.mark.parametrize("method", METHODS)
def test_stages_share_what_first_and_last_had(method: Vocabulary) -> None:
    """Parameters add up to the same; each stage is busy with its layers and its part of the vocabulary."""
    model, machine = dense_model(layers=8), cluster(1, 4)
    calibration = load_calibration(machine.gpu)
    whole, parts = (
        price_step(model, machine, JOB, calibration, Configuration(pp=4, vocabulary=v), (0, 3, 5, 7, 10))
        for v in ("whole", method)
    )
    held = [stage.dense_parameters for stage in parts.stages]
    assert sum(held) == sum(stage.dense_parameters for stage in whole.stages)
    assert held[0] == held[1] == held[3] - model.final_norm_parameters
    for stage in parts.stages:
        (chunk,) = stage.chunks
        layers = chunk.forward_seconds + chunk.input_grad_seconds + chunk.weight_grad_seconds
        assert stage.busy_seconds == pytest.approx(16 * layers + stage.vocabulary_seconds, rel=1e-9)
        assert stage.vocabulary_seconds > 0
    assert all(stage.vocabulary_seconds == 0 for stage in whole.stages)
    most = {"vocab-1": 6, "vocab-2": 5, "interlaced": 6}[method]
    assert [stage.memory.in_flight for stage in parts.stages] == [most - i for i in range(4)]


def test_bytes_kept_between_the_passes_by_hand() -> None:
    """Of a logit the fp32 softmax, of an element of X the fp32 broadcast, its bf16 copy and dX; while a
    step runs 6 bytes a logit more, if that is more than a layer needs. In step nothing is kept, and 10
    bytes a logit are needed."""
    deferred, in_step = split("vocab-1"), split("interlaced")
    logits = TOKENS * ROWS
    assert deferred.kept_bytes[0] == 4 * logits + (4 + 2 + 4) * TOKENS * H
    assert deferred.step_bytes[0] == 6 * logits
    assert (in_step.kept_bytes[0], in_step.step_bytes[0]) == (0, 10 * logits)
    step = StepModel(
        dense_model(layers=8),
        bare_cluster(1, 4),
        JOB,
        bare_calibration(weight_workspace_bytes_per_element=1),
        Columns.of([Configuration(pp=4, vocabulary="vocab-1")]),
    )
    share = 2048 * 32000 / 4
    assert {m.workspace_bytes for m in step.memory(0, (0, 3, 5, 7, 10))} == {6 * share}


# -- 20 measured runs (arXiv 2411.05288, 8 A100) -------------------------------------------------

RUNS = yaml.safe_load(case_path("vocabulary_stage_times.yaml").read_text())["runs"]


def gpt(vocabulary: int) -> Model:
    return Model(
        name="GPT 4B",
        hidden=3072,
        vocabulary=vocabulary,
        kinds=(gpt_layer(3072, 24, 24, 12288),),
        layers=(0,) * 32,
        positions=2048,
        final_norm_parameters=2 * 3072,
    )


def predicted(run: dict[str, object]) -> tuple[float, float]:
    """Seconds and allocated MiB, from shapes."""
    method = str(run["method"])
    machine = replace(load_cluster("dgx-a100-80gb-8"), nodes=1)
    job = Job(global_batch=128, sequence_length=2048, gradients="bf16", dropout=True)
    vocabulary: Vocabulary = method if method in METHODS else "whole"  # type: ignore[assignment]
    found = predict(
        machine,
        gpt(int(str(run["vocabulary"]))),
        job,
        Configuration(pp=8, zero=0, vocabulary=vocabulary),
        split="redistributed" if method == "redis" else "even",
    )
    return found.step_seconds, max(s.memory.allocated_bytes for s in found.price.stages) / 2**20


def test_peak_memory_of_the_runs() -> None:
    """Allocated bytes of the fullest device: 1 % where the vocabulary is whole, 2 % where it is split."""
    for run in RUNS:
        most = 0.01 if run["method"] in ("baseline", "redis") else 0.02
        assert predicted(run)[1] == pytest.approx(run["allocated_mib"], rel=most), run


def test_times_of_the_runs_from_shapes() -> None:
    """8 % on average for each method: the GPU's kernels and clocks, calibrated on other runs, decide it.
    Methods keep their places: in every vocabulary the split ones are faster than both whole ones."""
    errors = defaultdict(list)
    seconds: dict[int, dict[str, float]] = defaultdict(dict)
    for run in RUNS:
        seconds[run["vocabulary"]][run["method"]] = predicted(run)[0]
        errors[run["method"]].append(predicted(run)[0] / (run["iteration_ms"] * 1e-3) - 1)
    for method, found in errors.items():
        assert np.mean(np.abs(found)) < 0.08, (method, found)
    for by_method in seconds.values():
        assert max(by_method[m] for m in METHODS) < min(by_method["baseline"], by_method["redis"])
