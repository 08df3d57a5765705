"""Locks: exactly which distributions an environment holds, as files that pip and uv read."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tfhub_blocks
from tfhub_blocks.records.base.errors import BlocksError

LOCK_NAME = "requirements.lock"
# What a step's code snapshot carries, inside our package.
STEP_LOCK_NAME = "environment.lock"
# For a lock that does not say which Python it was made for.
DEFAULT_PYTHON = "3.11"

_LINE = re.compile(r"([\w.-]+)(?:\[[\w.,\s-]*\])?==([^\s;]+)(?:\s*;\s*(\S.*))?")
_FACT = re.compile(r"^# (environment|python|requirements): (\S+)$", re.M)
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True)
class LockedPackage:
    """One line of a lock; ``marker`` says where it holds, and is empty where it always does."""

    name: str
    version: str
    marker: str = ""
    is_hashed: bool = False


@dataclass(frozen=True)
class Lock:
    """A lock, read: its packages, and what its header says that it was made for.

    ``environment`` is NAME:VERSION and only stands in what a step carries; ``requirements`` is
    the digest of the ``requirements.in`` that it was made from.
    """

    packages: tuple[LockedPackage, ...]
    python: str = DEFAULT_PYTHON
    environment: str = ""
    requirements: str = ""

    def versions(self, surroundings: Mapping[str, str] | None = None) -> dict[str, str]:
        """Version by name of each package that the lock asks for in some surroundings.

        Args:
            surroundings: The variables of environment markers (PEP 508); what is not given is as
                in this interpreter.
        """
        return {
            package.name: package.version
            for package in self.packages
            if not package.marker or _holds(package.marker, surroundings)
        }

    def target_versions(self) -> dict[str, str]:
        """Version by name where the images run: Linux on x86-64, CPython of the lock's version."""
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
        """The lock as a step carries it: no hashes, for versions are all that it compares."""
        lines = [f"# environment: {environment}", f"# python: {self.python}"]
        for package in self.packages:
            marker = f" ; {package.marker}" if package.marker else ""
            lines.append(f"{package.name}=={package.version}{marker}")
        return "\n".join(lines) + "\n"


def parse_lock(text: str, where: str) -> Lock:
    """A lock from its text, with hashes or as a step carries it.

    Raises:
        BlocksError: A line is no ``name==version``.
    """
    packages = []
    for line in requirement_lines(text):
        head, *hashes = re.split(r"\s+--hash=", line)
        match = _LINE.fullmatch(head)
        if match is None:
            raise BlocksError(
                where,
                head,
                "this line pins no version",
                "NAME==VERSION",
                "run `tfhub-blocks env lock`, which writes this file",
            )
        packages.append(LockedPackage(match[1], match[2], match[3] or "", bool(hashes)))
    return Lock(tuple(packages), **dict(_FACT.findall(text)))


def requirement_lines(text: str) -> list[str]:
    """The lines of a requirements file that say something, continued ones as one line."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in (_COMMENT.sub("", line).strip() for line in lines) if line]


def requirements_digest(text: str) -> str:
    """The SHA-256 of what a ``requirements.in`` asks for, whatever its comments and order."""
    return hashlib.sha256("\n".join(sorted(requirement_lines(text))).encode()).hexdigest()


def with_header(lock_text: str, requirements: str, python: str) -> str:
    """What uv wrote with, below the comment that it begins with, what it was made from."""
    comment = re.match(r"(#.*\n)*", lock_text)
    end = comment.end() if comment else 0
    facts = f"# requirements: {requirements_digest(requirements)}\n# python: {python}\n"
    return lock_text[:end] + facts + lock_text[end:]


def _holds(marker: str, surroundings: Mapping[str, str] | None) -> bool:
    # Most locks that a step carries have a marker or two; those without need no parser.
    from packaging.markers import Marker

    return Marker(marker).evaluate(dict(surroundings) if surroundings else None)


def step_lock_path(package: Path | None = None) -> Path:
    """Return the path of the lock inside a code snapshot.

    Args:
        package: The folder of the ``tfhub_blocks`` package; the imported one by default.
    """
    return (package or Path(str(tfhub_blocks.__file__)).parent) / STEP_LOCK_NAME
