"""Runtimes: what computes a served model's answers, as ``check_latency`` chose it.

It is ``runtime.toml`` in the folder of a model. A model without one is served by its own program.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tfhub_blocks.records.base.documents import read_document, write_document
from tfhub_blocks.records.base.errors import BlocksError

RUNTIME_NAME = "runtime.toml"
RUNTIME_VERSION = 1

OWN = "own"
RuntimeEngine = Literal["own", "tensorflow", "openvino"]


@dataclass(frozen=True)
class Speeds:
    """What is asked of answers, or was measured of them; None where nothing is.

    Percentiles are of the time from when a request was due to its answer. ``items_per_s`` is
    answered within that; ``cold_start_s`` is from the start of the process to its first answer,
    ``memory_mb`` the most that the process held, in 10**6 bytes.
    """

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    items_per_s: float | None = None
    cold_start_s: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class Runtime:
    """How a model is served.

    ``own`` is the model's own program: its SavedModel as it is, or its MLflow pyfunc. Another
    engine takes the part behind preprocessing. ``threads`` share one computation out, and
    ``concurrency`` computations are under way at once; the others wait. Requests that come within
    ``batch_window_ms`` of the first are computed together, at most ``largest_batch`` items.
    ``compute_size`` is the kind of machine on which it kept the ``budget``. What was measured is in
    the evidence, and not here: the same choice is the same model, whatever the day.
    """

    engine: RuntimeEngine = "own"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = 1
    concurrency: int = 1
    batch_window_ms: float = 0.0
    largest_batch: int = 1
    compute_size: str | None = None
    budget: Speeds = Speeds()

    @property
    def name(self) -> str:
        """In a word or two, such as ``openvino bfloat16, 2 threads``."""
        engine = self.engine if self.engine == OWN else f"{self.engine} {self.precision}"
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        window = f", {self.batch_window_ms:g} ms window" if self.largest_batch > 1 else ""
        return f"{engine}, {threads}{window}"

    def write(self, folder: Path) -> None:
        """Write it into the folder of a model."""
        write_document(folder / RUNTIME_NAME, self, RUNTIME_VERSION)


def read_runtime(folder: Path) -> Runtime | None:
    """The runtime that a model's folder names, checked; None if it names none.

    Raises:
        BlocksError: The first thing that is wrong, with its key.
    """
    path = folder / RUNTIME_NAME
    if not path.exists():
        return None
    runtime = read_document(path, Runtime, RUNTIME_VERSION)
    for key, problem, expected in _faults(runtime):
        raise BlocksError(str(path), key, problem, expected, "run check_latency again")
    return runtime


def _faults(runtime: Runtime) -> Iterator[tuple[str, str, str]]:
    for key in ("threads", "concurrency", "largest_batch"):
        if (value := getattr(runtime, key)) < 1:
            yield key, f"it is {value}", "1 or more"
    if not runtime.batch_window_ms >= 0:
        yield "batch_window_ms", f"it is {runtime.batch_window_ms}", "0 or more"
