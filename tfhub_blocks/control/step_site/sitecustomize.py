"""Hides azure-ai-ml from a step, as it is absent from the environments that steps are pinned to.

So a component that leans on it fails here as it would on Azure ML, and mldesigner, which imports
it when it can, starts a step in 0.2 s and not in 2. And ties a step to its engine: should that be
killed, the step does not run on.
"""

import os
import signal
import sys
from typing import Any


class _AzureIsAbsent:
    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "azure.ai" or name.startswith("azure.ai."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _AzureIsAbsent)

if sys.platform == "linux" and os.environ.get("TFHUB_BLOCKS_ENGINE_PID") == str(os.getppid()):
    import ctypes

    _PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
