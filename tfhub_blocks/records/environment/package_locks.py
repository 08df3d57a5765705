"""Package locks: the exact distributions of an environment, as files that pip and uv read."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tfhub_blocks
from tfhub_blocks.records.base.errors import BlocksError

LOCK_NAME = "requirements.lock"
# The lock in a step's code snapshot, inside the package tfhub_blocks.
STEP_LOCK_NAME = "environment.lock"
# For a lock that does not state its Python version.
DEFAULT_PYTHON = "3.11"

_LINE = re.compile(r"([\w.-]+)(?:\[[\w.,\s-]*\])?==([^\s;]+)(?:\s*;\s*(\S.*))?")
_FACT = re.compile(r"^# (environment|python|requirements): (\S+)$", re.M)
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True)
class LockedPackage:
    """One line of a lock. ``marker`` is the condition under which it applies; empty is always."""

    name: str
    version: str
    marker: str = ""
    is_hashed: bool = False


@dataclass(frozen=True)
class Lock:
    """A package lock: its packages, and the facts in its header.

    ``environment`` is NAME:VERSION, and only set in the lock of a code snapshot. ``requirements``
    is the digest of the ``requirements.in`` from which the lock was resolved.
    """

    packages: tuple[LockedPackage, ...]
    python: str = DEFAULT_PYTHON
    environment: str = ""
    requirements: str = ""

    def versions(self, surroundings: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the version of each package that the lock requires, by name.

        Args:
            surroundings: The variables of environment markers (PEP 508). A missing variable has
                the value of this interpreter.
        """
        return {
            package.name: package.version
            for package in self.packages
            if not package.marker or _applies(package.marker, surroundings)
        }

    def target_versions(self) -> dict[str, str]:
        """Return versions by name for Linux on x86-64 and the lock's CPython, as images have."""
        return self.versions(
            {
                "implementation_name": "cpython",
                "os_name": "posix",
                "platform_machine": "x86_64",
                "platform_python_implementation": "CPython",
                "platform_system": "Linux",
                "python_full_version": f"{self.python}.0",
                "python_version": self.python,
                "sys_platform": "linux",
            }
        )

    def step_text(self, environment: str) -> str:
        """Return the lock for a code snapshot: without hashes, as a step compares only versions."""
        lines = [f"# environment: {environment}", f"# python: {self.python}"]
        for package in self.packages:
            marker = f" ; {package.marker}" if package.marker else ""
            lines.append(f"{package.name}=={package.version}{marker}")
        return "\n".join(lines) + "\n"


def parse_lock(text: str, where: str) -> Lock:
    """Parse a lock from its text, with or without hashes.

    Raises:
        BlocksError: A line is not ``name==version``.
    """
    packages = []
    for line in requirement_lines(text):
        head, *hashes = re.split(r"\s+--hash=", line)
        match = _LINE.fullmatch(head)
        if match is None:
            raise BlocksError(
                where,
                head,
                f"the line {head!r} pins no version",
                "NAME==VERSION",
                "Run `tfhub-blocks env lock`, which writes this file",
            )
        packages.append(LockedPackage(match[1], match[2], match[3] or "", bool(hashes)))
    return Lock(tuple(packages), **dict(_FACT.findall(text)))


def requirement_lines(text: str) -> list[str]:
    """Return the lines of a requirements file without comments; continued lines are joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in (_COMMENT.sub("", line).strip() for line in lines) if line]


def requirements_digest(text: str) -> str:
    """Return the SHA-256 of the requirements in a text, independent of comments and order."""
    return hashlib.sha256("\n".join(sorted(requirement_lines(text))).encode()).hexdigest()


def with_header(lock_text: str, requirements: str, python: str) -> str:
    """Add the facts of a lock to the text that uv wrote, below uv's own comment."""
    comment = re.match(r"(#.*\n)*", lock_text)
    end = comment.end() if comment else 0
    facts = f"# requirements: {requirements_digest(requirements)}\n# python: {python}\n"
    return lock_text[:end] + facts + lock_text[end:]


def _applies(marker: str, surroundings: Mapping[str, str] | None) -> bool:
    # Imported here, because a lock without markers needs no parser.
    from packaging.markers import Marker

    return Marker(marker).evaluate(dict(surroundings) if surroundings else None)


def step_lock_path(package: Path | None = None) -> Path:
    """Return the path of the lock inside a code snapshot.

    Args:
        package: The folder of the ``tfhub_blocks`` package; the imported one by default.
    """
    return (package or Path(str(tfhub_blocks.__file__)).parent) / STEP_LOCK_NAME
