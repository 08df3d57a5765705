"""Environment drift: differences between installed packages and the lock of a step."""

# decision 7

import base64
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.environment.installed_packages import installed_packages
from tfhub_blocks.records.environment.package_locks import (
    STEP_LOCK_NAME,
    Lock,
    parse_lock,
    step_lock_path,
)

# A step records a difference in its lineage, or records it and prints a warning, or fails.
Policy = Literal["record", "warn", "refuse"]
POLICY_VARIABLE = "TFHUB_BLOCKS_ENVIRONMENT_POLICY"
DEFAULT_POLICY: Policy = "warn"
FILES_VARIABLE = "TFHUB_BLOCKS_CHECK_FILES"
# These install the packages of a lock, and are not part of it.
INSTALLERS = frozenset({"pip", "wheel"})


@dataclass(frozen=True)
class Drift:
    """The differences between installed packages and a lock, by kind.

    ``missing`` and ``extra`` contain versions by name; ``other`` contains the locked and the
    installed version. ``tampered`` lists files that were changed after installation, by
    distribution; None means that files were not checked.
    """

    environment: str
    python: str
    locked_python: str
    missing: Mapping[str, str]
    other: Mapping[str, tuple[str, str]]
    extra: Mapping[str, str]
    tampered: Mapping[str, list[str]] | None = None

    def differences(self, extra_counts: bool) -> list[str]:
        """Return each difference in words; packages outside the lock only if ``extra_counts``."""
        lines = []
        if not f"{self.python}.".startswith(f"{self.locked_python}."):
            lines.append(f"Python is {self.python}, locked is {self.locked_python}")
        lines += [f"{n} is {found}, locked is {want}" for n, (want, found) in self.other.items()]
        lines += [f"{name} {version} is missing" for name, version in self.missing.items()]
        for name, files in (self.tampered or {}).items():
            lines.append(f"{name} was changed after it was installed ({', '.join(files[:2])})")
        if extra_counts:
            lines += [f"{n} {version} is not in the lock" for n, version in self.extra.items()]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record for a lineage.

        Packages outside the lock are recorded as their number and a digest.
        """
        record = asdict(self)
        extra = record.pop("extra")
        return record | {"extra": {"count": len(extra), "digest": record_digest(extra)}}


def read_step_lock() -> Lock | None:
    """Read the lock in this step's code snapshot. A checkout has none: return None."""
    path = step_lock_path()
    if not path.is_file():
        return None
    return parse_lock(path.read_text(encoding="utf-8"), STEP_LOCK_NAME)


def drift_from(lock: Lock) -> Drift:
    """Return the differences of this interpreter and its packages from a lock."""
    wanted, installed = lock.versions(), installed_packages()
    both = wanted.keys() & installed.keys()
    return Drift(
        environment=lock.environment,
        python=platform.python_version(),
        locked_python=lock.python,
        missing={name: wanted[name] for name in wanted if name not in installed},
        other={
            name: (wanted[name], installed[name])
            for name in sorted(both)
            if not _same_version(wanted[name], installed[name])
        },
        extra={
            name: version
            for name, version in installed.items()
            if name not in wanted and name not in INSTALLERS
        },
    )


def with_tampered_files(drift: Drift, lock: Lock) -> Drift:
    """Add to a drift the files of locked distributions that were changed after installation.

    Every byte is read, which takes seconds if TensorFlow is installed.
    """
    found = {name: tampered_files(name) for name in lock.versions() if name not in drift.missing}
    return replace(drift, tampered={name: files for name, files in found.items() if files})


def tampered_files(distribution: str) -> list[str]:
    """Return the files of an installed distribution that are missing or differ from its RECORD.

    The names are sorted. A missing RECORD is in the list. A change of a file together with its line
    in RECORD is not detected.
    """
    # Imported here, because these imports take a third of the time of a check without files.
    import csv
    import importlib.metadata

    installed = importlib.metadata.distribution(distribution)
    record = installed.read_text("RECORD")
    if record is None:
        return ["RECORD"]
    # Not installed.files: since Python 3.12 it leaves out missing files.
    return sorted(
        name
        for name, stated, *_ in csv.reader(record.splitlines())
        if stated and not _has_digest(Path(str(installed.locate_file(name))), stated)
    )


def _has_digest(path: Path, stated: str) -> bool:
    """Return True if a file has the digest in RECORD, such as ``sha256=47DEQ...``."""
    algorithm, _, expected = stated.partition("=")
    if not path.is_file():
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == expected


def _same_version(one: str, other: str) -> bool:
    """Return True if two texts are the same version, such as 2024.01 and 2024.1."""
    if one == other:
        return True
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False
