"""The steps by name: ``from tfhub_blocks.components import extract_features``.

Each name is the azure-ai-ml component of ``components/NAME/component.py`` with the code snapshot
that Azure ML would receive. Call the component inside a ``@dsl.pipeline`` function to add a node.
Steps in the folder ``components`` of the working directory are found too, and hide installed steps
of the same name.
"""

import atexit
import shutil
import sys
import tempfile
from importlib import import_module
from inspect import Parameter, Signature
from pathlib import Path
from types import ModuleType
from typing import Any

from tfhub_blocks.records.base.import_frames import know_import_frames
from tfhub_blocks.records.base.port_texts import port_limits
from tfhub_blocks.records.base.project_folders import package_folder, project_folder
from tfhub_blocks.records.base.quiet_libraries import quiet_libraries
from tfhub_blocks.records.base.source_imports import import_from_source
from tfhub_blocks.records.environment.code_snapshots import write_step_package

_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool}


class _Steps(ModuleType):
    """A package whose attributes are components, never the folders that define them."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds each imported submodule to its package.
        if not (isinstance(value, ModuleType) and name in names()):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Steps


def names() -> list[str]:
    """Return the names of all steps, sorted."""
    return sorted(_files())


def _files() -> dict[str, Path]:
    folders = [Path(folder) for folder in _search_path()]
    found: dict[str, Path] = {}
    for folder in reversed(folders):
        for pattern in ("*/component.py", "operations/*/component.py"):
            found |= {path.parent.name: path for path in folder.glob(pattern)}
    return found


def _search_path() -> list[str]:
    """Return the folders of steps, the working directory's first, and import from them."""
    import_from_source()
    own, installed = project_folder() / "components", package_folder() / "components"
    folders = [str(own)] if own.is_dir() and own.resolve() != installed.resolve() else []
    __path__[:] = [*folders, str(installed)]
    return __path__


def __dir__() -> list[str]:
    return names()


def __getattr__(name: str) -> Any:
    if name.startswith("__") or name not in names():
        raise AttributeError(f"no step is named {name!r}. The steps are {', '.join(names())}.")
    quiet_libraries()
    know_import_frames()
    group = __name__
    if _files()[name].parents[1].name == "operations":
        group = f"{__name__}.operations"
        import_module(group).__path__[:] = [f"{folder}/operations" for folder in __path__]
    module = import_module(f"{group}.{name}.component")
    # Nodes of the decorated function lack this code snapshot; nodes of its component have it.
    component = getattr(module, name).component
    scratch = tempfile.mkdtemp(prefix="tfhub-blocks-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    folder = Path(scratch) / name  # Studio shows this name for the code
    source = Path(str(module.__file__))
    write_step_package(source, package_folder(), folder)
    shutil.copy(source, folder)
    # Not as additional_includes: their paths become part of the component, so each start of a
    # program would create another component.
    component.code = str(folder)
    # Without this text the SDK writes the component as YAML at each call, for the documentation of
    # a function that is never shown: nine tenths of the time in which a pipeline is compiled.
    component._yaml_str = f"name: {name}"
    _describe(component)
    globals()[name] = component
    return component


def _describe(component: Any) -> None:
    """Let ``inspect.signature``, ``help`` and editors show a component's own ports.

    azure-ai-ml gives all components the signature ``(*args, **kwargs)``.
    """
    parameters, lines = [], [f"{component.name}: {component.description}", "", "Inputs:"]
    for name, port in component.inputs.items():
        kind = _TYPES.get(port.type, type(port))
        default = port.default
        if default is None and not port.optional:
            default = Parameter.empty
        hint = kind | None if port.optional else kind
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint))
        lines.append(f"    {name} ({port_limits(port)}): {port.description}")
    parameters.sort(key=lambda it: it.default is not Parameter.empty)
    lines += ["", "Outputs:"]
    lines += (f"    {k} ({port.type}): {port.description}" for k, port in component.outputs.items())
    component.__signature__ = Signature(parameters)
    component.__annotations__ = {it.name: it.annotation for it in parameters}
    component.__doc__ = "\n".join(lines)


_search_path()
