"""Facts of the machine on which a result is computed: bits and times depend on them."""

# decision 44

import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

CPU_FILE = Path("/proc/cpuinfo")
MEMORY_FILE = Path("/proc/meminfo")
# These variables select code paths of TensorFlow, oneDNN, OpenVINO, XLA, BLAS and NumPy.
_VARIABLES = re.compile(
    r"(TF_(ENABLE|DISABLE|NUM|DETERMINISTIC|CUDNN|XLA|FORCE|USE)_|ONEDNN_|DNNL_|OMP_|MKL_|OPENBLAS_"
    r"|OV_|XLA_|NPY_|NVIDIA_TF32_)\w+"
)
# The beginnings of the names of vector instruction sets on x86-64; elsewhere all sets count.
_VECTORS = re.compile(r"(sse|ssse|avx|fma|f16c|amx|bmi)")


@dataclass(frozen=True)
class MachineFacts:
    """The facts of a machine, and of a process on it; None marks a fact that was not recorded.

    ``cores`` is the number of cores that the process may use, and the default number of threads
    for one operation. ``instructions`` are the vector instructions, separated by blanks. ``blas``
    lists the BLAS libraries that were loaded.
    """

    type: str | None = None
    processor: str | None = None
    instructions: str | None = None
    cores: int | None = None
    memory_gb: float | None = None
    variables: Mapping[str, str] | None = None
    blas: tuple[str, ...] | None = None

    def as_record(self) -> dict[str, Any]:
        """Return the recorded facts, JSON-ready for a lineage."""
        facts = {each.name: getattr(self, each.name) for each in fields(self)}
        facts["blas"] = None if self.blas is None else list(self.blas)
        facts["variables"] = None if self.variables is None else dict(self.variables)
        return {name: value for name, value in facts.items() if value is not None}

    def as_texts(self) -> dict[str, str]:
        """Return the facts of the machine itself as texts, for evidence and reports.

        The facts of the process, variables and BLAS, are left out: the lineage contains them.
        """
        record = self.as_record()
        return {
            name: str(value)
            for name, value in record.items()
            if name not in ("variables", "blas") and value != ""
        }


def machine_facts() -> MachineFacts:
    """Return the facts of the local machine and of this process, within a few milliseconds."""
    model, instructions = _processor()
    return MachineFacts(
        type=platform.machine(),
        processor=model,
        instructions=" ".join(instructions),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=_memory_gb(),
        variables={
            name: value for name, value in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)
        },
        blas=tuple(_blas()),
    )


def read_machine_facts(record: Mapping[str, Any]) -> MachineFacts:
    """Read the facts in a lineage's ``machine``, or in the facts of evidence of a latency check.

    Each version of tfhub-blocks is read: earlier versions recorded fewer facts. Evidence contains
    texts and other facts next to those of the machine, which are left out. A value of another type
    counts as not recorded.
    """
    facts = {}
    for name in record.keys() & _READERS.keys():
        with suppress(TypeError, ValueError):
            facts[name] = _READERS[name](record[name])
    return MachineFacts(**facts)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "type": str,
    "processor": str,
    "instructions": str,
    "cores": int,
    "memory_gb": float,
    "variables": dict,
    "blas": tuple,
}


def _memory_gb() -> float | None:
    """Return the memory that the kernel reports, in 10^9 bytes, if it is known."""
    try:
        kib = int(MEMORY_FILE.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(kib * 1024 / 1e9, 1)


def _processor() -> tuple[str, list[str]]:
    """Return name and vector instructions of the first processor, as far as known."""
    try:
        first = CPU_FILE.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return platform.processor(), []
    pairs = (line.partition(":") for line in first.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    flags = facts.get("flags")
    if flags is None:
        return facts.get("CPU part", ""), sorted(facts.get("Features", "").split())
    return facts.get("model name", ""), sorted(filter(_VECTORS.match, flags.split()))


def _blas() -> list[str]:
    """Return each loaded BLAS, such as NumPy's, with its version, kernels and threads."""
    if "numpy" not in sys.modules:
        return []
    try:
        from threadpoolctl import threadpool_info
    except ImportError:  # the environment of a third-party step may lack the package
        return []
    return sorted(
        f"{it['internal_api']} {it.get('version')} {it.get('architecture', '')}, "
        f"{it['num_threads']} threads"
        for it in threadpool_info()
        if it["user_api"] == "blas"
    )
