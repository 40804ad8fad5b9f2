"""Unlike machines and links: against the price on equal ones, and against steps put together by hand."""

from dataclasses import replace

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground, PipelineRow, covered, edge_between, even_ground, undominated
from costmodels.ground_step import GroundModel
from costmodels.hardware import Cluster, Link
from costmodels.price import StepPrice
from costmodels.step_price import price_cut, price_step
from costmodels.timeline import schedule_order, simulate
from tests.machines import H100, cluster, dense_model, moe_model

JOB = Job(global_batch=16, sequence_length=2048)
DENSE, CALIBRATION = dense_model(layers=8), load_calibration(H100)
CUT = (0, 3, 5, 7, 10)
SLOW, FAST = Link(bytes_per_second=5e9, latency_seconds=5e-6), Link(bytes_per_second=50e9, latency_seconds=5e-6)


def nodes(link: Link = FAST, count: int = 4) -> Cluster:
    return replace(cluster(nodes=count), scale_out=link)


def on(configuration: Configuration, ground: Ground, cut: tuple[int, ...] = CUT) -> StepPrice:
    return model_on(configuration, ground).price(cut).step


def model_on(configuration: Configuration, ground: Ground) -> GroundModel:
    return GroundModel(DENSE, JOB, configuration, ground, [CALIBRATION] * len(ground.machines))


@pytest.mark.parametrize(
    ("configuration", "cut"),
    [
        (Configuration(tp=2, sp=1, pp=4, dp=4), CUT),
        (Configuration(tp=2, sp=1, pp=4, dp=4, zero=3, recompute="full"), CUT),
        (Configuration(tp=2, sp=1, cp=2, pp=4, dp=2, mbs=2), CUT),
        (Configuration(tp=2, sp=1, pp=4, dp=4, recompute="full:fit"), CUT),
        (Configuration(tp=8, sp=1, pp=2, dp=2, vp=2), CUT),
        (Configuration(tp=8, sp=1, pp=2, dp=2, vp=2, schedule="zb-v"), CUT),
        (Configuration(tp=8, sp=1, pp=4, schedule="zb-h1"), CUT),
        (Configuration(tp=8, sp=1, dp=4), (0, 10)),
    ],
)
def test_on_even_ground_a_step_is_that_of_equal_machines(configuration: Configuration, cut: tuple[int, ...]) -> None:
    expected = price_step(DENSE, nodes(), JOB, CALIBRATION, configuration, cut)
    assert on(configuration, even_ground(nodes(), configuration, JOB), cut) == expected


def test_experts_on_even_ground() -> None:
    model, configuration = moe_model(), Configuration(tp=2, sp=1, pp=2, dp=8, ep=8)
    cut = (0, 2, len(model.layers) + 2)
    expected = price_step(model, nodes(), JOB, CALIBRATION, configuration, cut)
    found = GroundModel(model, JOB, configuration, even_ground(nodes(), configuration, JOB), [CALIBRATION])
    assert found.price(cut).step == expected


FOUR = Configuration(tp=8, sp=1, pp=4)
TWO_BY_FOUR = Configuration(tp=4, sp=1, pp=4, dp=2)


def rows(*edges: tuple[Link, Link, Link], microbatches: tuple[int, ...] = (8, 8)) -> tuple[PipelineRow, ...]:
    return tuple(
        PipelineRow(replicas=1, microbatches=m, machines=(0,) * 4, edges=own)
        for own, m in zip(edges, microbatches, strict=True)
    )


def test_the_slowest_row_ends_the_step() -> None:
    """A second method: rows with equal edges are pipelines of clusters with that link, but for the gradients, whose
    link stays."""
    machine = nodes()
    mixed = Ground(machines=(machine,), states=(FAST,) * 4, rows=rows((FAST,) * 3, (SLOW,) * 3))
    fast = Ground(machines=(machine,), states=(FAST,) * 4, rows=rows((FAST,) * 3, (FAST,) * 3))
    slow = Ground(machines=(machine,), states=(FAST,) * 4, rows=rows((SLOW,) * 3, (SLOW,) * 3))
    assert on(TWO_BY_FOUR, mixed) == on(TWO_BY_FOUR, slow)
    assert on(TWO_BY_FOUR, mixed).step_seconds > on(TWO_BY_FOUR, fast).step_seconds
    assert on(TWO_BY_FOUR, fast) == price_step(DENSE, machine, JOB, CALIBRATION, TWO_BY_FOUR, CUT)


def test_each_edge_has_its_own_link() -> None:
    """The links of two uniform clusters, edge by edge."""
    machine = nodes()
    ground = Ground(machines=(machine,), states=(FAST,) * 4, rows=rows((FAST, SLOW, FAST), (FAST,) * 3))
    by_link = {
        link: model_on(TWO_BY_FOUR, even_ground(nodes(link), TWO_BY_FOUR, JOB)).links(0) for link in (FAST, SLOW)
    }
    found = model_on(TWO_BY_FOUR, ground).links(0)
    assert found.tolist() == [by_link[FAST][0], by_link[SLOW][1], by_link[FAST][2]]


def test_gradients_go_over_the_link_of_their_stage() -> None:
    """Without overlap a stage's reduction is that of a cluster with its link; the last to end counts."""
    job = replace(JOB, gradient_overlap=False)
    machine = nodes()
    ground = Ground(machines=(machine,), states=(SLOW, FAST, FAST, FAST), rows=rows(*[(FAST,) * 3] * 2))
    found = GroundModel(DENSE, job, TWO_BY_FOUR, ground, [CALIBRATION])
    by_link = {
        link: GroundModel(DENSE, job, TWO_BY_FOUR, even_ground(nodes(link), TWO_BY_FOUR, job), [CALIBRATION])
        for link in (FAST, SLOW)
    }
    gradients = found.pieces(0, CUT).gradient.tolist()
    assert gradients[0] == by_link[SLOW].pieces(0, CUT).gradient[0]
    assert gradients[1:] == by_link[FAST].pieces(0, CUT).gradient[1:].tolist()


def test_stages_on_unlike_machines_run_at_their_own_speed() -> None:
    """Chunk by chunk the seconds of a cluster of that GPU; the schedule is simulated from those by hand."""
    half = replace(H100, name="half", peak_flops={k: v / 2 for k, v in H100.peak_flops.items()}, memory_bytes=40e9)
    new, old = nodes(), replace(nodes(), gpu=half)
    row = PipelineRow(replicas=1, microbatches=16, machines=(0, 0, 1, 1), edges=(FAST,) * 3)
    ground = Ground(machines=(new, old), states=(FAST,) * 4, rows=(row,))
    price = model_on(FOUR, ground).price(CUT)
    alone = [price_step(DENSE, machine, JOB, CALIBRATION, FOUR, CUT) for machine in (new, old)]
    expected = [alone[0].stages[0], alone[0].stages[1], alone[1].stages[2], alone[1].stages[3]]
    assert [stage.chunks for stage in price.step.stages] == [stage.chunks for stage in expected]
    passes = [stage.chunks[0] for stage in expected]
    forward = [c.forward_seconds for c in passes]
    backward = [c.recompute_seconds + c.input_grad_seconds + c.weight_grad_seconds for c in passes]
    links = [stage.send_seconds for stage in expected[:3]]
    timeline = simulate(schedule_order("1f1b", 4, 1, 16), np.array(forward), np.array(backward), links)
    assert price.step.pipeline_seconds == pytest.approx(float(timeline.makespan_seconds), rel=1e-12)
    over = max(s.memory.peak_bytes - m.capacity_bytes for s, m in zip(expected, (new, new, old, old), strict=True))
    assert price.over_bytes == over


def test_rows_may_run_unlike_numbers_of_micro_batches() -> None:
    """Ten and six of the sixteen micro-batches: the step of ten on every pipeline, which has twenty in all."""
    ground = Ground(machines=(nodes(),), states=(FAST,) * 4, rows=rows(*[(FAST,) * 3] * 2, microbatches=(10, 6)))
    more = replace(JOB, global_batch=20)
    expected = price_step(DENSE, nodes(), more, CALIBRATION, TWO_BY_FOUR, CUT)
    assert on(TWO_BY_FOUR, ground).step_seconds == pytest.approx(expected.step_seconds, rel=1e-12)


def test_a_ground_that_does_not_suit_says_all_that_is_wrong() -> None:
    bad = Ground(
        machines=(nodes(),),
        states=(FAST,) * 3,
        rows=(PipelineRow(replicas=3, microbatches=4, machines=(0, 0, 1, 0), edges=(FAST,)),),
    )
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - all messages are looked at
        model_on(TWO_BY_FOUR, bad)
    assert str(caught.value).split("; ") == [
        "states: 3 links for 4 stages",
        "one a stage",
        "rows[0].machines: (0, 0, 1, 0): not 4 of 1 machines",
        "rows[0].edges: 1 for 4 stages",
        "it needs 3",
        "rows: 3 pipelines for dp=2",
        "rows: 12 sequences in all, the global batch has 16",
    ]


def test_a_split_vocabulary_and_made_orders_are_refused() -> None:
    for other in (replace(FOUR, vocabulary="vocab-1"), replace(FOUR, schedule="best")):
        assert "equal machines alone" in even_ground(nodes(), other, JOB).problems(other, JOB)[0]


def ground_of(own: tuple[PipelineRow, ...], *more: Cluster) -> Ground:
    return Ground(machines=(nodes(), *more), states=(FAST,) * 4, rows=own)


def test_rows_that_another_covers_cannot_be_the_slowest() -> None:
    own = rows((FAST, SLOW, FAST), (FAST,) * 3, (SLOW, FAST, FAST), (FAST, SLOW, FAST), microbatches=(8, 8, 8, 8))
    assert undominated(ground_of(own)) == [0, 2]
    fewer = rows((FAST, SLOW, FAST), (FAST, SLOW, FAST), microbatches=(7, 8))
    assert undominated(ground_of(fewer)) == [1]


def test_a_machine_with_slower_links_covers_its_like_alone() -> None:
    own = rows((FAST, SLOW, FAST), (FAST,) * 3)
    other_gpu = replace(nodes(), gpu=replace(H100, name="other", memory_bytes=90e9))
    for machine, kept in ((nodes(SLOW), [0, 1]), (nodes(Link(bytes_per_second=9e10, latency_seconds=0.0)), [0])):
        elsewhere = (own[0], replace(own[1], machines=(1, 0, 0, 0)))
        assert undominated(ground_of(elsewhere, machine)) == kept
    assert undominated(ground_of((own[0], replace(own[1], machines=(1, 0, 0, 0))), other_gpu)) == [0, 1]


def test_pipelines_that_others_cover_are_counted_with_them_at_the_same_price() -> None:
    own = rows((FAST,) * 3, (FAST, SLOW, FAST))
    unused = nodes(SLOW)
    whole = Ground(
        machines=(unused, nodes()), states=(FAST,) * 4, rows=tuple(replace(r, machines=(1,) * 4) for r in own)
    )
    less = covered(whole)
    assert less == Ground(machines=(nodes(),), states=(FAST,) * 4, rows=(replace(own[1], replicas=2),))
    assert on(TWO_BY_FOUR, less) == on(TWO_BY_FOUR, whole)


def test_edges_lead_to_the_next_stage_and_back_to_the_first() -> None:
    assert [edge_between(a, b, 4) for a, b in ((0, 1), (2, 1), (2, 3), (3, 0))] == [0, 1, 2, 3]


def test_pipelines_of_a_machine_of_their_own_reduce_gradients_across_machines() -> None:
    """Two pipelines of one node each: of four GPUs a stage, all of the other stage's lie in another domain; the
    reduction is that of a cluster whose domains hold those four alone, over the link of the stage."""
    job = replace(JOB, gradient_overlap=False)
    one, other = nodes(), replace(nodes(), name="other")
    alike = tuple(PipelineRow(replicas=1, microbatches=8, machines=(k,) * 4, edges=(FAST,) * 3) for k in (0, 1))
    ground = Ground(machines=(one, other), states=(SLOW,) * 4, rows=alike)
    found = GroundModel(DENSE, job, TWO_BY_FOUR, ground, [CALIBRATION] * 2).pieces(0, CUT).gradient
    apart = replace(nodes(SLOW), domain_gpus=4)
    expected = GroundModel(DENSE, job, TWO_BY_FOUR, even_ground(apart, TWO_BY_FOUR, job), [CALIBRATION])
    assert found.tolist() == expected.pieces(0, CUT).gradient.tolist()
    near = GroundModel(DENSE, job, TWO_BY_FOUR, even_ground(nodes(SLOW), TWO_BY_FOUR, job), [CALIBRATION])
    assert (found > near.pieces(0, CUT).gradient).all()


def test_stages_of_unlike_machines_never_share_an_nvlink_domain() -> None:
    """Stages of two GPUs: four of them share a node, unless the machine ends; then the edge is one between nodes."""
    small = Configuration(tp=2, sp=1, pp=4)
    one, other = nodes(), replace(nodes(), name="other")
    row = PipelineRow(replicas=1, microbatches=16, machines=(0, 0, 0, 1), edges=(FAST,) * 3)
    mixed = GroundModel(
        DENSE, JOB, small, Ground(machines=(one, other), states=(FAST,) * 4, rows=(row,)), [CALIBRATION] * 2
    ).links(0)
    near = model_on(small, even_ground(nodes(), small, JOB)).links(0)
    wide = replace(small, dp=4)  # a node a stage, the same message
    far = model_on(wide, even_ground(nodes(), wide, JOB)).links(0)
    assert mixed.tolist() == [near[0], near[1], far[2]]
    assert far[2] > near[2]


def test_a_row_alone_is_priced_as_in_the_whole() -> None:
    """Two rows of unlike machines and edges: each as ``GroundModel`` prices it, where no other's update is longer."""
    half = replace(H100, name="half", peak_flops={k: v / 2 for k, v in H100.peak_flops.items()})
    own = (
        PipelineRow(replicas=1, microbatches=9, machines=(0, 1, 0, 1), edges=(FAST, SLOW, FAST)),
        PipelineRow(replicas=1, microbatches=7, machines=(1, 1, 0, 0), edges=(SLOW, FAST, FAST)),
    )
    ground = Ground(machines=(nodes(), replace(nodes(), gpu=half)), states=(FAST, SLOW, FAST, FAST), rows=own)
    model = model_on(TWO_BY_FOUR, ground)
    whole = model.price(CUT)
    for one in whole.rows:
        alone = price_cut(model.row_step(one.row), 0, CUT)
        assert alone.pipeline_seconds == one.step.pipeline_seconds
        assert alone.gradient_seconds == one.step.gradient_seconds
        assert alone.stages == one.step.stages
        assert alone.step_seconds <= one.step.step_seconds
