"""Links that a relay beats by far."""

import numpy as np
import pytest

import cases
from planner.outlier_links import outlier_links
from planner.readers.latency_bandwidth_csv import read_pairs

MESSAGE_BYTES, OVERHEAD_SECONDS = 33554432, 0.35
"""Of SkipPipe's published instance."""


def seconds_of(table: str) -> tuple[tuple[str, ...], np.ndarray]:
    found = read_pairs(cases.region_table_path(table))
    return found.names, found.latency_seconds + MESSAGE_BYTES / found.bytes_per_second + OVERHEAD_SECONDS


def test_the_one_known_slip_of_the_region_tables_is_found_both_ways() -> None:
    """NL-London is published at 0.2425/1024 GiB/s where its peers have 0.2425: 132.31 s a message; by hand a relay
    over Belgium takes 0.4819 + 0.4824 s."""
    names, link = seconds_of("gcp12")
    found = list(outlier_links(link))
    assert {(names[one.sender], names[one.receiver]) for one in found} == {("NL", "London"), ("London", "NL")}
    assert found[0].seconds == pytest.approx(132.31, abs=0.005)
    assert found[0].relayed_seconds == pytest.approx(0.4819 + 0.4824, abs=1e-4)
    assert not list(outlier_links(seconds_of("dtfm_aws")[1]))


def test_a_missing_link_is_missing_and_no_outlier() -> None:
    link = [[0.0, 1.0, np.inf], [1.0, 0.0, 1.0], [25.0, 1.0, 0.0]]
    assert [(one.sender, one.receiver, one.relayed_seconds) for one in outlier_links(link)] == [(2, 0, 2.0)]
    assert not list(outlier_links(link, times=13.0))
    assert not list(outlier_links([[0.0, 99.0], [99.0, 0.0]]))
