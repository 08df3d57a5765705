"""Runtimes: the program that computes a served model's answers, as ``check_latency`` chose it.

A runtime is ``runtime.toml`` in the folder of a model. A model without a runtime is served by its
reference program.
"""

# decisions 43 and 122

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfhub_blocks.records.base.documents import read_document, write_document
from tfhub_blocks.records.base.errors import BlocksError

RUNTIME_NAME = "runtime.toml"
RUNTIME_VERSION = 2

OWN = "own"
RuntimeEngine = Literal["own", "tensorflow", "openvino"]


@dataclass(frozen=True)
class Speeds:
    """Speeds of a server, required or measured. None means no requirement or no measurement.

    Percentiles are of the time from when a request was due until its answer. ``items_per_s`` is the
    throughput within these times. ``cold_start_s`` is the time from the start of the process to its
    first answer, ``memory_mb`` the highest memory use of the process in 10**6 bytes.
    """

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    items_per_s: float | None = None
    cold_start_s: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class Runtime:
    """The settings with which a model is served.

    The engine ``own`` is the model's reference program: its SavedModel as it is, or its MLflow
    pyfunc. Another engine computes the part after preprocessing. ``threads`` work on one
    computation, and ``concurrency`` computations run at once; others wait. Requests that arrive
    within ``batch_window_ms`` of the first are computed together, at most ``largest_batch`` items.
    ``tensorflow`` is False if check_latency saw that answering imports no TensorFlow.
    ``compute_size`` is the machine size on which the runtime met the ``budget``. Measurements are
    in the evidence only, so the same choice always gives the same model.
    """

    engine: RuntimeEngine = "own"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = 1
    concurrency: int = 1
    batch_window_ms: float = 0.0
    largest_batch: int = 1
    tensorflow: bool = True
    compute_size: str | None = None
    budget: Speeds = Speeds()

    @property
    def name(self) -> str:
        """A short name, such as ``openvino bfloat16, 2 threads``."""
        engine = self.engine if self.engine == OWN else f"{self.engine} {self.precision}"
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        window = f", {self.batch_window_ms:g} ms window" if self.largest_batch > 1 else ""
        return f"{engine}, {threads}{window}"

    def write(self, folder: Path) -> None:
        """Write the runtime into the folder of a model."""
        write_document(folder / RUNTIME_NAME, self, RUNTIME_VERSION)


def read_runtime(folder: Path) -> Runtime | None:
    """Read and check the runtime of a model's folder. Return None if the folder has none.

    Raises:
        BlocksError: A key or value is invalid; the error names the first.
    """
    path = folder / RUNTIME_NAME
    if not path.exists():
        return None
    runtime = read_document(path, Runtime, RUNTIME_VERSION)
    for key, problem, expected in _faults(runtime):
        raise BlocksError(str(path), key, problem, expected, "Run the step check_latency again")
    return runtime


def _faults(runtime: Runtime) -> Iterator[tuple[str, str, str]]:
    for key in ("threads", "concurrency", "largest_batch"):
        if (value := getattr(runtime, key)) < 1:
            yield key, f"{key} is {value}", "1 or more"
    if not (value := runtime.batch_window_ms) >= 0:
        yield "batch_window_ms", f"batch_window_ms is {value}", "0 or more"
