"""What a verification finds: faults, parts that are not here, and what is only told."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class VerificationFinding:
    """Something about one part of a chain: its kind, where it is, and what was found of what."""

    kind: str
    where: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.where} > {self.what}: {self.found}; expected {self.expected}"


@dataclass
class Verdict:
    """What is wrong with a chain, what of it is not here, what is worth knowing, what was read."""

    title: str
    faults: list[VerificationFinding] = field(default_factory=list)
    gaps: list[VerificationFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    outputs: int = 0
    files: int = 0
    sources: list[str] = field(default_factory=list)

    def fault(self, kind: str, where: object, what: str, expected: str, found: str) -> None:
        """Add a fault, once."""
        finding = VerificationFinding(kind, str(where), what, expected, found)
        if finding not in self.faults:
            self.faults.append(finding)

    def gap(self, kind: str, where: object, what: str, expected: str, found: str) -> None:
        """Add a part that is not here, once."""
        finding = VerificationFinding(kind, str(where), what, expected, found)
        if finding not in self.gaps:
            self.gaps.append(finding)

    def note(self, text: str) -> None:
        """Add what is no fault, once."""
        if text not in self.notes:
            self.notes.append(text)

    def holds(self, partial: bool) -> bool:
        """Whether there is no fault, and all is here or need not be."""
        return not self.faults and (partial or not self.gaps)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "title": self.title,
            "faults": [vars(finding) for finding in self.faults],
            "gaps": [vars(finding) for finding in self.gaps],
            "notes": self.notes,
            "outputs": self.outputs,
            "files": self.files,
            "sources": self.sources,
        }
