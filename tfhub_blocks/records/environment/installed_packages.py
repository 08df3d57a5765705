"""What is installed where a step runs."""

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
    """Version by normalised name of each distribution that this interpreter would import.

    Our own is left out: a step takes our code from its snapshot, never from the environment.
    """
    found: dict[str, str] = {}
    for entry in sys.path:
        # setuptools, once imported, adds a folder of its own inside site-packages.
        if {"site-packages", "dist-packages"} & {path.name for path in Path(entry).parents}:
            continue
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


def definition_version(folder: Path) -> str:
    """The version of an environment that steps are pinned to, from the content of its definition.

    Twelve hexadecimal digits, so the same version with other content cannot exist.
    """
    return content_version({name: (folder / name).read_bytes() for name in DEFINITION_FILES})


def content_version(files: Mapping[str, bytes]) -> str:
    """The version that a definition of these files has, of which an image is built."""
    return definition_digest(files)[:12]


def definition_digest(files: Mapping[str, bytes]) -> str:
    """The whole digest behind ``content_version``."""
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in DEFINITION_FILES}
    return tree_digest(digests)
