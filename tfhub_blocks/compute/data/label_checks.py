"""Labels that mean something else: missing values, forms of one label, several labels, numbers."""

import ast
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping

from tfhub_blocks.compute.data.fields import quoted
from tfhub_blocks.records.formats.inspections import EXAMPLES, Finding

# What programs write for a missing value; compared without case and white space.
_NULL_WORDS = (
    "nan na n/a n.a. n.a <na> #n/a #na none null nil (null) (none) nat -nan #value! #ref! "
    "undefined missing - -- --- ? . \\n _ empty <null> <none> void"
)
NULL_LIKE = frozenset(_NULL_WORDS.split())
# Separators of several labels in one value, and the least share of parts that occur in several.
SEPARATORS = (";", "|", ",", " / ", "/", " & ", "&", "+", "\n", "\t")
LEAST_COMBINED, LEAST_REPEATED = 2, 0.5
# A column of more different numbers, most of which occur less often, is measured, and not a class.
MANY_NUMBERS, MIN_REPEATED = 20, 3
REGRESSION_REMEDY = (
    "write a class for each range of numbers into the column, or set label_column to the column of "
    "the classes"
)
SEVERAL_REMEDY = (
    "or train one model for each label, with the label and its absence as the two classes"
)
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?%?")
_BETWEEN = re.compile(r"[\s_\-]+")


def whole_numbers(labels: Mapping[str, int]) -> dict[str, str]:
    """Return the labels of an untyped column as whole numbers, if all of them are.

    Programs write whole numbers as 1.0 where one of the column is missing. The result is empty if
    no label has a point, or if some label is not a whole number.
    """
    if not any("." in label for label in labels) or not labels:
        return {}
    if not all(_WHOLE.fullmatch(label.strip()) for label in labels):
        return {}
    return {label: str(int(label.strip().partition(".")[0] or 0)) for label in labels}


def renamed_finding(names: Mapping[str, str], column: str | None) -> Finding:
    """Return the note about labels that were read as whole numbers."""
    joined = {new for old, new in names.items() if old != new and new in names}
    first = next((old, new) for old, new in sorted(names.items()) if old != new)
    also = f", which joins the classes {quoted(joined)}" if joined else ""
    return Finding(
        "labels-differ-in-form",
        "warning" if joined else "note",
        f"whole numbers with a point in the column {column} are read without it, such as "
        f"{first[0]!r} as {first[1]!r}{also}",
        "",
        column or "source",
    )


def label_findings(counts: Mapping[str, int], column: str | None) -> Iterator[Finding]:
    """Yield what looks wrong with labels.

    Args:
        counts: The number of items of each label.
        column: The column that contains them; None for the names of folders.
    """
    where = f"the column {column}" if column else "the folders"
    yield from _null_like(counts, where)
    yield from _forms(counts)
    yield from _combined(counts, where, column)
    if column:
        yield from _measured(counts, where)


def _null_like(counts: Mapping[str, int], where: str) -> Iterator[Finding]:
    found = {label for label in counts if label.strip().casefold() in NULL_LIKE}
    if found:
        number = sum(counts[label] for label in found)
        yield Finding(
            "labels-null-like",
            "warning",
            f"{where} contain{'s' if where != 'the folders' else ''} {quoted(found)}, which looks "
            f"like a missing label ({number} items)",
            "remove these items, or give each its label",
            where,
        )


def _forms(counts: Mapping[str, int]) -> Iterator[Finding]:
    groups: dict[str, set[str]] = defaultdict(set)
    for label in counts:
        groups[_folded(label)].add(label)
    for _, group in sorted(groups.items()):
        if len(group) > 1:
            yield Finding(
                "labels-differ-in-form",
                "warning",
                f"the labels {quoted(group)} differ only in {_difference(group)}",
                "use one label if they mean one class",
            )


def _folded(label: str) -> str:
    folded = unicodedata.normalize("NFKC", label).casefold()
    folded = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    folded = _BETWEEN.sub("", folded) or folded
    if _NUMBER.fullmatch(folded) and not folded.endswith("%"):
        return f"{float(folded.replace(',', '.')):.12g}"
    return folded


def _difference(group: set[str]) -> str:
    """Return how the labels differ: the first way in which all become one."""
    ways: dict[str, Callable[[str], str]] = {
        "case or white space": lambda s: "".join(s.split()).casefold(),
        "their Unicode form (NFC, NFD)": lambda s: unicodedata.normalize("NFC", s),
        "how a number is written": lambda s: _folded(s) if _NUMBER.fullmatch(s.strip()) else s,
    }
    for text, way in ways.items():
        if len({way(label) for label in group}) == 1:
            return text
    return "case, white space, separators or Unicode form"


def _combined(counts: Mapping[str, int], where: str, column: str | None) -> Iterator[Finding]:
    found = _lists(counts) or _separated(counts)
    if found:
        remedy = "a model has one class for each item: write one label in each"
        remedy += f" row of the column {column}" if column else " folder's name"
        yield Finding(
            "several-labels",
            "warning",
            f"{where} {'contains' if column else 'have'} several labels in one: {quoted(found)}"
            " (multi-label data)",
            f"{remedy}, {SEVERAL_REMEDY}",
            column or "source",
        )


def _lists(counts: Mapping[str, int]) -> set[str]:
    """Return a few labels that are lists, as programs write them."""
    found: set[str] = set()
    for label in sorted(counts):
        text = label.strip()
        if text[:1] + text[-1:] in ("[]", "()", "{}") and len(text) > 1 and len(found) < EXAMPLES:
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
                # numpy separates by spaces
                value = text[1:-1].replace(",", " ").split() if text[0] == "[" else None
            if isinstance(value, list | tuple | set | dict):
                found.add(label)
    return found


def _separated(counts: Mapping[str, int]) -> set[str]:
    """Return a few labels that consist of other labels or of parts that others share."""
    for separator in SEPARATORS:
        split = {label: label.split(separator) for label in counts if separator in label}
        split = {label: parts for label, parts in split.items() if all(p.strip() for p in parts)}
        if len(split) < LEAST_COMBINED:
            continue
        parts = Counter(part.strip() for each in split.values() for part in set(each))
        known = {label.strip() for label in counts}
        repeated = sum(count > 1 or part in known for part, count in parts.items())
        is_number = all(_NUMBER.fullmatch(part) for part in parts)
        if repeated >= LEAST_REPEATED * len(parts) and not (is_number and separator in ",/"):
            return set(sorted(split)[:EXAMPLES])
    return set()


def _measured(counts: Mapping[str, int], where: str) -> Iterator[Finding]:
    numbers = [label.strip() for label in counts if _NUMBER.fullmatch(label.strip())]
    if len(numbers) <= max(MANY_NUMBERS, 0.9 * len(counts)):
        return
    values = [float(number.rstrip("%").replace(",", ".")) for number in numbers]
    low, high, total = min(values), max(values), sum(counts.values())
    is_whole = all(value.is_integer() for value in values)
    rare = sum(count < MIN_REPEATED for count in counts.values())
    if is_whole and low in (0, 1) and high - low + 1 == len(numbers):
        return  # the numbers of classes
    is_measured = rare > 0.5 * len(counts) or (not is_whole and rare)
    yield Finding(
        "regression-target",
        "fault" if is_measured else "warning",
        f"{where} contains {len(numbers)} different numbers from {low:g} to {high:g} for {total} "
        "items, which looks like a measured quantity (a regression target), not a class",
        REGRESSION_REMEDY,
        "label_column",
        "a few classes",
    )
