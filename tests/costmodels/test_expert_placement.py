"""A placed layer against the layer model at even routing, and its busiest links counted by hand."""

import numpy as np
import pytest

from costmodels.calibration import Calibration, load_calibration
from costmodels.configuration import Dispatch, Job
from costmodels.expert_placement import PlacedLayer
from costmodels.layers import LayerBuilder
from costmodels.operators import System
from costmodels.sharding import Shards
from tests.machines import cluster, moe_model

MODEL = moe_model(2, experts=16)
TOKENS = 1024


def layer(nodes: int = 2, gpus_per_node: int = 4, dispatch: Dispatch = "all-to-all") -> PlacedLayer:
    machine = cluster(nodes, gpus_per_node)
    return PlacedLayer(
        MODEL,
        machine,
        load_calibration(machine.gpu),
        gpus=nodes * gpus_per_node,
        tokens_per_gpu=TOKENS,
        dispatch=dispatch,
    )


def without_own_part(placed: PlacedLayer) -> Calibration:
    return placed.calibration.adjusted(kind="assumed", source="test", own_part_fraction=0.0)


def even(of: PlacedLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares, and parts of tokens on GPUs and domains, of k independent even draws."""
    n, domains, k = of.gpus, of.domains, of.block.top_k
    return (
        np.full((1, n), 1 / n),
        np.full((1, n), 1 - (1 - 1 / n) ** k),
        np.full((1, domains), 1 - (1 - 1 / domains) ** k),
    )


@pytest.mark.parametrize("dispatch", ["all-to-all", "deduplicated"])
@pytest.mark.parametrize(("nodes", "gpus_per_node"), [(1, 8), (2, 4), (4, 2), (8, 1), (1, 1)])
def test_even_routing_costs_what_the_layer_model_says(nodes: int, gpus_per_node: int, dispatch: Dispatch) -> None:
    """Second method: the operators of ``LayerBuilder.moe`` for the same degree, and the host's share of routing."""
    machine, placed = cluster(nodes, gpus_per_node), layer(nodes, gpus_per_node, dispatch)
    one = np.ones(1, dtype=np.int64)
    job = Job(global_batch=8, sequence_length=TOKENS, dispatch=dispatch)
    system = System.of(machine, load_calibration(machine.gpu), job)
    shards = Shards(tp=one, sp=0 * one, cp=one, ep=placed.gpus * one, etp=one, mbs=one)
    operators = LayerBuilder(MODEL.hidden, job, shards, system).moe(placed.block)
    seconds = sum(float(operator.passes(system).forward[0]) for operator in operators)
    seconds += system.calibration.moe_layer_seconds
    found = placed.seconds(16 // placed.gpus, *even(placed))
    assert found.total[0] == pytest.approx(seconds, rel=1e-12)
    assert min(found.experts[0], found.rest[0]) > 0
    assert (found.exchange[0] > 0) == (placed.gpus > 1)


def test_the_busiest_gpu_computes_as_the_layer_model_does_with_its_imbalance() -> None:
    """Second method: ``expert_imbalance`` of the job; half of all copies on one of eight GPUs is 4 times the mean."""
    machine, placed = cluster(2, 4), layer()
    one = np.ones(1, dtype=np.int64)
    job = Job(global_batch=8, sequence_length=TOKENS, expert_imbalance=4.0)
    system = System.of(machine, load_calibration(machine.gpu), job)
    shards = Shards(tp=one, sp=0 * one, cp=one, ep=8 * one, etp=one, mbs=one)
    operators = LayerBuilder(MODEL.hidden, job, shards, system).moe(placed.block)
    kernels = sum(float(op.passes(system).forward[0]) for op in operators if op.work != "expert")
    found = placed.seconds(2, np.array([[0.5, *[0.5 / 7] * 7]]))
    assert found.experts[0] + found.rest[0] == pytest.approx(kernels + system.calibration.moe_layer_seconds, rel=1e-12)


def test_links_of_every_copy_by_hand() -> None:
    """Shares 3/8, 1/8, 1/8, 1/8 | 1/16 x 4, in units of the 8 x 1024 x 2 copies, without own parts. The first GPU takes
    in 3/8 x 3/8 of them over NVLink and 3/8 x 4/8 over its NICs."""
    placed = layer()
    placed.calibration = without_own_part(placed)
    near, far = placed.traffic(np.array([[6, 2, 2, 2, 1, 1, 1, 1]]) / 16, None, None)
    unit = 8 * TOKENS * placed.block.top_k * 2 * MODEL.hidden
    assert near[0] / unit == pytest.approx(3 / 8 * 3 / 8)
    assert far[0] / unit == pytest.approx(3 / 8 * 4 / 8)


def test_no_gpu_sends_more_than_the_busiest_receives() -> None:
    """Second method: what every GPU sends, summed over where its copies go, for random shares."""
    placed = layer(4, 2)
    placed.calibration = without_own_part(placed)
    unit = TOKENS * placed.block.top_k * 2 * MODEL.hidden
    for shares in np.random.default_rng(1).dirichlet(np.full(8, 0.7), 200):
        near, far = placed.traffic(shares[None], None, None)
        for gpu in range(8):
            away = sum(shares[other] for other in range(8) if other // 2 != gpu // 2)
            beside = sum(shares[other] for other in range(8) if other // 2 == gpu // 2 and other != gpu)
            assert away * unit <= far[0] * (1 + 1e-12)
            assert beside * unit <= near[0] * (1 + 1e-12)


def test_links_of_merged_copies_by_hand() -> None:
    """Half of all tokens need the first GPU, 5/6 its domain and 1/2 the other: NVLink brings 7/8 of 4096 tokens to that
    GPU, and the NICs of its domain 5/6 of the other domain's 4096 tokens, a quarter each."""
    placed = layer(dispatch="deduplicated")
    placed.calibration = without_own_part(placed)
    shares = np.full((1, 8), 1 / 8)
    near, far = placed.traffic(shares, np.array([[0.5, *[0.25] * 7]]), np.array([[5 / 6, 0.5]]))
    token = 2 * MODEL.hidden
    assert near[0] / token == pytest.approx(0.5 * 8 * TOKENS * 7 / 8)
    assert far[0] / token == pytest.approx(5 / 6 * 4 * TOKENS / 4)


def test_more_load_or_more_traffic_is_never_faster() -> None:
    placed = layer()
    busiest = np.linspace(1, 8, 50)
    flat, more = np.full(50, 1e6), np.linspace(1e6, 1e8, 50)
    for columns in ((busiest, flat, flat), (1 + 0 * flat, more, flat), (1 + 0 * flat, flat, more)):
        total = placed.of_figures(2, *columns).total
        assert (np.diff(total) >= 0).all()
        assert total[-1] > total[0]


def test_gpus_that_do_not_fill_their_domains_are_refused() -> None:
    machine = cluster(2, 4)
    with pytest.raises(ValueError, match="gpus: 6 do not fill NVLink domains of 4"):
        PlacedLayer(MODEL, machine, load_calibration(machine.gpu), gpus=6, tokens_per_gpu=8)
