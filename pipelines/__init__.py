"""The pipelines that tfhub-blocks ships, by name: ``from tfhub_blocks.pipelines import NAME``.

One file defines one ``@dsl.pipeline`` function, which has the file's name.
"""

import sys
from functools import wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tfhub_blocks.records.base.project_folders import package_folder
from tfhub_blocks.records.base.quiet_libraries import quiet_libraries
from tfhub_blocks.records.base.source_imports import import_from_source


class _Pipelines(ModuleType):
    """A package whose attributes are pipeline functions, never the modules that define them."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds each imported submodule to its package.
        if not (isinstance(value, ModuleType) and name in names()):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Pipelines


def names() -> list[str]:
    """Return the names of the pipelines that are installed, sorted."""
    return sorted(path.stem for path in _folder().glob("[!_]*.py"))


def _folder() -> Path:
    """Return the folder of the pipelines, and import from it."""
    import_from_source()
    folder = package_folder() / "pipelines"
    __path__[:] = [str(folder)]
    return folder


def _checked(function: Any) -> Any:
    """Return a pipeline function whose mistakes in a call are errors of tfhub-blocks."""
    from tfhub_blocks.control.project.pipeline_building import checked_call

    @wraps(function)
    def call(*values: Any, **named: Any) -> Any:
        return checked_call(function, values, named)

    call.__wrapped__ = function.__wrapped__  # type: ignore[attr-defined]  # as azure-ai-ml sets it
    return call


def __dir__() -> list[str]:
    return names()


def __getattr__(name: str) -> Any:
    if name.startswith("__") or name not in names():
        raise AttributeError(
            f"no pipeline is named {name!r}. The pipelines are {', '.join(names())}."
        )
    quiet_libraries()
    function = _checked(getattr(import_module(f"{__name__}.{name}"), name))
    globals()[name] = function
    return function


_folder()
