"""Inspections: how a data set was understood, before anything is computed from it.

``snapshot_data`` writes an inspection into its snapshot, and ``tfhub-blocks data inspect`` prints
one. Both come from the same analysis.
"""

# decision 59

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

INSPECTION_NAME = "inspection.json"
INSPECTION_PAGE_NAME = "inspection.html"
# Paths that are kept as examples of one fate or one finding.
EXAMPLES = 5
# Different reasons that are kept; further ones are counted together.
REASONS = 200
OTHER_REASONS = "for other reasons"

# One value, not a choice of several.
_SETTING = re.compile(
    r"\b[Ss]et ([a-z]+(?:_[a-z]+)+|modality) (?:of \w+ )?to ([\w.:/-]*\w)"
    r"(?=$|[.;]|, and |, or |, to | if | to | or less)"
)

Level = Literal["fault", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """A property of a data set that users should know.

    ``snapshot_data`` refuses the data set if the level is ``fault``, records a ``warning`` with the
    snapshot, and prints no ``note``.
    """

    kind: str  # such as "labels-null-like"
    level: Level
    problem: str
    remedy: str = ""
    what: str = "source"  # the parameter or the column
    expected: str = ""
    examples: tuple[str, ...] = ()

    @property
    def typed(self) -> tuple[str, ...]:
        """The options of the remedy, as a user types them: ``--set respect_splits=true``."""
        return tuple(f"--set {name}={value}" for name, value in _SETTING.findall(self.remedy))

    @property
    def text(self) -> str:
        """The problem and the remedy as one line."""
        return f"{self.problem}: {self.remedy}" if self.remedy else self.problem


@dataclass(frozen=True)
class Fate:
    """The number of files or rows that share a fate, with a few of them."""

    reason: str
    count: int
    examples: tuple[str, ...] = ()


class Tally:
    """Counts by reason, each with the first few examples; memory is bounded.

    Example::

        tally = Tally()
        tally.add("the item is empty", "cat/1.png")
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, tuple[str, ...]]] = {}

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Count a file or a row."""
        if reason not in self._found and len(self._found) >= REASONS:
            reason = OTHER_REASONS
        before, examples = self._found.get(reason, (0, ()))
        if len(examples) < EXAMPLES:
            examples = (*examples, example)
        self._found[reason] = before + count, examples

    def count(self, reason: str) -> int:
        """Return the count of a reason."""
        return self._found.get(reason, (0, ()))[0]

    def total(self) -> int:
        """Return the sum of all counts."""
        return sum(count for count, _ in self._found.values())

    def fates(self) -> tuple[Fate, ...]:
        """Return the counts, the largest first."""
        found = (Fate(reason, *each) for reason, each in self._found.items())
        return tuple(sorted(found, key=lambda fate: (-fate.count, fate.reason)))


@dataclass(frozen=True)
class DataInspection:
    """How a source was understood.

    Each file of a folder, and each row of a table, has one fate: it is an item, a copy of an item,
    rejected with a reason, or something else (``others``: no item, with a reason). For class
    folders, ``files`` is the sum of the four. For a table, ``rows`` is the sum of the first three;
    ``files`` is the table, the files that its rows name, and ``others``.
    """

    modality: str | None
    layout: str
    options: Mapping[str, Any]
    files: int
    rows: int | None
    items: int
    copies: int
    rejected: tuple[Fate, ...] = ()
    others: tuple[Fate, ...] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Numbers of items by split and class."""
    findings: tuple[Finding, ...] = ()
    near_duplicates: Mapping[str, Any] | None = None
    """Items and groups of near duplicates with the paths of a few; None if none were looked for."""
    properties: Mapping[str, int] = field(default_factory=dict)
    """Numbers of items by property, such as transparency."""

    @property
    def is_usable(self) -> bool:
        """True if ``snapshot_data`` takes the source with these options."""
        return not any(finding.level == "fault" for finding in self.findings)

    def of_level(self, level: Level) -> tuple[Finding, ...]:
        """Return the findings of one level."""
        return tuple(finding for finding in self.findings if finding.level == level)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted({label for of in self.counts.values() for label in of}))

    def as_dict(self) -> dict[str, Any]:
        """Return the inspection, JSON-ready."""
        return {
            "usable": self.is_usable,
            "modality": self.modality,
            "layout": self.layout,
            "files": self.files,
            "rows": self.rows,
            "items": self.items,
            "copies": self.copies,
            "rejected": total(self.rejected),
            "others": total(self.others),
            "classes": len(self.labels),
            "counts": self.counts,
            "findings": [
                {**asdict(finding), "options": finding.typed} for finding in self.findings
            ],
            "near_duplicates": self.near_duplicates,
            "properties": self.properties,
            "fates": {
                "rejected": [asdict(fate) for fate in self.rejected],
                "others": [asdict(fate) for fate in self.others],
            },
            "options": self.options,
        }

    def write(self, folder: Path) -> None:
        """Write the inspection into the folder of a snapshot."""
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False)
        (folder / INSPECTION_NAME).write_text(text + "\n", encoding="utf-8")


def total(fates: Iterable[Fate]) -> int:
    """Return the number of files or rows of several fates."""
    return sum(fate.count for fate in fates)


def shown_examples(examples: tuple[str, ...], count: int) -> str:
    """Return a few examples in one line, with the number of the others."""
    more = f" and {count - len(examples)} more" if count > len(examples) else ""
    return ", ".join(examples) + more


def inspection_lines(inspection: DataInspection, source: str) -> Iterator[str]:
    """Yield the inspection as text, line by line."""
    from tfhub_blocks.records.formats.snapshots import SPLITS

    one = inspection
    yield f"{source}: {one.layout}" + (f", modality {one.modality}" if one.modality else "")
    rejected, others = total(one.rejected), total(one.others)
    seen = f"{one.files:,} files" if one.rows is None else f"{one.rows:,} rows, {one.files:,} files"
    yield (
        f"  {seen}: {one.items:,} items, {one.copies:,} copies of items, {rejected:,} rejected, "
        f"{others:,} other files"
    )
    for title, fates in (("rejected", one.rejected), ("other", one.others)):
        for fate in fates:
            examples = shown_examples(fate.examples, fate.count)
            yield f"  {title:<10} {fate.count:>9,}  {fate.reason}: {examples}"
    if one.counts:
        yield ""
        width = min(max(map(len, (*one.labels, "class"))), 40)
        yield f"  {'class':<{width}}" + "".join(f" {name:>11}" for name in (*SPLITS, "items"))
        for label in one.labels:
            numbers = [one.counts[split].get(label, 0) for split in SPLITS]
            cells = "".join(f" {number:>11,}" for number in (*numbers, sum(numbers)))
            yield f"  {label:<{width}}{cells}"
        sums = [sum(one.counts[split].values()) for split in SPLITS]
        cells = "".join(f" {number:>11,}" for number in (*sums, sum(sums)))
        yield f"  {'all':<{width}}{cells}"
    if one.near_duplicates and one.near_duplicates["groups"]:
        yield ""
        near = one.near_duplicates
        yield f"  near duplicates: {near['items']:,} items in {near['groups']:,} groups, such as"
        for pair in near["examples"]:
            yield f"    {' | '.join(pair)}"
    if one.findings:
        yield ""
    for finding in one.findings:
        yield f"{finding.level}: [{finding.kind}] {finding.text}"
        if finding.typed:
            yield f"  type: {' '.join(finding.typed)}"
        if finding.examples:
            yield f"  such as {', '.join(finding.examples)}"
