"""The machine that something is computed on, as far as the bits of a result depend on it."""

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

CPU_FILE = Path("/proc/cpuinfo")
# What chooses between the code paths of TensorFlow, oneDNN, OpenVINO, XLA, BLAS and NumPy.
_VARIABLES = re.compile(
    r"(TF_(ENABLE|DISABLE|NUM|DETERMINISTIC|CUDNN|XLA|FORCE|USE)_|ONEDNN_|DNNL_|OMP_|MKL_|OPENBLAS_"
    r"|OV_|XLA_|NPY_|NVIDIA_TF32_)\w+"
)
# Sets of vector instructions, by the beginnings of their names on x86-64; elsewhere all count.
_VECTORS = re.compile(r"(sse|ssse|avx|fma|f16c|amx|bmi)")


def machine_facts() -> dict[str, Any]:
    """Processor, its vector instructions, cores, variables, and BLAS where that is loaded.

    ``cores`` is how many this process may use, which is how many threads share an operation where
    nothing else says. JSON-ready, for a lineage; it takes a few milliseconds.
    """
    model, instructions = _processor()
    return {
        "type": platform.machine(),
        "processor": model,
        "instructions": " ".join(instructions),
        "cores": len(os.sched_getaffinity(0)),
        "variables": {
            name: value for name, value in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)
        },
        "blas": _blas(),
    }


def _processor() -> tuple[str, list[str]]:
    """Name and vector instructions of the first processor; nothing where no system tells."""
    try:
        first = CPU_FILE.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return platform.processor(), []
    pairs = (line.partition(":") for line in first.splitlines())
    told = {name.strip(): value.strip() for name, _, value in pairs}
    flags = told.get("flags")
    if flags is None:
        return told.get("CPU part", ""), sorted(told.get("Features", "").split())
    return told.get("model name", ""), sorted(filter(_VECTORS.match, flags.split()))


def _blas() -> list[str]:
    """Each BLAS that is loaded, with its version, kernels and threads, such as NumPy's."""
    if "numpy" not in sys.modules:
        return []
    try:
        from threadpoolctl import threadpool_info
    except ImportError:  # the environment of a step of somebody's
        return []
    return sorted(
        f"{it['internal_api']} {it.get('version')} {it.get('architecture', '')}, "
        f"{it['num_threads']} threads"
        for it in threadpool_info()
        if it["user_api"] == "blas"
    )
