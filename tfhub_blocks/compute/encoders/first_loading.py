"""The first loading of a SavedModel, in a process of its own that cannot write.

The process inspects the encoder and returns its pin. The process has no network and is not root
where the operating system allows, and its time and memory are bounded.
"""

# decision 67

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.child_process import command
from tfhub_blocks.records.base.documents import as_record, read_record
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import Pin, PinnedFile

MAX_SECONDS = 900
# For TensorFlow's buffers and threads; the model's own bytes are added several times.
MAX_MEMORY_BYTES = 8 * 2**30
MEMORY_PER_BYTE = 4


def inspect_apart(
    saved_model: Path,
    handle: str,
    name: str,
    told: Mapping[str, Any],
    files: Mapping[str, PinnedFile],
) -> Pin:
    """Return the pin of an encoder, from ``inspection.inspect_encoder`` in another process.

    Raises:
        BlocksError: The encoder is refused, or its process crashed, or needed too much time or
            memory.
    """
    size_bytes = sum(file.size_bytes for file in files.values())
    request = {
        "handle": handle,
        "name": name,
        "told": dict(told),
        "files": {name: asdict(file) for name, file in files.items()},
        "memory_bytes": MAX_MEMORY_BYTES + MEMORY_PER_BYTE * size_bytes,
    }
    answer = _answer(request, saved_model, name)
    if answer["network"]:
        print(f"note: the process that first loaded {name} had a network: {answer['network']}")
    if "pin" in answer:
        return read_record(answer["pin"], Pin, name)
    where, what, problem, expected, remedy = answer["error"]
    # The process works in the SavedModel's folder, so it needs no access to folders above.
    is_inside = not Path(what).is_absolute() and (saved_model / what).exists()
    shown = str(saved_model / what) if is_inside else what
    raise BlocksError(where, shown, problem, expected, remedy)


def _answer(request: Mapping[str, Any], saved_model: Path, name: str) -> dict[str, Any]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command(__name__, str(saved_model.resolve())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(json.dumps(request).encode(), MAX_SECONDS)
    except subprocess.TimeoutExpired:
        problem = f"loading takes longer than {MAX_SECONDS} s"
        raise _crashed(name, saved_model, problem) from None
    finally:
        # The process may have started others.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        problem = f"the process that loads it ended {_ending(process.returncode)}"
        raise _crashed(name, saved_model, problem) from None
    return answer


def _ending(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    return f"by {signal.Signals(-status).name}"


def _crashed(name: str, saved_model: Path, problem: str) -> BlocksError:
    return BlocksError(
        name,
        str(saved_model),
        f"this SavedModel cannot be loaded: {problem}",
        f"loading within {MAX_SECONDS} s and {MAX_MEMORY_BYTES // 2**30} GiB of memory, and "
        f"{MEMORY_PER_BYTE} times the size of the model",
        "Do not use this SavedModel, or download it again",
    )


def main() -> None:
    """Inspect the SavedModel in a folder. Read the request from and write the answer to pipes."""
    from tfhub_blocks.compute.encoders import process_limits

    request = json.loads(sys.stdin.buffer.read())
    # Nothing else may write into the answer.
    reply = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.chdir(sys.argv[1])
    network = process_limits.leave_network()

    from tfhub_blocks.compute.encoders.inspection import inspect_encoder

    process_limits.limit_process(request["memory_bytes"])
    files = {name: PinnedFile(**file) for name, file in request["files"].items()}
    answer: dict[str, Any]
    try:
        pin = inspect_encoder(Path(), request["handle"], request["name"], request["told"], files)
        answer = {"pin": as_record(pin)}
    except BlocksError as error:
        fields = (error.where, error.what, error.problem, error.expected, error.remedy)
        answer = {"error": fields}
    reply.write(json.dumps({**answer, "network": network}).encode())
    reply.flush()
    # Without destructors, which a damaged model can make fail.
    os._exit(0)
