"""Sequences of operations as short text, and back without loss."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.timeline import BACKWARD, FORWARD, INPUT_GRAD, WEIGHT_GRAD, Schedule, schedule_order
from planner.plan.compact import Step, compress, expand

NAMES = {FORWARD: "F", BACKWARD: "B", INPUT_GRAD: "I", WEIGHT_GRAD: "W"}


def steps_of(tokens: list[tuple[str, int | None]]) -> list[Step]:
    """Kinds and chunks with the micro-batches that their order implies."""
    seen = Counter[tuple[str, int | None]]()
    steps = []
    for token in tokens:
        steps.append(Step(*token, seen[token]))
        seen[token] += 1
    return steps


def rule(name: Schedule, devices: int, chunks: int, microbatches: int, device: int) -> tuple[list[Step], list[int]]:
    """What a device runs in a named schedule, and its chunks."""
    order = schedule_order(name, devices, chunks, microbatches)
    columns = (order.kind[device], order.chunk[device], order.microbatch[device])
    steps = [Step(NAMES[k], int(c), int(m)) for k, c, m in zip(*columns, strict=True) if k in NAMES]
    return steps, [c for c, home in enumerate(order.device_of_chunk) if home == device]


@st.composite
def sequences(draw: st.DrawFn) -> tuple[list[tuple[str, int | None]], list[int]]:
    """Blocks repeated and nested at random, on a device with one to three chunks."""
    chunks = draw(st.lists(st.integers(0, 20), min_size=1, max_size=3, unique=True))
    of_chunk = st.tuples(st.sampled_from("FBIW"), st.sampled_from(chunks))
    of_vocabulary = st.tuples(st.sampled_from(["S", "T", "IF", "IB"]), st.none())
    tokens = st.lists(of_chunk | of_vocabulary, max_size=6)
    found: list[tuple[str, int | None]] = []
    for _ in range(draw(st.integers(0, 4))):
        block = draw(tokens) * draw(st.integers(1, 4)) + draw(tokens)
        found += block * draw(st.integers(1, 6))
    return found, chunks


@settings(max_examples=400, deadline=None)
@given(sequences())
def test_every_sequence_comes_back(made: tuple[list[tuple[str, int | None]], list[int]]) -> None:
    tokens, chunks = made
    steps = steps_of(tokens)
    text = compress(steps, chunks)
    assert expand(text, chunks) == steps
    assert compress(expand(text, chunks), chunks) == text
    assert not re.search(r"\*[01]\b", text)
    plain = " ".join(token + ("0" if len(chunks) > 1 and chunk is not None else "") for token, chunk in tokens)
    assert len(text) <= len(plain) + 2 * len(tokens)  # a repeat costs at most its brackets and count


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("", ""),
        ("F", "F"),
        ("FFFF", "F*4"),
        ("FFFFIWFIWFIW", "F*3 (F I W)*3"),
        ("FBFBFBBBB", "(F B)*3 B*3"),
        ("FFFIWFIWFI", "F*3 (I W F)*2 I"),  # turned so that least is left over around it
        ("FFIWFFIWFFIW", "(F*2 I W)*3"),
        ("FFIWFFIWBBFFIWFFIWBB", "((F*2 I W)*2 B*2)*2"),
    ],
)
def test_repeats_are_blocks(tokens: str, text: str) -> None:
    """By hand."""
    assert compress(steps_of([(token, 3) for token in tokens]), [3]) == text


def test_several_chunks_are_counted_on_their_device() -> None:
    """By hand: chunk 2 is the device's first, 5 its second; S belongs to none."""
    steps = [Step("F", 2, 0), Step("F", 5, 0), Step("S", None, 0), Step("I", 5, 0), Step("I", 2, 0)]
    assert compress(steps, [5, 2]) == "F0 F1 S I1 I0"
    assert expand("F0 F1 S I1 I0", [2, 5]) == steps


@pytest.mark.parametrize(
    ("name", "chunks", "device", "text"),
    [
        ("1f1b", 1, 0, "F*7 (F B)*505 B*7"),
        ("1f1b", 1, 7, "(F B)*512"),
        ("gpipe", 1, 3, "F*512 B*512"),
    ],
)
def test_a_long_run_of_whole_backwards_is_a_line(name: Schedule, chunks: int, device: int, text: str) -> None:
    """8 devices, 512 micro-batches; by the definitions: 1f1b warms up with p - 1 - i forwards."""
    assert compress(*rule(name, 8, chunks, 512, device)) == text


@pytest.mark.parametrize("name", ["zb-h1", "zb-h2", "zb-v", "v-half", "v-min"])
@pytest.mark.parametrize("device", [0, 3, 7])
def test_the_steady_state_of_a_long_run_is_one_block(name: Schedule, device: int) -> None:
    """8 devices, 512 micro-batches: one repeat holds more than nine tenths of all operations."""
    steps, chunks = rule(name, 8, 2 if name.startswith(("zb-v", "v-")) else 1, 512, device)
    text = compress(steps, chunks)
    assert expand(text, chunks) == steps
    blocks = [part for part in text.split("(") if ")*" in part]
    largest = max(len(block.split(")")[0].split()) * int(block.split(")*")[1].split()[0]) for block in blocks)
    assert largest > 0.9 * len(steps)
    assert len(text) < 200


def test_what_a_text_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="operation 1: F of micro-batch 2, but 1 is next"):
        compress([Step("F", 0, 0), Step("F", 0, 2)], [0])
    with pytest.raises(ValueError, match="F of chunk 1: this device runs F, B"):
        compress([Step("F", 1, 0)], [0])
    with pytest.raises(ValueError, match="X of chunk 0"):
        compress([Step("X", 0, 0)], [0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("F*", "position 0: 'F\\*': not a token"),
        ("FF", "'FF': this device runs"),
        ("F0", "'F0': this device runs"),
        ("(F", "position 2: '': a block is left open"),
        ("F)*2", "closes a block that was not opened"),
        ("F ()*2", "closes an empty block"),
        ("F*0", "repeated 0 times"),
        ("F*99999999999999", "between 1 and 4,194,304 operations"),
        ("((F)*4000)*4000", "repeated 4000 times"),
        ("(" * 200, "nested deeper than 100"),
        ("(F)", "not a token"),
        ("F(I)*2", "not a token"),
        ("F, I", "not a token"),
    ],
)
def test_other_text_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        expand(text, [0])
