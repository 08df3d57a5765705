"""The packages that are installed where a step runs."""

import hashlib
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from tfhub_blocks.records.base.digests import record_digest, tree_digest
from tfhub_blocks.records.environment.package_locks import LOCK_NAME

OWN_NAME = "tfhub-blocks"
DEFINITION_FILES = ("Dockerfile", LOCK_NAME)


def installed_packages() -> dict[str, str]:
    """Return the version of each installed distribution, by normalised name.

    tfhub-blocks is left out: a step imports it from its code snapshot, never from the environment.
    """
    found: dict[str, str] = {}
    for entry in sys.path:
        # After its import, setuptools adds a folder inside site-packages.
        if {"site-packages", "dist-packages"} & {path.name for path in Path(entry).parents}:
            continue
        # The name of a dist-info folder contains both; reading 200 METADATA files takes 40 times
        # longer.
        for folder in Path(entry or ".").glob("*.dist-info"):
            name, _, version = folder.stem.rpartition("-")
            found.setdefault(name.lower().replace("_", "-").replace(".", "-"), version)
    found.pop(OWN_NAME, None)
    return dict(sorted(found.items()))


def environment_digest() -> str:
    """Return one digest of the interpreter, the machine type and every installed version."""
    return record_digest(
        {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "packages": installed_packages(),
        }
    )


def definition_version(folder: Path) -> str:
    """Return the version of an environment, from the content of its definition.

    The version has twelve hexadecimal digits of a digest, so it never has two contents.
    """
    return content_version({name: (folder / name).read_bytes() for name in DEFINITION_FILES})


def content_version(files: Mapping[str, bytes]) -> str:
    """Return the version of an environment definition with these files."""
    return definition_digest(files)[:12]


def definition_digest(files: Mapping[str, bytes]) -> str:
    """Return the complete digest from which ``content_version`` takes its digits."""
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in DEFINITION_FILES}
    return tree_digest(digests)
