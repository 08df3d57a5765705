"""The first loading of a SavedModel: a process of its own, without writing and with bounds."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfhub_blocks.compute.encoders import first_loading
from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError

pytestmark = pytest.mark.apart
IMAGES = tf.TensorSpec([None, 8, 8, 3], tf.float32)

# What a process may do after its limits are in force, as a program of its own.
PROBE = """
import os, socket, sys
from pathlib import Path
from tfhub_blocks.compute.encoders import process_limits
reason = process_limits.leave_network()
process_limits.limit_process(2**30)
def fails(deed):
    try:
        deed()
    except (OSError, MemoryError):
        return True
    return False
writing = fails(lambda: Path(sys.argv[1], "new").write_text("x"))
inside = fails(lambda: os.write(os.open(sys.argv[1] + "/old", os.O_WRONLY), b"x"))
memory = fails(lambda: bytearray(2**32))
network = reason or fails(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2]))))
print(writing, inside, memory, bool(network))
"""


def save(folder: Path, call: Any) -> Path:
    class Module(tf.Module):
        @tf.function(input_signature=[IMAGES])
        def __call__(self, images):
            return call(images)

    tf.saved_model.save(Module(), str(folder))
    return folder


def imported(saved: Path, folder: Path, facts: str | None = None) -> Any:
    folder.mkdir()
    return import_saved_model(ImportRequest(str(saved), None, None, "accept", facts), folder)


def test_the_process_cannot_write_has_no_network_and_bounded_memory(tmp_path: Path) -> None:
    import socket

    (tmp_path / "old").write_text("kept")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        arguments = [sys.executable, "-c", PROBE, str(tmp_path), port]
        told = subprocess.run(
            arguments, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert told.split() == ["True"] * 4
    assert (tmp_path / "old").read_text() == "kept"


def test_what_is_pinned_is_what_another_process_found(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda images: tf.reduce_mean(images, [1, 2]))

    pin = imported(saved, tmp_path / "encoder")

    assert pin.output.dimension == 3
    assert pin.operations.allowed is None


def test_allowed_operation_cannot_write_when_first_loaded(tmp_path: Path) -> None:
    target = tmp_path / "written.txt"

    def writing(images: Any) -> Any:
        tf.io.write_file(str(target), "x")
        return tf.reduce_mean(images, [1, 2])

    saved = save(tmp_path / "saved", writing)

    with pytest.raises(BlocksError) as caught:
        imported(saved, tmp_path / "encoder", "allow_op=WriteFile")

    assert not target.exists()
    assert "the encoder fails on sample items of image" in str(caught.value)
    assert str(tmp_path) in caught.value.what


def test_crash_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> list[str]:
        return [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"]

    monkeypatch.setattr(first_loading, "command", killed)
    saved = save(tmp_path / "saved", lambda images: tf.reduce_mean(images, [1, 2]))

    with pytest.raises(BlocksError) as caught:
        imported(saved, tmp_path / "encoder")

    assert "the process that loads it ended by SIGSEGV" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_endless_loading_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_loading, "MAX_SECONDS", 0.5)
    monkeypatch.setattr(
        first_loading, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"]
    )
    saved = save(tmp_path / "saved", lambda images: tf.reduce_mean(images, [1, 2]))

    with pytest.raises(BlocksError, match="loading takes longer than"):
        imported(saved, tmp_path / "encoder")


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_loading, "MAX_MEMORY_BYTES", 2**30)

    def large(images: Any) -> Any:
        ones = tf.ones([2**31 + tf.shape(images)[0]])
        return tf.reduce_mean(images, [1, 2]) + tf.reduce_sum(ones)

    with pytest.raises(BlocksError) as caught:
        imported(save(tmp_path / "saved", large), tmp_path / "encoder")
    assert "\n" not in str(caught.value)
