"""Expected lists are written out by hand from Slurm's rules for hostlist expressions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.readers.hostlist import MOST_HOSTS, compress_hostlist, expand_hostlist


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("srv", ["srv"]),
        ("srv[1101-1103,1201]", ["srv1101", "srv1102", "srv1103", "srv1201"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("a1, b[1-2] ,c", ["a1", "b1", "b2", "c"]),
        ("rack[1-2]n[01-02]-ib", ["rack1n01-ib", "rack1n02-ib", "rack2n01-ib", "rack2n02-ib"]),
        ("n[5,3]", ["n5", "n3"]),
        ("[1-2]", ["1", "2"]),
        ("n1,n1", ["n1", "n1"]),
        ("switch.1.[9-10]", ["switch.1.9", "switch.1.10"]),
    ],
)
def test_a_hostlist_stands_for_these_names(text: str, names: list[str]) -> None:
    assert expand_hostlist(text) == tuple(names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no name"),
        ("a,,b", "comma with no name"),
        ("n[1-2", "'[' without its ']'"),
        ("n1-2]", "']' without its '['"),
        ("n[1-[2]]", "bracket inside another"),
        ("n[4-1]", "runs backwards"),
        ("n[]", "neither a number nor a range"),
        ("n[a-b]", "neither a number nor a range"),
        ("n[1-2-3]", "neither a number nor a range"),
        ("a b", "holds a blank"),
        (f"n[1-{MOST_HOSTS + 1}]", "more than"),
        ("n[1-9999]m[1-9999]", "more than"),
        ("n[1-999999]," * 2 + "n", "more than"),
    ],
)
def test_what_is_no_hostlist_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("]", r"\]")):
        expand_hostlist(text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["srv1101", "srv1102", "srv1103", "srv1201"], "srv[1101-1103,1201]"),
        (["n08", "n09", "n10"], "n[08-10]"),
        (["n9", "n10"], "n[9-10]"),
        (["n9", "n010"], "n[9,010]"),
        (["b2", "a1"], "b2,a1"),
        (["login", "n1-ib", "n2-ib"], "login,n[1-2]-ib"),
    ],
)
def test_names_that_follow_one_another_share_a_bracket(names: list[str], text: str) -> None:
    assert compress_hostlist(names) == text


@pytest.mark.parametrize("names", [[], [""], ["a b"], ["a,b"], ["a[1]"]])
def test_what_cannot_be_a_host_name_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"at least one|no host name"):
        compress_hostlist(names)


NAME = st.one_of(
    st.from_regex(r"\A[a-c]{0,2}[0-9]{1,3}(-ib)?\Z"),
    st.text(alphabet="ab0189.-_٣é", min_size=1, max_size=24),
)


@given(st.lists(NAME, min_size=1, max_size=40))
def test_expanding_what_was_compressed_gives_the_same_names_in_the_same_order(names: list[str]) -> None:
    assert expand_hostlist(compress_hostlist(names)) == tuple(names)


@given(st.integers(0, 1200), st.integers(1, 60), st.integers(1, 4))
def test_numbered_names_in_order_compress_to_one_range(first: int, count: int, width: int) -> None:
    names = [f"n{number:0{width}d}" for number in range(first, first + count)]
    assert compress_hostlist(names).count(",") == 0
    assert expand_hostlist(compress_hostlist(names)) == tuple(names)
