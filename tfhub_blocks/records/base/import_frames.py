"""Python's import frames, made known to code that inspects the stack during an import."""

import inspect
import os


def know_import_frames() -> None:
    """Register the frames of the import system and of ``python -m`` with ``inspect.stack``.

    mldesigner and azure-ai-ml inspect the stack when they load a component or a pipeline, deep in
    nested imports. For a frame of an unknown file, Python searches all loaded modules, of which
    there are thousands: up to a fifth of a second for each component.
    """
    known = getattr(inspect, "modulesbyfile", {})
    for name in ("importlib._bootstrap", "importlib._bootstrap_external", "runpy"):
        # inspect looks for the frames under this path.
        known[os.path.abspath(f"<frozen {name}>")] = name  # noqa: PTH100
