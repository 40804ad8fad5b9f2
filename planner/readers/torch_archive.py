"""Tensors of a file that ``torch.save`` wrote, without torch and without running what the file says.

Since torch 1.6 such a file is a zip archive: ``data.pkl`` describes the objects, ``data/KEY`` holds the raw bytes
of a storage. The description is a pickle; of its functions only the one that rebuilds a plain tensor is known
here, every other name ends the reading.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from planner.specs.errors import Problem, SpecError

DTYPES = {
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
}
MOST_BYTES = 2**32
REMEDY = "with torch: numpy.savez(FILE, **{key: value.numpy() for key, value in torch.load(FILE).items()})"


def read_torch_archive(path: Path) -> object:
    """What ``torch.save`` was given, tensors as arrays; raises ``SpecError`` naming what is not read, ``OSError``."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise pickle.UnpicklingError(f"more than {MOST_BYTES / 2**30:.0f} GiB")
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise pickle.UnpicklingError("no data.pkl")
            with archive.open(names[0]) as stream:
                return _Reader(stream, archive, names[0].removesuffix("data.pkl")).load()
    except zipfile.BadZipFile:
        _refuse(path, "is no zip archive, as torch.save has written since 1.6")
    except SpecError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        _refuse(path, f"cannot be read without torch: {error}")


def _refuse(path: Path, message: str) -> NoReturn:
    raise SpecError([Problem(file=str(path), key="", value="", message=f"{message}; {REMEDY}")])


class _Reader(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(stream)
        self._archive, self._prefix = archive, prefix
        order = f"{prefix}byteorder"
        self._big = order in archive.namelist() and archive.read(order) == b"big"

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"it holds {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _, count = pid
        if kind != "storage" or storage not in DTYPES:
            raise pickle.UnpicklingError(f"it holds {storage!r}")
        dtype = np.dtype(DTYPES[storage])
        raw = self._archive.read(f"{self._prefix}data/{key}")
        return np.frombuffer(raw, dtype.newbyteorder(">") if self._big else dtype, count=count)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if offset < 0 or any(n < 0 for n in size) or any(step < 0 for step in stride):
        raise pickle.UnpicklingError("a tensor has a negative size")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    if last >= len(storage):
        raise pickle.UnpicklingError("a tensor is larger than its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()
