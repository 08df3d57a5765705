"""Python's own frames on the stack, for who looks at the stack while it is imported."""

import inspect
import os


def know_import_frames() -> None:
    """Let ``inspect.stack`` know the frames of the import system and of ``python -m``.

    mldesigner and azure-ai-ml ask for the stack in each component and pipeline that is loaded, deep
    in imports of imports. For a frame of a file that it does not know, Python searches all modules
    that are loaded, which are thousands: up to a fifth of a second for each component.
    """
    known = getattr(inspect, "modulesbyfile", {})
    for name in ("importlib._bootstrap", "importlib._bootstrap_external", "runpy"):
        # By this path it asks for them.
        known[os.path.abspath(f"<frozen {name}>")] = name  # noqa: PTH100
