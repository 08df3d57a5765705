"""Import hooks of a step: one hides azure-ai-ml, one compiles the step's code from its source.

A component that imports azure-ai-ml fails locally as on Azure ML, whose environment does not
contain the package. Operating steps can import it: their package lock contains it. mldesigner
imports the package if it can; without it a step starts in 0.2 s instead of 2 s. Below the step's
code folder, Python neither reads nor writes bytecode: the digest of the code covers the source, so
only the source may run. The module also ends a step when its engine is killed.
"""

import os
import signal
import sys
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from types import CodeType
from typing import Any


class _AzureIsAbsent:
    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "azure.ai" or name.startswith("azure.ai."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


class _FromSource(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _finder_of_code(path: str) -> FileFinder:
    """Return the finder of a folder of the step's code; such a finder ignores bytecode."""
    code = os.environ.get("TFHUB_BLOCKS_STEP_CODE", "")
    found = os.path.realpath(path)
    is_below = bool(code) and (found + os.sep).startswith(code + os.sep)
    if not is_below or not os.path.isdir(found):  # noqa: PTH112 - pathlib takes time to import
        raise ImportError("the path is no folder of the step's code")
    loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES)
    return FileFinder(path, *loaders)


if not os.environ.get("TFHUB_BLOCKS_STEP_AZURE"):  # the engine sets it for operating steps
    sys.meta_path.insert(0, _AzureIsAbsent)
sys.path_hooks.insert(0, _finder_of_code)

if sys.platform == "linux" and os.environ.get("TFHUB_BLOCKS_ENGINE_PID") == str(os.getppid()):
    import ctypes

    _PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
