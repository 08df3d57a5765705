"""Facts of the machine on which a result is computed, as far as its bits depend on them."""

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

CPU_FILE = Path("/proc/cpuinfo")
# These variables select code paths of TensorFlow, oneDNN, OpenVINO, XLA, BLAS and NumPy.
_VARIABLES = re.compile(
    r"(TF_(ENABLE|DISABLE|NUM|DETERMINISTIC|CUDNN|XLA|FORCE|USE)_|ONEDNN_|DNNL_|OMP_|MKL_|OPENBLAS_"
    r"|OV_|XLA_|NPY_|NVIDIA_TF32_)\w+"
)
# The beginnings of the names of vector instruction sets on x86-64; elsewhere all sets count.
_VECTORS = re.compile(r"(sse|ssse|avx|fma|f16c|amx|bmi)")


def machine_facts() -> dict[str, Any]:
    """Return the processor, its vector instructions, cores, variables, and BLAS if loaded.

    ``cores`` is the number of cores that this process may use, and the default number of threads
    for one operation. The record is JSON-ready for a lineage, and takes a few milliseconds.
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
