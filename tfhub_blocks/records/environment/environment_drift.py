"""How the environment that a step runs in differs from the lock that the step is pinned to."""

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

# What a step does about a difference: writes it into its lineage, says so as well, or ends.
Policy = Literal["record", "warn", "refuse"]
POLICY_VARIABLE = "TFHUB_BLOCKS_ENVIRONMENT_POLICY"
DEFAULT_POLICY: Policy = "warn"
FILES_VARIABLE = "TFHUB_BLOCKS_CHECK_FILES"
# What installs a lock is beside it, and not of it.
INSTALLERS = frozenset({"pip", "wheel"})


@dataclass(frozen=True)
class Drift:
    """The differences between what is installed and a lock, told apart by kind.

    ``missing`` and ``extra`` give the version by name, ``other`` the locked and the installed one.
    ``tampered`` names files that were changed after they were installed, by distribution; it is
    None if nobody looked.
    """

    environment: str
    python: str
    locked_python: str
    missing: Mapping[str, str]
    other: Mapping[str, tuple[str, str]]
    extra: Mapping[str, str]
    tampered: Mapping[str, list[str]] | None = None

    def differences(self, extra_counts: bool) -> list[str]:
        """Each difference in words; distributions beside the lock only if they count as one."""
        told = []
        if not f"{self.python}.".startswith(f"{self.locked_python}."):
            told.append(f"Python is {self.python}, locked is {self.locked_python}")
        told += [f"{n} is {found}, locked is {want}" for n, (want, found) in self.other.items()]
        told += [f"{name} {version} is missing" for name, version in self.missing.items()]
        for name, files in (self.tampered or {}).items():
            told.append(f"{name} was changed after it was installed ({', '.join(files[:2])})")
        if extra_counts:
            told += [f"{n} {version} is not in the lock" for n, version in self.extra.items()]
        return told

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for a lineage; of what is beside the lock only the count and a digest."""
        record = asdict(self)
        extra = record.pop("extra")
        return record | {"extra": {"count": len(extra), "digest": record_digest(extra)}}


def read_step_lock() -> Lock | None:
    """The lock that this step's code snapshot carries, or None; a checkout carries none."""
    path = step_lock_path()
    if not path.is_file():
        return None
    return parse_lock(path.read_text(encoding="utf-8"), STEP_LOCK_NAME)


def drift_from(lock: Lock) -> Drift:
    """How this interpreter and what it would import differ from a lock."""
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
    """The drift, with the files of locked distributions that are not as they were installed.

    Every byte is read, which takes seconds where TensorFlow is installed.
    """
    found = {name: tampered_files(name) for name in lock.versions() if name not in drift.missing}
    return replace(drift, tampered={name: files for name, files in found.items() if files})


def tampered_files(distribution: str) -> list[str]:
    """The files of an installed distribution that are gone or differ from its RECORD, sorted.

    RECORD itself is one of them if it is gone. It is as far as this sees: who changes a file and
    its line of RECORD alike is not noticed.
    """
    # Here, since they take a third of what a guard that reads no file may cost.
    import csv
    import importlib.metadata

    installed = importlib.metadata.distribution(distribution)
    record = installed.read_text("RECORD")
    if record is None:
        return ["RECORD"]
    # Not installed.files: from Python 3.12 on, it leaves out the files that are gone.
    return sorted(
        name
        for name, stated, *_ in csv.reader(record.splitlines())
        if stated and not _has_digest(Path(str(installed.locate_file(name))), stated)
    )


def _has_digest(path: Path, stated: str) -> bool:
    """Whether a file has the digest that RECORD states, such as ``sha256=47DEQ...``."""
    algorithm, _, expected = stated.partition("=")
    if not path.is_file():
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == expected


def _same_version(one: str, other: str) -> bool:
    """Whether two texts mean one version, such as 2024.01 and 2024.1."""
    if one == other:
        return True
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False
