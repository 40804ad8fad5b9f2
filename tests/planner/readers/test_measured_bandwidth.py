"""Bandwidths that Galvatron and Pipette measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from planner.readers.galvatron_bandwidth import read_galvatron_bandwidth
from planner.readers.pipette_bandwidth import read_pipette_bandwidth
from planner.specs.errors import SpecError


def test_galvatron_figures_are_bytes_per_second_by_group(tmp_path: Path) -> None:
    path = tmp_path / "allreduce_bandwidth_2nodes_8gpus_per_node.json"
    path.write_text(
        '{"allreduce_size_16_consec_1": 45.5, "allreduce_size_8_consec_0": 32, "pp_size_2": 7.5, "overlap_coe": 1.15}'
    )
    found = read_galvatron_bandwidth(path)
    assert found.allreduce == {(16, True): 45.5e9, (8, False): 32e9}
    assert found.p2p == {2: 7.5e9}
    assert (found.nodes, found.gpus_per_node) == (2, 8)
    assert [note.text for note in found.notes] == ["overlap_coe"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"overlap_coe": 1.1}, "holds no bandwidth"),
        ({"pp_size_2": 0}, "pp_size_2: 0: must be a bandwidth above zero"),
        ({"pp_size_2": True}, "must be a bandwidth above zero"),
        ({"allreduce_size_8_consec_1": "153"}, "must be a bandwidth above zero"),
    ],
)
def test_galvatron_files_without_a_usable_figure_are_refused(tmp_path: Path, data: object, message: str) -> None:
    path = tmp_path / "p2p.json"
    path.write_text(json.dumps(data))
    with pytest.raises(SpecError) as caught:
        read_galvatron_bandwidth(path)
    assert message in str(caught.value)


def test_pipette_rows_send_to_columns_and_the_diagonal_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps({"gpus": ["a", "b"], "bandwidth": [[200, 16.5], [12, None]], "microbatches": 8}))
    found = read_pipette_bandwidth(path)
    assert found.names == ("a", "b")
    assert found.bytes_per_second.tolist() == [[np.inf, 16.5e9], [12e9, np.inf]]
    assert [note.text for note in found.notes] == ["microbatches"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"gpus": "ab", "bandwidth": []}, "gpus: 'ab': must be a list of names"),
        ({"gpus": ["a", "b"], "bandwidth": [[1, 2]]}, "must have a row for each of the 2 names"),
        ({"gpus": ["a", "b"], "bandwidth": [[1, 2], [3]]}, "bandwidth[1]"),
        ({"gpus": ["a", "b"], "bandwidth": [[1, 0], [3, 1]]}, "bandwidth[0][1]: 0: must be a bandwidth above zero"),
    ],
)
def test_pipette_tables_that_are_not_square_or_whole_are_refused(tmp_path: Path, data: object, message: str) -> None:
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps(data))
    with pytest.raises(SpecError) as caught:
        read_pipette_bandwidth(path)
    assert message in str(caught.value)
