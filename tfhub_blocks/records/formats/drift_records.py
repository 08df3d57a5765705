"""Drift records: whether the items of a model have moved, and what that costs in accuracy.

A record is an in-toto statement about the model and the items, with a test-result predicate like
that of evidence. It is ``drift.json`` in the output of ``monitor_drift``.
"""

# decision 93

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Format, write_file
from tfhub_blocks.records.base.lineage import STATEMENT_TYPE
from tfhub_blocks.records.base.sealed_statements import UNREADABLE, read_sealed, sealed

PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
MONITORING = Format("monitoring", 1)
RECORD_NAME, FORMAT = "drift.json", "drift/1"
# The files next to the record: the items of all looks, the fitted map, and the items to label.
LOOKS_NAME, MAP_NAME, LABELS_NAME = "looks.parquet", "map.npz", "to_label.csv"

STEADY, SHIFTED, ALARM = "no shift found", "shift in this look", "alarm"


@dataclass(frozen=True)
class Look:
    """One comparison: its items, their number and time, the p-value, and the wealth after it."""

    items_digest: str
    items: int
    time: str
    p: float
    wealth: float


@dataclass(frozen=True)
class DriftRecord:
    """The result of one monitoring, with the looks before it.

    ``reasons`` are the alarms, in one sentence each; without an alarm there is none. ``shift`` has
    the p-values of this look alone, and the shift that this number of items could have shown.
    ``accuracy`` are estimates, each with its assumption. ``measured`` is the accuracy of labelled
    items, or None. Further fields are tables of the report.
    """

    model_digest: str
    digests: Mapping[str, str]
    looks: tuple[Look, ...]
    shift: Mapping[str, Any]
    accuracy: tuple[Mapping[str, Any], ...]
    reference_accuracy: float
    measured: Mapping[str, float] | None
    classes: tuple[Mapping[str, Any], ...]
    slices: Mapping[str, float]
    reasons: tuple[str, ...]
    alarm_level: float
    left_out: int = 0

    @property
    def verdict(self) -> str:
        """``alarm``; or the result of this look alone, which is no alarm by itself."""
        if self.reasons:
            return ALARM
        return SHIFTED if self.shift["p"] <= self.alarm_level else STEADY

    @property
    def highest_wealth(self) -> float:
        """The highest wealth of all looks, which decides the alarm."""
        return max(look.wealth for look in self.looks)

    def lines(self) -> list[str]:
        """Return the result in a few lines, for people; the reasons of an alarm come last."""
        look, values = self.looks[-1], [each["value"] for each in self.accuracy]
        lines = [
            f"{self.verdict}: look {len(self.looks)}, {look.items} new items, p "
            f"{self.shift['p']:.3g}, wealth {look.wealth:.3g} of {1 / self.alarm_level:g}",
            f"accuracy: {self.reference_accuracy:.3f} on held-out items, estimated "
            f"{min(values):.3f} to {max(values):.3f} on new items",
        ]
        if it := self.measured:
            lines.append(
                f"measured with {int(it['labels'])} labels: {it['value']:.3f} "
                f"({it['low']:.3f} to {it['high']:.3f})"
            )
        return [*lines, *self.reasons]

    def as_statement(self) -> dict[str, Any]:
        """Return the record as an in-toto statement that contains its own digest."""
        items = self.looks[-1]
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        del named["model_digest"], named["digests"]
        predicate: dict[str, Any] = {
            "result": "FAILED" if self.reasons else "PASSED",
            "configuration": [
                {"name": name, "digest": {"sha256": digest}}
                for name, digest in self.digests.items()
            ],
            "format": FORMAT,
            "verdict": self.verdict,
            **named,
            "looks": [asdict(look) for look in self.looks],
        }
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": "model", "digest": {"dirHash": self.model_digest}},
                {"name": "items", "digest": {"sha256": items.items_digest}},
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
        # Tuples become lists before the digest, as a reader finds them.
        found: dict[str, Any] = json.loads(json.dumps(statement))
        return sealed(found)

    def write(self, path: Path) -> None:
        """Write the statement. The file is complete or absent."""
        text = json.dumps(self.as_statement(), indent=1, ensure_ascii=False)
        write_file(path, f"{text}\n".encode())


def read_drift(path: Path, where: str) -> DriftRecord:
    """Read the record in a file, and check its digest.

    Raises:
        BlocksError: The file is no drift record, has another format, or was edited.
    """
    try:
        statement = read_sealed(path, FORMAT)
        predicate = statement["predicate"]
        names = {f.name for f in fields(DriftRecord)} - {"model_digest", "digests"}
        given = {name: predicate[name] for name in names}
        sequences = {name: tuple(given[name]) for name in ("accuracy", "classes", "reasons")}
        looks = tuple(Look(**look) for look in given["looks"])
        return DriftRecord(
            model_digest=statement["subject"][0]["digest"]["dirHash"],
            digests={it["name"]: it["digest"]["sha256"] for it in predicate["configuration"]},
            **{**given, **sequences, "looks": looks},
        )
    except UNREADABLE as error:
        raise BlocksError(
            where,
            RECORD_NAME,
            f"{path} is not a valid drift record ({error})",
            "the unchanged drift.json that monitor_drift wrote",
            "Run monitor_drift again",
        ) from error
