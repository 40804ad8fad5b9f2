"""The same value, the same bytes; a compact text that reads back to the value."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.plan.writing import WIDTH, canonical, digest, render, seal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


@given(JSON)
def test_rendered_text_reads_back_to_the_same_value(value: object) -> None:
    assert json.loads(render(value)) == value


def test_canonical_bytes_do_not_depend_on_key_order() -> None:
    assert canonical({"b": 1, "a": {"d": 0.1, "c": "é"}}) == b'{"a":{"c":"\\u00e9","d":0.1},"b":1}'


def test_digest_is_the_sha256_of_the_canonical_bytes() -> None:
    """FIPS 180-2 gives SHA-256 of ``abc``; the canonical form of a string has its quotes."""
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hashlib.sha256(b"abc").hexdigest() == abc
    assert digest("abc") == "sha256:" + hashlib.sha256(b'"abc"').hexdigest()


def test_infinities_and_nan_are_never_written() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical({"a": value})


def test_a_short_object_stands_on_one_line_and_a_long_one_is_broken() -> None:
    short, long = {"x": 1}, {"x": "y" * WIDTH, "z": [1, 2]}
    text = render({"short": short, "long": long, "empty": {}})
    assert text.splitlines()[1] == ' "short": {"x": 1},'
    assert text.splitlines()[4] == '  "z": [1, 2]'


def test_sealing_again_changes_nothing_and_any_change_breaks_the_seal() -> None:
    sealed = seal({"inputs": {"a": 1}, "b": 2})
    assert seal(sealed) == sealed
    assert seal({**sealed, "b": 3})["digest"] != sealed["digest"]
    assert seal({**sealed, "b": 3})["inputs"] == sealed["inputs"]
    assert seal({**sealed, "inputs": {"a": 2}})["inputs"]["digest"] != sealed["inputs"]["digest"]
