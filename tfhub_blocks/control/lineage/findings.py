"""The result of a verification: faults, missing parts, and notes."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class VerificationFinding:
    """A finding about one part of a chain: kind, place, subject, expected value, found value."""

    kind: str
    where: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.where} > {self.what}: {self.found}; expected {self.expected}"


@dataclass
class Verdict:
    """The faults and missing parts of a chain, notes about it, and the number of files read."""

    title: str
    faults: list[VerificationFinding] = field(default_factory=list)
    gaps: list[VerificationFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    outputs: int = 0
    files: int = 0
    sources: list[str] = field(default_factory=list)

    def fault(self, kind: str, where: object, what: str, expected: str, found: str) -> None:
        """Add a fault, unless the same fault is there already."""
        finding = VerificationFinding(kind, str(where), what, expected, found)
        if finding not in self.faults:
            self.faults.append(finding)

    def gap(self, kind: str, where: object, what: str, expected: str, found: str) -> None:
        """Add a missing part, unless the same part is there already."""
        finding = VerificationFinding(kind, str(where), what, expected, found)
        if finding not in self.gaps:
            self.gaps.append(finding)

    def note(self, text: str) -> None:
        """Add a note that is no fault, unless the same note is there already."""
        if text not in self.notes:
            self.notes.append(text)

    def holds(self, partial: bool) -> bool:
        """Return True without faults and missing parts; ``partial`` accepts missing parts."""
        return not self.faults and (partial or not self.gaps)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready values."""
        return {
            "title": self.title,
            "faults": [vars(finding) for finding in self.faults],
            "gaps": [vars(finding) for finding in self.gaps],
            "notes": self.notes,
            "outputs": self.outputs,
            "files": self.files,
            "sources": self.sources,
        }
