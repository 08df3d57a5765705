"""PyTorch checkpoints, read without PyTorch and without running code that a pickle names.

The module reads both containers of ``torch.save``: the zip archive (since 1.6), and the older
stream of pickles. It follows ``torch/serialization.py`` of PyTorch 2.13.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfhub_blocks.records.base.errors import BlocksError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

STORAGE_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
}


@dataclass
class _Storage:
    """Flat memory that tensors are views of.

    The legacy format names a storage before its bytes, so ``content`` is filled in later.
    """

    dtype: np.dtype[Any]
    element_count: int
    content: bytes = b""


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        if math.prod(self.shape) > self.storage.element_count:
            raise ValueError("a tensor is larger than its storage")
        itemsize = self.storage.dtype.itemsize
        # The constructor, unlike as_strided, refuses a view that leaves the buffer.
        view: np.ndarray = np.ndarray(
            self.shape,
            self.storage.dtype,
            self.storage.content,
            self.offset * itemsize,
            tuple(stride * itemsize for stride in self.strides),
        )
        return np.array(view, order="C")


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    **{("torch", name): dtype for name, dtype in STORAGE_DTYPES.items()},
}


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that resolves only the allowed names, so no pickle can reach anything else."""

    def __init__(self, stream: BinaryIO, path: Path, storage: Callable[..., _Storage]) -> None:
        super().__init__(stream)
        self._path = path
        self._storage = storage

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in ALLOWED_GLOBALS:
            raise BlocksError(
                "read_checkpoint",
                self._path.name,
                f"the pickle in {self._path.name} needs {module_name}.{global_name}",
                "a state dict of plain tensors",
                "Do not open this file with torch.load either, unless you trust its author",
            )
        return ALLOWED_GLOBALS[module_name, global_name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, element_count, *view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or any(view):
            raise pickle.UnpicklingError(f"unknown persistent id {pid!r}")
        return self._storage(key, dtype, element_count)


def _no_storage(*_: object) -> _Storage:
    raise pickle.UnpicklingError("a storage occurs before the state dict")


def _read_legacy(path: Path) -> Any:
    storages: dict[str, _Storage] = {}

    def storage(key: str, dtype: np.dtype[Any], element_count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, element_count))

    with path.open("rb") as stream:

        def load(storage: Callable[..., _Storage] = _no_storage) -> Any:
            return _RestrictedUnpickler(stream, path, storage).load()

        if load() != LEGACY_MAGIC or load() != LEGACY_PROTOCOL or not load()["little_endian"]:
            raise ValueError("the file is neither a zip archive nor a little-endian checkpoint")
        state = load(storage)
        for key in load():
            element_count = int.from_bytes(stream.read(8), "little")
            if element_count != storages[key].element_count:
                raise ValueError(f"storage {key} has another length than its tensors expect")
            storages[key].content = stream.read(element_count * storages[key].dtype.itemsize)
    return state


def _read_zip(path: Path) -> Any:
    storages: dict[str, _Storage] = {}
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (pickled,) = (name for name in names if name.endswith("/data.pkl"))
        root = pickled.removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("the tensors are big-endian")

        def storage(key: str, dtype: np.dtype[Any], element_count: int) -> _Storage:
            if key not in storages:
                content = archive.read(f"{root}data/{key}")
                storages[key] = _Storage(dtype, element_count, content)
            return storages[key]

        with archive.open(pickled) as stream:
            return _RestrictedUnpickler(stream, path, storage).load()  # type: ignore[arg-type]


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Read a PyTorch state dict: arrays by parameter name, in the file's order.

    Names in the file are never imported or called. A pickle that needs more than tensors of
    float16, float32, float64, int32 or int64 is refused before any code runs.

    Args:
        path: A little-endian ``.pth`` file that ``torch.save(model.state_dict(), path)`` wrote, in
            today's format or in that before PyTorch 1.6.

    Raises:
        BlocksError: The file is missing or damaged, or contains anything else than tensors.
    """
    try:
        state = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        return {str(name): tensor.array() for name, tensor in state.items()}
    except BlocksError:
        raise
    # A damaged pickle can fail in any way; it could call only the allowed names.
    except Exception as error:
        raise BlocksError(
            "read_checkpoint",
            str(path),
            f"{path} cannot be read ({type(error).__name__}: {error})",
            "a state dict that torch.save wrote",
            "Download the file again; it may be incomplete",
        ) from error
