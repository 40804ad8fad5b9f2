"""Arrays of counts in the formats people have: what is read, and what is refused by name."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.readers.arrays import read_array, split_reference
from planner.specs.errors import SpecError

TABLE = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def message(path: Path, name: str | None = None) -> str:
    with pytest.raises(SpecError) as caught:
        read_array(path, name)
    return str(caught.value)


def test_a_name_follows_the_colon_of_a_known_suffix_only() -> None:
    assert split_reference("a/b.npz:decode") == ("a/b.npz", "decode")
    assert split_reference("c:loads.npy") == ("c:loads.npy", None)
    assert split_reference("a.npy") == ("a.npy", None)


def test_every_format_gives_the_same_table(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array(TABLE, dtype=np.int32))
    np.savez(tmp_path / "a.npz", loads=np.array(TABLE))
    (tmp_path / "a.json").write_text(json.dumps(TABLE))
    (tmp_path / "b.json").write_text(json.dumps({"loads": TABLE, "by": "hand"}))
    (tmp_path / "a.csv").write_text("1,2,3\n4,5,6\n")
    (tmp_path / "b.csv").write_text("layer,e0,e1,e2\n0,1,2,3\n1,4,5,6\n")
    long = "\n".join(f"{layer},{expert},{TABLE[layer][expert]}" for layer in (1, 0) for expert in range(3))
    (tmp_path / "c.csv").write_text(f"layer,expert,count\n{long}\n")
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_array(path), TABLE, err_msg=path.name)


def test_several_arrays_need_a_name_and_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, prefill=np.ones((2, 2)), decode=np.zeros((2, 2)))
    assert "holds several arrays, prefill, decode: name one, as in a.npz:NAME" in message(path)
    assert "did you mean 'decode'" in message(path, "decod")
    assert read_array(path, "decode").sum() == 0


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.npy", b"no numpy file", "is no npy file"),
        ("a.npz", b"PK\x03\x04cut", "is no npz file"),
        ("a.json", b"[[1, 2], [3]]", "rows of different lengths"),
        ("a.json", b"[[1, 2]", "is not JSON"),
        ("a.json", b'[["a"]]', "not numbers"),
        ("a.csv", b"1,2\n3\n", "has 1 values, the first row 2"),
        ("a.csv", b"1,2\n3,x\n", "column 2: 'x': is no number"),
        ("a.csv", b"layer,expert\n0,1\n", "needs a column count"),
        ("a.csv", b"layer,expert,count\n0,1,5\n0,1,6\n", "is given twice"),
        ("a.txt", b"1", "is no file of counts"),
        ("a.pt", b"old pickle", "is no zip archive"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    text = message(tmp_path / name)
    assert text.startswith(str(tmp_path / name))
    assert expected in text


def test_a_dotted_name_goes_into_mappings_of_a_json_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"sets": {"one": {"loads": TABLE}}}))
    np.testing.assert_array_equal(read_array(tmp_path / "a.json", "sets.one.loads"), TABLE)
    assert "did you mean 'loads'" in message(tmp_path / "a.json", "sets.one.load")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in message(tmp_path / "none.npy")


def test_arrays_of_python_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "holds Python objects" in message(tmp_path / "a.npy")


class Named:
    """Pickles as a reference to ``module.name``."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class TorchLike(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes what ``torch.save`` writes: storages by persistent id, tensors by ``_rebuild_tensor_v2``."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Named):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Tensor):
            self.save(Named("torch._utils", "_rebuild_tensor_v2"))
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


class Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.pid = ("storage", Named("torch", kind), key, "cpu", count)


class Tensor:
    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


def torch_file(path: Path, data: object, storages: dict[str, bytes]) -> None:
    stream = io.BytesIO()
    TorchLike(stream, 2).dump(data)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw)


def test_a_tensor_is_read_without_torch_strides_included(tmp_path: Path) -> None:
    """A transposed tensor is its storage with other strides: [[1, 2, 3], [4, 5, 6]].T kept as it was."""
    raw = np.array([1, 2, 3, 4, 5, 6], dtype="<i8").tobytes()
    tensor = Tensor(Storage("LongStorage", "0", 6), 0, (3, 2), (1, 3), False, {})
    torch_file(tmp_path / "a.pt", {"rank": 0, "logical_count": tensor}, {"0": raw})
    np.testing.assert_array_equal(read_array(tmp_path / "a.pt", "logical_count"), np.array(TABLE).T)
    np.testing.assert_array_equal(read_array(tmp_path / "a.pt"), np.array(TABLE).T)


def test_a_tensor_beyond_its_storage_and_code_are_refused(tmp_path: Path) -> None:
    raw = np.zeros(6, dtype="<i8").tobytes()
    torch_file(
        tmp_path / "a.pt", {"a": Tensor(Storage("LongStorage", "0", 6), 0, (3, 3), (3, 1), False, {})}, {"0": raw}
    )
    assert "larger than its storage" in message(tmp_path / "a.pt")
    torch_file(tmp_path / "b.pt", {"a": Named("os", "system")}, {})
    text = message(tmp_path / "b.pt")
    assert "cannot be read without torch: it holds os.system" in text
    assert "numpy.savez" in text
