"""A signature of a SavedModel as a graph of OpenVINO, read without TensorFlow."""

# decision 121

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tfhub_blocks.compute.inference.engine_interface import UnfitError

# OpenVINO reads this signature only.
_READ = b"serving_default"
# Numbers of fields in saved_model.proto and meta_graph.proto, and of a map's entry.
_META_GRAPH, _SIGNATURE, _OUTPUT, _KEY, _VALUE = 2, 5, 2, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Their bodies run step by step; TensorFlow's engine path unrolls them for a fixed batch.
_LOOPS = {"Loop", "TensorIterator", "If"}


def openvino_package() -> Any:
    """Return the package ``openvino``, which then sends no reports of its use."""
    # OpenVINO reports its use to an internet address with this module, and nothing without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    # The first conversion initializes the bindings. Two threads that do so at once deadlock: one
    # waits for the interpreter's lock, and the other for the end of the initialization.
    _ = openvino.Tensor(np.zeros(1, np.float32), shared_memory=True).data
    return openvino


def read_signature(saved_model: Path, signature: str, output: str) -> Any:
    """Return an OpenVINO model of one output of a signature, for any number of items.

    The signature takes one tensor whose first dimension is the items.

    Raises:
        UnfitError: The file has no such signature, or OpenVINO cannot convert its graph.
    """
    openvino = openvino_package()
    try:
        with _only(saved_model, signature, output) as folder:
            whole = openvino.Core().read_model(str(folder))
        graph = openvino.Model([whole.output(output)], whole.get_parameters())
    except UnfitError:
        raise
    except Exception as error:  # the classes of OpenVINO's exceptions have no common base
        raise UnfitError(f"OpenVINO cannot read the SavedModel ({reason_of(error)})") from error
    if len(graph.inputs) != 1 or graph.inputs[0].get_element_type().to_string() == "string":
        raise UnfitError("OpenVINO does not accept strings, which this encoder takes")
    if loops := sorted({each.get_type_name() for each in graph.get_ops()} & _LOOPS):
        raise UnfitError(f"the SavedModel's graph contains {loops[0]}")
    return graph


def reason_of(error: Exception) -> str:
    """Return the first informative line of OpenVINO's message."""
    lines = [line.strip() for line in str(error).splitlines()]
    known = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (known or lines or ["without a reason"])[0][:200]


@contextmanager
def _only(saved_model: Path, signature: str, output: str) -> Iterator[Path]:
    """Yield a folder with the same SavedModel, which has only one signature with one output."""
    with TemporaryDirectory(prefix="tfhub-blocks-") as folder:
        place = Path(folder)
        content = (saved_model / "saved_model.pb").read_bytes()
        with (place / "saved_model.pb").open("wb") as file:
            file.writelines(renamed_parts(memoryview(content), signature.encode(), output.encode()))
        for other in saved_model.iterdir():
            if other.is_dir():
                (place / other.name).symlink_to(other.absolute())
        yield place


def renamed_parts(content: memoryview, signature: bytes, output: bytes) -> list[bytes | memoryview]:
    """Return the parts of a SavedModel that calls a signature ``serving_default``.

    Other signatures, and other outputs of this one, are left out: OpenVINO would convert all
    operations that they need. Everything else is unchanged.

    Raises:
        UnfitError: The content is not a SavedModel with one graph and this signature.
    """
    try:
        given: list[bytes | memoryview] = []
        graphs = found = 0
        for number, value, field in _fields(content):
            if number != _META_GRAPH:
                given.append(field)
                continue
            graphs += 1
            parts: list[bytes | memoryview] = []
            for inner, entry, whole in _fields(value):
                if inner != _SIGNATURE:
                    parts.append(whole)
                elif _entry(entry)[_KEY] == signature:
                    found += 1
                    definition = _with_output(_entry(entry)[_VALUE], output)
                    pair = _message(_KEY, _READ) + _message(_VALUE, definition)
                    parts.append(_message(_SIGNATURE, pair))
            given += [_header(_META_GRAPH, sum(map(len, parts))), *parts]
    except (IndexError, KeyError, ValueError) as error:
        raise UnfitError("saved_model.pb is not a SavedModel") from error
    if (graphs, found) != (1, 1):
        raise UnfitError(f"the SavedModel has no signature {signature.decode()!r} in one graph")
    return given


def _with_output(definition: memoryview, output: bytes) -> bytes:
    """Return the definition of a signature with one of its outputs."""
    return b"".join(
        field
        for number, entry, field in _fields(definition)
        if number != _OUTPUT or _entry(entry)[_KEY] == output
    )


def _entry(content: memoryview) -> dict[int, memoryview]:
    """Return the key and the value of an entry of a protobuf map, by the numbers of the fields."""
    return {number: value for number, value, _ in _fields(content)}


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield the number, the value and all bytes of each field of a protobuf message.

    Raises:
        IndexError: The message ends within a field.
        ValueError: The message contains a kind of field that protobuf no longer has.
    """
    at = 0
    while at < len(content):
        begin = at
        tag, at = _varint(content, at)
        kind, value = tag & 7, at
        if kind == _VARINT:
            _, at = _varint(content, at)
        elif kind == _BYTES:
            size, value = _varint(content, at)
            at = value + size
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(kind)
        if at > len(content):
            raise IndexError(at)
        yield tag >> 3, content[value:at], content[begin:at]


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """Return a number in protobuf's variable length, and the index after the number."""
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def _header(number: int, size: int) -> bytes:
    """Return the bytes before a value of ``size`` bytes."""
    given = bytearray()
    for value in (number << 3 | _BYTES, size):
        rest = value
        while rest > 127:
            given.append(rest & 127 | 128)
            rest >>= 7
        given.append(rest)
    return bytes(given)


def _message(number: int, value: bytes) -> bytes:
    """Return a field with a value of bytes."""
    return _header(number, len(value)) + value
