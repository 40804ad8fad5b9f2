"""Reading files that may be anything."""

from pathlib import Path

import pytest

from planner.specs.document import read_document, spelled
from planner.specs.errors import Problem, SpecError


def refusal(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        read_document(path)
    return str(caught.value)


def written(tmp_path: Path, content: str | bytes, name: str = "spec.yaml") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_values_come_with_the_line_they_stand_on(tmp_path: Path) -> None:
    document = read_document(written(tmp_path, "a: 1\nb:\n  - c: 2\n  - d: 3\n"))
    assert document.data == {"a": 1, "b": [{"c": 2}, {"d": 3}]}
    assert document.line(("b", 1, "d")) == 4
    assert document.line(("b", 1, "absent")) == 4


def test_json_is_read_as_json(tmp_path: Path) -> None:
    assert read_document(written(tmp_path, '{"a": [1.5, null]}', "spec.json")).data == {"a": [1.5, None]}


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    assert read_document(written(tmp_path, b"\xef\xbb\xbfa: 1\n")).data == {"a": 1}


BILLION_LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- a\n- b\n", "must hold a mapping"),
        ("just text", "must hold a mapping"),
        ("a: 1\na: 2\n", "spec.yaml:2: a: is given twice"),
        ("a:\n  b: 1\n  b: 2\n", "spec.yaml:3: a.b: is given twice"),
        (BILLION_LAUGHS, "spec.yaml:2: uses a YAML alias"),
        ("a: " + "[" * 200 + "]" * 200, "nested deeper than 24 levels"),
        ("a: [1, 2", "is not YAML"),
        ("a: !!python/object:os.system {}", "is not YAML"),
        ("a: 2024-99-99", "cannot be read"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("a: \x07", "is not YAML"),
        (b"a: \xff\xfe", "is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "is not UTF-8"),
    ],
)
def test_what_is_no_safe_mapping_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in refusal(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ('{"a": 1, "a": 2}', "a: is given twice"),
        ("[" * 100_000, "nested too deeply"),
        ("3", "mapping"),
    ],
)
def test_json_is_no_less_strict(tmp_path: Path, content: str, message: str) -> None:
    assert message in refusal(written(tmp_path, content, "spec.json"))


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    with path.open("wb") as stream:
        stream.truncate(200 * 2**20)
    assert "is larger than 1 MiB: not read" in refusal(path)


def test_what_cannot_be_opened_is_an_ordinary_problem(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "absent.yaml")
    assert "cannot be read" in refusal(tmp_path)
    assert "is no file name" in refusal(Path("nul\0.yaml"))


def test_places_are_spelled_as_people_write_them() -> None:
    assert spelled(("node_groups", 0, "gpu")) == "node_groups[0].gpu"
    assert len(spelled(("x" * 1000,))) <= 60


def test_a_problem_is_one_line_whatever_it_speaks_of() -> None:
    problem = Problem(file="a\nb", key="c\x1e", value="", message="\ud800")
    assert str(problem) == "a\\nb: c\\x1e: \\ud800"
