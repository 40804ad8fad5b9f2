"""Units: expected values are the definitions of the prefixes, worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.specs.quantity import parse_bandwidth, parse_compute, parse_latency, parse_memory, parse_reserve


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("400 Gb/s", 50e9),
        ("400Gbps", 50e9),
        ("50 GB/s", 50e9),
        ("1 GiB/s", 1073741824.0),
        ("3.35 TB/s", 3.35e12),
        ("8 Mb/s", 1e6),
        ("4e2 Gbit/s", 50e9),
    ],
)
def test_a_small_b_is_a_bit_and_a_capital_one_a_byte(text: str, bytes_per_second: float) -> None:
    assert parse_bandwidth(text) == pytest.approx(bytes_per_second)


def test_latency_memory_and_compute_have_their_own_units() -> None:
    assert parse_latency("3 us") == pytest.approx(3e-6)
    assert parse_latency("0.5 ms") == pytest.approx(5e-4)
    assert parse_latency("0 s") == 0.0
    assert parse_memory("80 GB") == 80e9
    assert parse_memory("80 GiB") == 80 * 1024**3
    assert parse_compute("989 TFLOP/s") == 989e12
    assert parse_compute("1.5 PFLOPS") == 1.5e15


@pytest.mark.parametrize("value", [400, 400.0, "400", " 400 "])
def test_a_bare_number_is_told_which_unit_to_write(value: object) -> None:
    with pytest.raises(ValueError, match=r"no unit; write e\.g\. '400 Gb/s' \(bits\) or '50 GB/s' \(bytes\)"):
        parse_bandwidth(value)


@pytest.mark.parametrize("text", ["0 GB/s", "-5 GB/s", "nan GB/s", "inf GB/s", "-inf GB/s", "1e308 TB/s"])
def test_zero_negative_and_not_finite_amounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be (more than zero|a finite number)"):
        parse_bandwidth(text)


def test_a_unit_in_the_wrong_case_names_both_meanings() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'GB/s' or 'Gb/s'\?"):
        parse_bandwidth("400 gb/s")


def test_a_misspelled_unit_brings_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'TFLOP' is no unit of compute rate; did you mean '.*TFLOPS'\?"):
        parse_compute("989 TFLOP")


def test_a_unit_of_another_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="no unit of memory"):
        parse_memory("80 Gb/s")
    with pytest.raises(ValueError, match=r"no unit of latency.*e\.g\. '5 us'"):
        parse_latency("5 GB/s")


@pytest.mark.parametrize("value", [None, True, [], {}, "fast", "", "1,5 GB/s", "1 2 GB/s"])
def test_what_is_no_quantity_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"not a memory|is no unit"):
        parse_memory(value)


def test_a_reserve_may_be_zero_but_not_negative() -> None:
    assert parse_reserve("0 GiB") == 0.0
    with pytest.raises(ValueError, match="at least zero"):
        parse_reserve("-1 GiB")


@given(st.floats(min_value=1e-3, max_value=1e9), st.sampled_from(["k", "M", "G", "T"]))
def test_bits_are_an_eighth_of_bytes(number: float, prefix: str) -> None:
    assert parse_bandwidth(f"{number!r} {prefix}b/s") * 8 == pytest.approx(parse_bandwidth(f"{number!r} {prefix}B/s"))
