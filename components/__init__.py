"""The steps, by name: ``from components import extract_features``.

What comes back is the azure-ai-ml component of ``components/NAME/component.py``, with the code
snapshot that Azure ML would get; call it inside a ``@dsl.pipeline`` to make a node. Components in
a folder named ``components`` where the program was started are found as well, and first.
"""

import atexit
import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import tfhub_blocks
from tfhub_blocks.records.code import write_step_package
from tfhub_blocks.records.frames import know_import_frames

_OWN_FOLDERS = Path.cwd() / "components"
if _OWN_FOLDERS.is_dir() and str(_OWN_FOLDERS) not in __path__:
    __path__.insert(0, str(_OWN_FOLDERS))


def names() -> list[str]:
    """The names of all steps."""
    found = {path.parent.name for root in __path__ for path in Path(root).glob("*/component.py")}
    return sorted(found)


def __getattr__(name: str) -> Any:
    if name not in names():
        raise AttributeError(f"there is no component {name!r}; there are: {', '.join(names())}")
    know_import_frames()
    module = import_module(f"{__name__}.{name}.component")
    # The decorated function makes nodes without this code; its component makes them with.
    component = getattr(module, name).component
    scratch = tempfile.mkdtemp(prefix="tfhub-blocks-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    folder = Path(scratch) / name  # the name that Studio shows for it
    write_step_package(Path(module.__file__), Path(tfhub_blocks.__file__).parent, folder)
    shutil.copy(module.__file__, folder)
    # Not as additional_includes: their paths become part of the component, which then is another
    # one each time that a program starts.
    component.code = str(folder)
    # Else the SDK writes it as YAML each time that it is called, for the documentation of a
    # function that nobody sees: nine tenths of the time in which a pipeline is compiled.
    component._yaml_str = f"name: {name}"
    globals()[name] = component
    return component
