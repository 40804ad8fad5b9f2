"""One step worked out by hand: times from small integers, bytes from counts.

Where a test is about how prices are put together it sets the items' prices itself (``priced``): the
chain embedding, four layers, head, with whole seconds and bytes.
"""

from dataclasses import replace

import numpy as np
import pytest

from costmodels.architecture import Model
from costmodels.calibration import Calibration, load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster, Link
from costmodels.states import StateBytes
from costmodels.step import StepModel
from costmodels.step_price import price_cut, price_step
from tests.bare import bare_calibration, bare_cluster
from tests.machines import cluster, dense_model, moe_model

JOB = Job(global_batch=8, sequence_length=2048)
H, V, PADDED = 512, 32000, 32000  # 32000 = 250 x 128


def step_model(
    configuration: Configuration,
    *,
    model: Model | None = None,
    cluster: Cluster | None = None,
    job: Job = JOB,
    calibration: Calibration | None = None,
) -> StepModel:
    return StepModel(
        model or dense_model(),
        cluster or bare_cluster(),
        job,
        calibration or bare_calibration(),
        Columns.of([configuration]),
    )


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def priced(
    configuration: Configuration,
    *,
    forward: tuple[float, float, float] = (0, 1, 2),
    recompute: tuple[float, float, float] = (0, 0, 0),
    input_grad: tuple[float, float, float] = (0, 1, 3),
    weight_grad: tuple[float, float, float] = (0, 1, 1),
    **others: object,
) -> StepModel:
    """Seconds of embedding, layer and head as given."""
    step = step_model(configuration, **others)  # type: ignore[arg-type]
    parts = (column(*recompute), column(*input_grad), column(*weight_grad))
    step.__dict__.update(forward_seconds=column(*forward), backward_parts=parts, backward_seconds=sum(parts))
    return step


# -- the pipeline -------------------------------------------------------------------------------


def test_one_stage_runs_its_micro_batches_one_after_another() -> None:
    """By hand: 4 micro-batches x (4 x 1 + 2 forward, 4 x 2 + 4 backward)."""
    price = price_cut(priced(Configuration(dp=2)), 0, (0, 6))
    assert price.pipeline_seconds == 4 * (6 + 12)
    assert price.bubble_fraction == 0
    assert price.stages[0].busy_seconds == 72
    assert price.stages[0].send_seconds == 0
    chunk = price.stages[0].chunks[0]
    assert (chunk.forward_seconds, chunk.input_grad_seconds, chunk.weight_grad_seconds) == (6, 7, 5)


def test_two_stages_run_1f1b() -> None:
    """By hand, cut after two layers: F 2 and B 4 against F 4 and B 8, two micro-batches. Stage 1 runs
    F 2-6, B 6-14, F 14-18, B 18-26; stage 0 ends B at 30. Busy 12 and 24 of 30."""
    price = price_cut(priced(Configuration(pp=2, dp=4)), 0, (0, 3, 6))
    assert price.pipeline_seconds == 30
    assert [stage.busy_seconds for stage in price.stages] == [12, 24]
    assert price.bubble_fraction == pytest.approx(1 - 18 / 30)
    assert price.step_seconds == pytest.approx(30)


def test_recomputed_forward_passes_lengthen_the_backward_pass() -> None:
    """By hand: a second more for each of the four layers and four micro-batches."""
    price = price_cut(priced(Configuration(dp=2), recompute=(0, 1, 0)), 0, (0, 6))
    assert price.pipeline_seconds == 4 * (6 + 12 + 4)
    assert price.stages[0].chunks[0].recompute_seconds == 4


def test_the_hosts_seconds_of_a_micro_batch_are_spread_over_a_stages_passes() -> None:
    """By hand: 8 s a micro-batch and stage are 4 a pass with one chunk, 2 with two."""
    one = priced(Configuration(dp=2), calibration=bare_calibration(microbatch_seconds=8))
    assert price_cut(one, 0, (0, 6)).pipeline_seconds == 4 * (18 + 8)
    configuration = Configuration(pp=2, vp=2, dp=4)
    two = priced(configuration, calibration=bare_calibration(microbatch_seconds=8))
    forward, recompute, input_grad, weight_grad = two.chunk_seconds(0, (0, 2, 3, 4, 6))
    assert forward.tolist() == [1 + 2, 1 + 2, 1 + 2, 3 + 2]
    assert recompute.tolist() == [0, 0, 0, 0]
    assert input_grad.tolist() == [1 + 2, 1 + 2, 1 + 2, 4 + 2]
    assert weight_grad.tolist() == [1, 1, 1, 2]


def test_interleaved_chunks_alternate_between_the_stages() -> None:
    """Chunks 0 and 2 on stage 0, 1 and 3 on stage 1: by hand F 1 + 1 and 1 + 3, twice."""
    step = priced(Configuration(pp=2, vp=2, dp=4))
    price = price_cut(step, 0, (0, 2, 3, 4, 6))
    assert [[c.forward_seconds for c in stage.chunks] for stage in price.stages] == [[1, 1], [1, 3]]
    assert [stage.busy_seconds for stage in price.stages] == [2 * (2 + 4), 2 * (4 + 8)]
    assert [items.tolist() for items in step.stage_items(0, (0, 2, 3, 4, 6))] == [[0, 1, 1], [1, 1, 2]]


def test_weight_gradients_fill_what_two_stages_wait() -> None:
    """By hand, the stages of 1F1B above: stage 1 runs F 2-6, I 6-11, F 11-15, I 15-20, W 20-23, W 23-26; stage 0
    F 0-4, I 11-13, W 13-15, I 20-22, W 22-24. With a second of recompute a layer, I takes 2 more on each."""
    price = price_cut(priced(Configuration(pp=2, dp=4, schedule="zb-h1")), 0, (0, 3, 6))
    assert price.pipeline_seconds == 26
    assert [stage.busy_seconds for stage in price.stages] == [12, 24]
    assert [stage.memory.in_flight for stage in price.stages] == [2, 2]
    again = price_cut(priced(Configuration(pp=2, dp=4, schedule="zb-h1"), recompute=(0, 1, 0)), 0, (0, 3, 6))
    assert again.pipeline_seconds == 26 + 4


def test_a_v_turns_on_the_last_stage_and_ends_on_the_first() -> None:
    """By hand, chunks 0 and 3 on stage 0, 1 and 2 on stage 1: stage 0 F 0-1, 1-2, F3 3-6, I 6-10, W 10-12,
    F3 12-15, I 15-19, W 19-21, I0 21-22, W 22-23, I0 23-24, W 24-25; stage 1 ends its last W at 23."""
    step = priced(Configuration(pp=2, vp=2, dp=4, schedule="zb-v"))
    price = price_cut(step, 0, (0, 2, 3, 4, 6))
    assert [[c.forward_seconds for c in stage.chunks] for stage in price.stages] == [[1, 3], [1, 1]]
    assert [items.tolist() for items in step.stage_items(0, (0, 2, 3, 4, 6))] == [[0, 1, 1, 2], [1, 1]]
    assert price.pipeline_seconds == 25
    assert [stage.busy_seconds for stage in price.stages] == [24, 12]
    assert [stage.memory.in_flight for stage in price.stages] == [3, 4]


def test_tied_embeddings_that_share_a_stage_are_held_once() -> None:
    """By hand: in a V the embedding and the head stand on stage 0; 1F1B's last stage holds a copy."""
    tied = replace(dense_model(), tied_embeddings=True)
    apart = step_model(Configuration(pp=2, dp=4), model=tied).parameters[0]
    together = step_model(Configuration(pp=2, vp=2, dp=4, schedule="v-half"), model=tied).parameters[0]
    assert apart[-1, 0] - together[-1, 0] == PADDED * H
    assert apart[:-1, 0].tolist() == together[:-1, 0].tolist()


@pytest.mark.parametrize(("saved", "peaks"), [(10, [60, 42]), (1, [15, 24])])
def test_what_waits_for_the_weight_gradient_is_in_the_memory_of_its_stage(saved: int, peaks: list[int]) -> None:
    """By hand: zb-h1, two micro-batches, two stages of three items that keep ``saved`` each from F to I and 4 from
    I to W. Stage 0 runs F F I W I W: 30 60 42 30 12 0, and with 1 for 10, 3 6 15 3 12 0; stage 1 runs F I F I
    W W: 30 12 42 24 12 0, and 3 12 15 24 12 0."""
    step = step_model(Configuration(pp=2, dp=4, schedule="zb-h1"))
    ones = np.ones((3, 1))
    step.costs = replace(step.costs, saved_bytes=saved * ones[None], weight_grad_bytes=4 * ones)
    assert [stage.activations_bytes for stage in step.memory(0, (0, 3, 6))] == peaks


# -- links between stages -----------------------------------------------------------------------

MESSAGE = 2.0 * 2048 * H


@pytest.mark.parametrize(
    ("degrees", "nodes", "per_node", "expected"),
    [
        ({"pp": 2, "dp": 4}, 1, 8, [MESSAGE / 100]),  # both stages in one domain
        ({"pp": 2, "dp": 8}, 2, 8, [MESSAGE / 10]),  # a stage a domain
        ({"pp": 4, "dp": 4}, 2, 8, [MESSAGE / 100, MESSAGE / 10, MESSAGE / 100]),  # two stages a domain
        ({"pp": 3, "dp": 2}, 2, 3, [MESSAGE / 10, MESSAGE / 10]),  # ranks 0 1 | 2 3 | 4 5 over 0-2 | 3-5
        ({"pp": 2, "vp": 2, "dp": 4}, 1, 8, [MESSAGE / 100] * 3),
        ({"pp": 2, "vp": 2, "dp": 8}, 2, 8, [MESSAGE / 10] * 3),
        ({"pp": 2, "vp": 2, "dp": 8, "schedule": "zb-v"}, 2, 8, [MESSAGE / 10, 0, MESSAGE / 10]),
        (  # down through 4 stages, two a domain, turned on the last, and back
            {"pp": 4, "vp": 2, "dp": 4, "schedule": "v-min"},
            2,
            8,
            [MESSAGE / 100, MESSAGE / 10, MESSAGE / 100, 0, MESSAGE / 100, MESSAGE / 10, MESSAGE / 100],
        ),
        ({"pp": 2, "dp": 4, "mbs": 2}, 1, 8, [2 * MESSAGE / 100]),
        ({"pp": 2, "cp": 2, "dp": 2}, 1, 8, [MESSAGE / 2 / 100]),
        ({"pp": 2, "tp": 4, "sp": 1}, 1, 8, [MESSAGE / 4 / 100]),
        # without sequence parallelism the four pieces are gathered again: 3/4 of the message
        ({"pp": 2, "tp": 4}, 1, 8, [MESSAGE / 4 / 100 + 3 / 4 * MESSAGE / 100]),
        ({"pp": 2, "tp": 2, "dp": 2}, 1, 8, [MESSAGE / 2 / 100 + 1 / 2 * MESSAGE / 100]),
        ({"pp": 2, "tp": 8}, 2, 8, [MESSAGE / 8 / 10 + 7 / 8 * MESSAGE / 100]),
        ({"pp": 1, "dp": 8}, 1, 8, []),
    ],
)
def test_seconds_from_stage_to_stage(degrees: dict[str, int], nodes: int, per_node: int, expected: list[float]) -> None:
    """By hand: s b h bf16 values, at 100 B/s inside a domain and 10 between, cut over the tensor group
    (Megatron's scatter-gather, arXiv 2104.04473 sec. 4.1)."""
    machine = bare_cluster(nodes, per_node, up=100, out=10)
    step = step_model(Configuration(**degrees), cluster=machine)  # type: ignore[arg-type]
    np.testing.assert_allclose(step.link_seconds(0), expected)


def test_links_lengthen_the_pipeline_and_are_reported_at_the_sender() -> None:
    """By hand: the 30 s of two stages, with 5 s a transfer. Stage 1 runs F 7-11, B 11-19, F 19-23,
    B 23-31; its last gradient arrives at 36 and B ends at 40."""
    machine = bare_cluster(up=MESSAGE / 5)
    price = price_cut(priced(Configuration(pp=2, dp=4), cluster=machine), 0, (0, 3, 6))
    assert price.pipeline_seconds == pytest.approx(40)
    assert [stage.send_seconds for stage in price.stages] == pytest.approx([5, 0])


# -- gradients, optimizer, weights --------------------------------------------------------------


def reduced(step: StepModel, parameters: tuple[float, float, float]) -> StepModel:
    """With the parameters of embedding, layer and head set."""
    step.__dict__["parameters"] = (column(*parameters), column(0, 0, 0))
    return step


def test_gradients_reduced_after_the_backward_pass_cost_their_whole_time() -> None:
    """By hand, ZeRO 1 over two replicas: half of 4 bytes a parameter reduced, half of 2 gathered, at
    10 bytes/s: 60 parameters are 12 s and 6 s. The update moves 30 bytes for each of 30 at 100 bytes/s."""
    machine = bare_cluster(gpus_per_node=2, up=10, memory=100)
    job = replace(JOB, gradient_overlap=False)
    step = reduced(priced(Configuration(dp=2), cluster=machine, job=job), (10, 10, 10))
    price = price_cut(step, 0, (0, 6))
    assert price.gradient_seconds == pytest.approx(12)
    assert price.parameter_seconds == pytest.approx(6)
    assert price.optimizer_seconds == pytest.approx(9)
    assert price.step_seconds == pytest.approx(72 + 12 + 9 + 6)


def test_overlapped_gradients_expose_the_last_items_share_and_what_outlasts_the_backward_pass() -> None:
    """By hand, six items: 1/6 of the 24 s is late; 20 s run beside 10 of the 12 backward seconds: 10
    outlast, 10 hidden slow it by a quarter. Weights: 2 of 12 s late, 10 beside 5 forward seconds."""
    machine = bare_cluster(gpus_per_node=2, up=5)
    step = priced(Configuration(dp=2), cluster=machine, calibration=bare_calibration(overlap_contention=0.25))
    price = price_cut(reduced(step, (10, 10, 10)), 0, (0, 6))
    assert price.gradient_seconds == pytest.approx(4 + 10 + 2.5)
    assert price.parameter_seconds == pytest.approx(2 + 5 + 1.25)


def test_a_stages_gradients_count_from_when_it_ends() -> None:
    """By hand: stage 1 of two ends at 26 of 30. Reducing 3 x 10 parameters of 4 bytes over four
    replicas, 3/4 of 120 at 30 bytes/s, takes 3 s on stage 0; stage 1's head of 80 makes it 10 s, done
    at 36: 6 s after the pipeline. Optimizer and gather are the slower stage's."""
    machine = bare_cluster(up=30, memory=25)
    job = replace(JOB, gradient_overlap=False)
    step = reduced(priced(Configuration(pp=2, dp=4), cluster=machine, job=job), (10, 10, 80))
    step.__dict__["link_seconds"] = lambda index: np.zeros(1)
    price = price_cut(step, 0, (0, 3, 6))
    assert price.pipeline_seconds == 30
    assert price.gradient_seconds == pytest.approx(6)
    assert price.optimizer_seconds == pytest.approx(30 * 100 / 4 / 25)
    assert price.parameter_seconds == pytest.approx(3 / 4 * 200 / 30)
    assert [stage.dense_parameters for stage in price.stages] == [30, 100]


def test_a_late_first_stage_is_the_end_of_the_pipeline() -> None:
    """By hand: stage 0's own reduction of 3 s starts at 30, stage 1's at 26 ends first."""
    machine = bare_cluster(up=30)
    job = replace(JOB, gradient_overlap=False)
    step = reduced(priced(Configuration(pp=2, dp=4), cluster=machine, job=job), (10, 10, 10))
    step.__dict__["link_seconds"] = lambda index: np.zeros(1)
    assert price_cut(step, 0, (0, 3, 6)).gradient_seconds == pytest.approx(3)


def test_stragglers_and_the_hosts_step_are_overhead() -> None:
    """By hand: 32 nodes are 5 doublings of a node, 1 % each; 7 s once a step, not slowed."""
    calibration = bare_calibration(straggler_fraction_per_doubling=0.01, step_seconds=7)
    job = replace(JOB, global_batch=256 * 4)
    step = priced(Configuration(dp=256), cluster=bare_cluster(32), calibration=calibration, job=job)
    price = price_cut(step, 0, (0, 6))
    assert step.straggler == pytest.approx(1.05)
    assert price.overhead_seconds == pytest.approx(7 + 0.05 * 72)
    assert price.step_seconds == pytest.approx(1.05 * 72 + 7)
    assert step_model(Configuration(dp=8), calibration=calibration).straggler == 1


def test_exposed_communication_is_the_fullest_stages_over_all_micro_batches() -> None:
    """By hand: all-reduces of s b h bf16 between two tensor ranks at 1 byte/s. Each layer has four;
    the embedding and the head one each: 3 layers and the head are 13, the other stage 1 + 4."""
    machine = bare_cluster(gpus_per_node=4, up=1)
    price = price_step(dense_model(), machine, JOB, bare_calibration(), Configuration(tp=2, pp=2), (0, 2, 6))
    assert price.exposed_seconds["tensor"] == pytest.approx(8 * 13 * MESSAGE)
    assert price.exposed_seconds["context"] == price.exposed_seconds["expert"] == 0


# -- sharded states, every micro-batch ----------------------------------------------------------


@pytest.mark.parametrize(
    ("zero", "fraction", "forward", "backward"),
    [
        (1, 0.0, 0, 0),
        (2, 0.0, 0, 20 - 12),  # gradients in bf16 scattered once; all but 12 s hidden
        (3, 0.0, 20 - 4, 40 - 12),  # weights gathered in both passes as well
        (3, 0.9, 18, 36),  # at least this share is exposed
    ],
)
def test_zero_2_and_3_move_states_in_every_micro_batch(
    zero: int, fraction: float, forward: float, backward: float
) -> None:
    """By hand: 80 parameters of 2 bytes over eight replicas, 7/8 of 160 bytes at 7 bytes/s, 20 s a
    collective beside 4 s of forward and 12 s of backward computation (2 of them recompute)."""
    machine = bare_cluster(up=7)
    calibration = bare_calibration(fsdp_exposed_fraction=fraction)
    step = step_model(Configuration(dp=8, zero=zero, recompute="full"), cluster=machine, calibration=calibration)
    step.__dict__["parameters"] = (column(80, 80, 80), column(0, 0, 0))
    shape = step.costs.forward_seconds.shape
    step.costs = replace(
        step.costs,
        forward_seconds=np.full(shape, 4.0),
        input_grad_seconds=np.full(shape, 7.0),
        weight_grad_seconds=np.full(shape, 3.0),
        recompute_seconds=np.full((1, *shape), 2.0),
    )
    assert step.forward_seconds[:, 0] == pytest.approx([4 + forward] * 3)
    recompute, input_grad, weight_grad = step.backward_parts
    assert (recompute[1, 0], input_grad[1, 0]) == (2, 7)
    assert weight_grad[:, 0] == pytest.approx([3 + backward] * 3)
    assert step.backward_seconds[:, 0] == pytest.approx([12 + backward] * 3)


# -- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("pp", "tied", "copies"), [(1, True, 1), (1, False, 2), (2, True, 2), (2, False, 2)])
def test_tied_embeddings_are_held_once_where_one_stage_has_both(pp: int, tied: bool, copies: int) -> None:
    """By hand, tp = 2: half of the padded rows each time; the head also holds the final norm."""
    model = replace(dense_model(), tied_embeddings=tied)
    step = step_model(Configuration(tp=2, pp=pp), model=model, cluster=bare_cluster(gpus_per_node=2 * pp))
    dense, experts = step.parameters
    assert dense[0, 0] == -(-V // 256) * 256 / 2 * H
    assert dense[0, 0] + dense[-1, 0] == copies * dense[0, 0] + H
    assert not experts.any()


@pytest.mark.parametrize(("pp", "copies"), [(1, 2), (2, 3)])
def test_prediction_layers_copy_the_input_embedding_to_the_last_stage(pp: int, copies: int) -> None:
    """DeepSeek-V3 (arXiv 2412.19437 sec. 2.2) shares embedding and head: physically so on one stage,
    a copy of the input embedding beside the head on another."""
    step = step_model(Configuration(pp=pp), model=moe_model(mtp=1), cluster=bare_cluster(gpus_per_node=pp))
    dense = step.parameters[0][:, 0]
    assert dense[0] + dense[-1] == copies * V * H + H


# -- memory -------------------------------------------------------------------------------------


def held(
    configuration: Configuration, cut: tuple[int, ...], lookup: float = 0.0, **figures: float
) -> list[dict[str, float]]:
    """Stages' memory with whole bytes per item: embedding, layer, head."""
    step = step_model(configuration, calibration=bare_calibration(**figures))
    step.__dict__.update(
        saved_bytes=column(1, 10, 100),
        state=StateBytes(weights=column(3, 5, 7), gradients=column(30, 50, 70), optimizer=column(300, 500, 700)),
        transient_bytes=column(9, 4, 6),
        logit_bytes=np.array([1000.0]),
        lookup_gradient_bytes=np.array([lookup]),
    )
    names = ("weights", "gradients", "optimizer", "activations", "workspace", "runtime")
    return [
        {**{n: getattr(m, f"{n}_bytes") for n in names}, "in_flight": m.in_flight, "peak": m.peak_bytes}
        for m in step.memory(0, cut)
    ]


def test_a_stage_keeps_as_many_micro_batches_as_1f1b_leaves_in_flight() -> None:
    """By hand, p = 4: min(m, 4 - i) micro-batches of 1 + 10, 10, 10 and 10 + 100 bytes."""
    eight = held(Configuration(pp=4, dp=1), (0, 2, 3, 4, 6))
    assert [m["in_flight"] for m in eight] == [4, 3, 2, 1]
    assert [m["activations"] for m in eight] == [44, 30, 20, 110]
    two = held(Configuration(pp=4, dp=4), (0, 2, 3, 4, 6))
    assert [m["activations"] for m in two] == [22, 20, 20, 110]


def test_states_add_up_and_work_space_is_the_largest_items() -> None:
    """By hand: fixed work space 2000, the larger transient, logits on the stage with the head alone;
    20 % of all that is lost to fragments, beside 500 of the runtime."""
    first, last = held(
        Configuration(pp=2, dp=4), (0, 3, 6), workspace_bytes=2000, runtime_bytes=500, allocator_fraction=0.2
    )
    assert (first["weights"], first["gradients"], first["optimizer"]) == (13, 130, 1300)
    assert (last["weights"], last["gradients"], last["optimizer"]) == (17, 170, 1700)
    assert (first["workspace"], last["workspace"]) == (2000 + 9, 2000 + 6 + 1000)
    allocated = 13 + 130 + 1300 + 2 * 21 + 2009
    assert first["runtime"] == pytest.approx(500 + 0.2 * allocated)
    assert first["peak"] == pytest.approx(500 + 1.2 * allocated)
    assert last["activations"] == 120


def test_one_stage_holds_logits_too() -> None:
    (only,) = held(Configuration(dp=8), (0, 6))
    assert only["workspace"] == 9 + 1000
    assert only["activations"] == 1 + 40 + 100


def test_the_lookups_gradient_follows_the_micro_batchs_activations() -> None:
    """By hand: 500 bytes of it, less the 1 + 10 that its micro-batch has released, on the first stage alone."""
    first, last = held(Configuration(pp=2, dp=4), (0, 2, 6), lookup=500.0)
    assert (first["workspace"], last["workspace"]) == (500 - 11, 6 + 1000)


def test_logits_take_work_space_by_token_and_local_column() -> None:
    """By hand: 6 bytes x 2 sequences x 2048 / 2 tokens x half of the padded 32,000 columns."""
    calibration = bare_calibration(logit_workspace_bytes_per_element=6)
    step = step_model(Configuration(tp=2, cp=2, dp=2, mbs=2), calibration=calibration)
    assert step.logit_bytes[0] == 6 * 2 * 2048 / 2 * (32000 / 2)


def test_a_fused_loss_keeps_the_logits_alone() -> None:
    """By hand, tp = 2: 2 bytes a token and padded local column instead of the calibrated 7."""
    plain, fused = (
        step_model(
            Configuration(tp=2, dp=4),
            job=replace(JOB, fused_loss=f),
            calibration=bare_calibration(logit_workspace_bytes_per_element=7),
        )
        for f in (False, True)
    )
    logits = JOB.sequence_length * -(-V // 256) * 256 / 2
    assert (plain.logit_bytes[0], fused.logit_bytes[0]) == (7 * logits, 2 * logits)


def test_pytorchs_loss_keeps_three_tensors_of_fp32() -> None:
    """By hand, tp = 2: 12 bytes a token and padded local column, whatever Megatron-LM's loss takes."""
    calibration = bare_calibration(logit_workspace_bytes_per_element=7)
    step = step_model(Configuration(tp=2, dp=4), job=replace(JOB, software="pytorch"), calibration=calibration)
    assert step.logit_bytes[0] == 12 * JOB.sequence_length * -(-V // 256) * 256 / 2


@pytest.mark.parametrize(("sync", "mbs", "shards"), [("step", 1, 1), ("step", 4, 2), ("microbatch", 1, 2)])
def test_gradients_stay_whole_only_between_micro_batches(sync: str, mbs: int, shards: int) -> None:
    """Eight sequences over two replicas: four micro-batches of one, or one of four, which is reduced at once."""
    job = replace(JOB, global_batch=8, gradient_sync=sync)  # type: ignore[arg-type]
    step = step_model(Configuration(dp=2, zero=3, mbs=mbs), job=job)
    dense, experts = step.parameters
    assert step.state.gradients.sum() == pytest.approx(4 * (dense + experts).sum() / shards)


def test_offloaded_layers_keep_no_activations_on_the_gpu() -> None:
    """By hand: of four layers three wait in host memory; embedding and head stay."""
    kept, offloaded = (
        step_model(Configuration(dp=8), job=replace(JOB, dropout=True, offloaded_layers=n)) for n in (0, 3)
    )
    np.testing.assert_allclose(offloaded.saved_bytes[:, 0], kept.saved_bytes[:, 0] * [1, 1 / 4, 1])
    assert offloaded.saved_bytes[0, 0] > 0


@pytest.mark.parametrize("zero", [1, 3])
def test_transient_bytes_of_an_item(zero: int) -> None:
    """By hand: 3 bytes per element of a layer's widest weight (none for embedding and head); what full
    recompute rebuilds; under ZeRO 3 two items' bf16 weights."""
    calibration = bare_calibration(weight_workspace_bytes_per_element=3)
    step = step_model(Configuration(dp=8, zero=zero, recompute="full"), calibration=calibration)
    shape = step.costs.forward_seconds.shape
    step.costs = replace(
        step.costs,
        widest_weight=np.full(shape, 11.0),
        rebuilt_bytes=column(0, 60, 0)[None],
    )
    step.__dict__["parameters"] = (column(100, 200, 300), column(0, 1000, 0))
    gathered = np.array([400, 4800, 1200]) if zero == 3 else np.zeros(3)
    np.testing.assert_allclose(step.transient_bytes[:, 0], np.array([0, 33 + 60, 0]) + gathered)


def test_the_allocator_gets_what_reserve_runtime_and_fragments_leave() -> None:
    """By hand: (80 - 4 - 6) GB over 1.25."""
    step = step_model(
        Configuration(dp=8),
        cluster=bare_cluster(memory_bytes=80e9, reserve_bytes=4e9),
        calibration=bare_calibration(runtime_bytes=6e9, allocator_fraction=0.25),
    )
    assert step.allocatable_bytes == pytest.approx(56e9)


def test_states_follow_the_jobs_gradient_precision() -> None:
    step = step_model(Configuration(dp=8), job=replace(JOB, gradients="bf16"))
    assert step.state.gradients[1, 0] == 2 * step.parameters[0][1, 0]


# -- some of many configurations ----------------------------------------------------------------


def test_taking_some_configurations_keeps_each_ones_prices() -> None:
    """Second method: the same configuration priced alone; every cached table is cut anew."""
    machine = replace(
        bare_cluster(flops=1e12, memory=1e12, up=1e11, out=1e10),
        scale_out=Link(bytes_per_second=1e10, latency_seconds=1e-6),
    )
    rows = [
        Configuration(dp=8, zero=3),
        Configuration(tp=2, dp=4, mbs=2, recompute="full"),
        Configuration(tp=4, sp=1, pp=2, zero=0),
    ]
    step = StepModel(moe_model(), machine, JOB, bare_calibration(), Columns.of(rows))
    tables = ("forward_seconds", "backward_seconds", "saved_bytes", "transient_bytes", "logit_bytes")
    for name in tables:
        getattr(step, name)  # cached before the cut
    part = step.take(np.array([2, 1]))
    for index, row in enumerate((rows[2], rows[1])):
        alone = StepModel(moe_model(), machine, JOB, bare_calibration(), Columns.of([row]))
        assert part.columns.row(index) == row
        assert part.microbatches[index] == alone.microbatches[0]
        for name in tables:
            np.testing.assert_array_equal(getattr(part, name)[..., index], getattr(alone, name)[..., 0])
        cut = (0, 6) if row.pp == 1 else (0, 3, 6)
        assert price_cut(part, index, cut) == price_cut(alone, 0, cut)


@pytest.mark.parametrize("microbatches", [3, 44, 49])
def test_one_stage_has_no_bubble_and_no_less(microbatches: int) -> None:
    """A single stage is always busy; sums of many passes must not round to a bubble below nothing."""
    job = Job(global_batch=2 * microbatches, sequence_length=2048)
    configuration = Configuration(tp=4, sp=1, dp=2, recompute="full")
    found = price_step(
        dense_model(), cluster(nodes=1), job, load_calibration(cluster(nodes=1).gpu), configuration, (0, 6)
    )
    assert found.bubble_fraction == pytest.approx(0.0, abs=1e-12)
    assert found.bubble_fraction >= 0.0
