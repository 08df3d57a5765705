"""The differences of two release locks, in the terms of their entries."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tfhub_blocks.records.base.documents import as_record
from tfhub_blocks.records.formats.releases import LockedProfile, ReleaseLock

_DIGEST = re.compile(r"[0-9a-f]{40,64}")
_SHOWN_DIGITS = 8
# The word for an entry of each table.
_TABLES = {
    "data": "data",
    "encoder": "encoder",
    "environments": "environment",
    "components": "component",
    "steps": "step",
    "profiles": "profile",
    "open": "open input",
}


@dataclass(frozen=True)
class LockDifference:
    """A difference of two locks: the subject, its key, and both values.

    A value is None if the lock has no such entry.
    """

    subject: str
    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        key = f": {self.key}" if self.key else ""
        return f"{self.subject}{key} {shown(self.before)} → {shown(self.after)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the difference as JSON-ready values."""
        return asdict(self)


def differences(old: ReleaseLock, new: ReleaseLock) -> list[LockDifference]:
    """Return all differences of two locks except their own digests, in the order of a lock."""
    before, after = as_record(old), as_record(new)
    for record in (before, after):
        del record["digest"]
    return list(_differences(before, after))


def profile_differences(name: str, old: LockedProfile, new: LockedProfile) -> list[LockDifference]:
    """Return the differences of two locks in the fields that a profile adds."""
    return list(_entry(f"{_TABLES['profiles']} {name}", as_record(old), as_record(new)))


def shown(value: Any) -> str:
    """Return a value as users read it: a digest is cut to its first digits."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return f"{value[:_SHOWN_DIGITS]}…"
    return str(value)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[LockDifference]:
    for table in dict.fromkeys([*before, *after]):
        one, other = before.get(table), after.get(table)
        if table in _TABLES:
            for name in dict.fromkeys([*(one or {}), *(other or {})]):
                subject = f"{_TABLES[table]} {name}"
                yield from _entry(subject, (one or {}).get(name), (other or {}).get(name))
        elif table in ("inputs", "job"):
            yield from _flat(table.removesuffix("s"), one or {}, other or {})
        elif table == "evidence":
            yield from _entry("evidence", one, other)
        elif one != other:
            yield LockDifference(table, "", one, other)


def _entry(
    subject: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Iterator[LockDifference]:
    """Yield the differences of one entry; a single line if only one lock has the entry."""
    if before is None or after is None:
        if before is not after:
            yield LockDifference(subject, "", _named(before), _named(after))
        return
    for key in dict.fromkeys([*before, *after]):
        one, other = before.get(key), after.get(key)
        if isinstance(one, dict) or isinstance(other, dict):
            word = "parameter" if key == "parameters" else key
            flat = _flat(word, one or {}, other or {})
            yield from (
                LockDifference(subject, f"{d.subject} {d.key}", d.before, d.after) for d in flat
            )
        elif one != other:
            word = key.replace("_", " ")
            yield LockDifference(subject, word, one, other)


def _flat(
    subject: str, before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[LockDifference]:
    for key in dict.fromkeys([*before, *after]):
        one, other = before.get(key), after.get(key)
        if isinstance(one, dict) or isinstance(other, dict):
            yield from _flat(subject, one or {}, other or {}, f"{prefix}{key} ")
        elif one != other:
            yield LockDifference(subject, f"{prefix}{key}", one, other)


def _named(entry: Mapping[str, Any] | None) -> str | None:
    """Return the name of an entry that the other lock does not have."""
    if entry is None:
        return None
    words = [entry.get("name"), entry.get("component"), entry.get("version")]
    return ":".join(word for word in words if word) or "an entry"
