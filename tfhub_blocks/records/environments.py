"""What is installed where a step runs."""

import platform
import sys
from pathlib import Path

from tfhub_blocks.records.digests import record_digest

OWN_NAME = "tfhub-blocks"


def installed_packages() -> dict[str, str]:
    """Version by normalised name of each distribution that this interpreter would import.

    Our own is left out: a step takes our code from its snapshot, never from the environment.
    """
    found: dict[str, str] = {}
    for entry in sys.path:
        # A dist-info folder's name states both; reading 200 METADATA files takes 40 times longer.
        for folder in Path(entry or ".").glob("*.dist-info"):
            name, _, version = folder.stem.rpartition("-")
            found.setdefault(name.lower().replace("_", "-").replace(".", "-"), version)
    found.pop(OWN_NAME, None)
    return dict(sorted(found.items()))


def environment_digest() -> str:
    """One digest over interpreter, machine type and every installed version."""
    return record_digest(
        {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "packages": installed_packages(),
        }
    )
