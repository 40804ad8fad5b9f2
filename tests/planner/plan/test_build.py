"""What the builder derives, against hand counts."""

from tests.planner.plan import samples


def test_chunks_hold_the_chain_between_their_boundaries() -> None:
    """Chain of 34: embedding, 32 layers, head, cut at 0 4 8 13 17 21 26 30 34 and dealt to 4 stages."""
    plan = samples.interleaved_dense()
    assert plan.boundaries() == (0, 4, 8, 13, 17, 21, 26, 30, 34)
    first, last = plan.stages[0].chunks[0], plan.stages[3].chunks[1]
    assert (first.embedding, first.layers, first.head) == (True, (0, plan.boundaries()[1] - 1), False)
    assert (last.embedding, last.layers, last.head) == (False, (plan.boundaries()[7] - 1, 32), True)
    assert [chunk.chunk for chunk in plan.stages[2].chunks] == [2, 6]


def test_prediction_layers_stand_before_the_head() -> None:
    last = samples.experts_and_prediction_layer().stages[1].chunks[0]
    assert (last.layers, last.mtp_layers, last.head) == ((7, 15), (0, 1), True)


def test_vocabulary_is_padded_to_128_tp() -> None:
    """50257 rows on one rank round up to 393 x 128; 129280 over tp 2 are 505 x 256 already."""
    stage = samples.single_stage_windowed().stages[0]
    assert (stage.vocabulary.input_rows, stage.vocabulary.output_rows) == (50304, 50304)
    first, last = samples.experts_and_prediction_layer().stages
    assert (first.vocabulary.input_rows, first.vocabulary.output_rows) == (64640, 0)
    assert (last.vocabulary.input_rows, last.vocabulary.output_rows) == (0, 64640)


def test_parameters_on_a_rank_by_hand() -> None:
    """Llama-3.1-8B over tp 2: a layer holds (4096 x 4096 x 2 + 4096 x 1024 x 2 + 3 x 4096 x 14336) / 2
    + 2 x 4096 norms = 109,060,096; the embedding 64,128 rows, the head as many and the final norm."""
    plan = samples.interleaved_dense()
    embedding = 64128 * 4096
    for stage in plan.stages:
        layers = sum(end - first for chunk in stage.chunks for first, end in [chunk.layers or (0, 0)])
        ends = embedding * (stage.stage == 0) + (embedding + 4096) * (stage.stage == 3)
        assert stage.parameters_per_rank.dense == layers * 109_060_096 + ends


def test_capacity_is_memory_less_the_reserve() -> None:
    """81559 MiB less 2 GiB."""
    for stage in samples.interleaved_dense().stages:
        assert stage.memory.capacity_bytes == (81559 - 2048) * 2**20
        assert stage.memory.free_bytes == stage.memory.capacity_bytes - stage.memory.peak_bytes


def test_rates_follow_from_the_step() -> None:
    plan = samples.interleaved_dense()
    step = plan.prediction.step_seconds
    assert plan.prediction.tokens_per_second == 128 * 4096 / step
    assert plan.prediction.tokens_per_second_per_gpu == plan.prediction.tokens_per_second / 64
    peaks = [stage.memory.peak_bytes for stage in plan.stages]
    assert plan.prediction.peak_memory_bytes == max(peaks) == peaks[plan.prediction.peak_memory_stage]


def test_the_scope_names_what_was_pinned_and_forbidden() -> None:
    scope = samples.interleaved_dense().certificate.scope
    assert "pp = 4, no cp, no ep" in scope
