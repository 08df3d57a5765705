"""Evidence: the measurements of a model, their data, and the thresholds that the model met.

Evidence is an in-toto statement about the model with a test-result predicate; see
https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.base.lineage import STATEMENT_TYPE
from tfhub_blocks.records.base.sealed_statements import UNREADABLE, read_sealed, sealed
from tfhub_blocks.records.formats.champion_comparison import (
    MIN_GAIN,
    ChampionComparison,
    read_comparison,
)

PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
FORMAT = "evidence/1"


@dataclass(frozen=True)
class Threshold:
    """A requested bound, and the measured value."""

    name: str
    asked: float
    measured: float
    met: bool


@dataclass(frozen=True)
class Evidence:
    """The result of an evaluation or of a latency check.

    ``digests`` contains the digests of the snapshot, the encoder, the code and the environment of
    training and of measurement. ``facts`` are further conditions under which the evidence is valid,
    such as the machine size. ``comparison`` is set if the model was compared with a champion.
    Example::

        evidence = read_evidence(path, "my_step")
        print(evidence.passed, evidence.metrics["accuracy"]["value"])
    """

    model_digest: str
    digests: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, float]]
    thresholds: tuple[Threshold, ...]
    kind: Literal["evaluation", "latency"] = "evaluation"
    facts: Mapping[str, str] = field(default_factory=dict)
    comparison: ChampionComparison | None = None
    items: int | None = None
    """The number of test items; None in evidence of release 0.1."""
    untested: tuple[str, ...] = ()
    """The classes without a test item."""
    warnings: tuple[str, ...] = ()
    """Warnings about the data, for everybody who relies on the evidence."""

    @property
    def passed(self) -> bool:
        """True if the evidence has thresholds and the model met all of them."""
        return bool(self.thresholds) and all(threshold.met for threshold in self.thresholds)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield each contradiction about the champion, as (found, expected)."""
        gains = [threshold for threshold in self.thresholds if threshold.name == MIN_GAIN]
        if self.comparison is None:
            if gains:
                yield (
                    f"the evidence has the threshold {MIN_GAIN}, but no comparison",
                    "a comparison with the champion",
                )
            return
        data, low = self.digests.get("snapshot"), self.comparison.changes["accuracy"]["low"]
        if self.comparison.snapshot != data:
            yield (
                f"the champion was measured on the snapshot {self.comparison.snapshot}",
                f"the snapshot on which the model was measured, {data}",
            )
        for threshold in gains:
            if threshold.measured != low:
                yield (
                    f"{MIN_GAIN} was compared with {threshold.measured:.4g}",
                    f"the lower end of the comparison in the evidence, {low:.4g}",
                )

    def as_statement(self) -> dict[str, Any]:
        """Return the evidence as an in-toto statement that contains its own digest."""
        predicate: dict[str, Any] = {
            "result": "PASSED" if self.passed else "FAILED",
            "configuration": [
                {"name": name, "digest": {"sha256": digest}}
                for name, digest in self.digests.items()
            ],
            "passedTests": [threshold.name for threshold in self.thresholds if threshold.met],
            "failedTests": [threshold.name for threshold in self.thresholds if not threshold.met],
            "thresholds": [asdict(threshold) for threshold in self.thresholds],
            "metrics": {name: dict(value) for name, value in self.metrics.items()},
            "format": FORMAT,
        }
        if self.kind != "evaluation":  # the first kind was written without these keys
            predicate |= {"kind": self.kind, "facts": dict(self.facts)}
        if self.comparison:
            predicate["comparison"] = self.comparison.as_dict()
        if self.items is not None:  # release 0.1 wrote none of these keys
            predicate |= {
                "items": self.items,
                "untested": list(self.untested),
                "warnings": list(self.warnings),
            }
        subject = [{"name": "model", "digest": {"dirHash": self.model_digest}}]
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": subject,
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
        return sealed(statement)

    def write(self, path: Path) -> None:
        """Write the statement. The file is complete or absent."""
        text = json.dumps(self.as_statement(), indent=1, ensure_ascii=False)
        write_file(path, f"{text}\n".encode())


def read_evidence(path: Path, where: str = "read_evidence") -> Evidence:
    """Read the evidence in a file, and check its digest.

    Raises:
        BlocksError: The file is not evidence, has another format, or was edited.
    """
    try:
        statement = read_sealed(path, FORMAT)
        predicate = statement["predicate"]
        return Evidence(
            model_digest=statement["subject"][0]["digest"]["dirHash"],
            digests={
                entry["name"]: entry["digest"]["sha256"] for entry in predicate["configuration"]
            },
            metrics=predicate["metrics"],
            thresholds=tuple(Threshold(**entry) for entry in predicate["thresholds"]),
            kind=predicate.get("kind", "evaluation"),
            facts=predicate.get("facts", {}),
            comparison=read_comparison(predicate["comparison"])
            if "comparison" in predicate
            else None,
            items=predicate.get("items"),
            untested=tuple(predicate.get("untested", ())),
            warnings=tuple(predicate.get("warnings", ())),
        )
    except UNREADABLE as error:
        raise BlocksError(
            where,
            "evidence",
            f"{path} is not valid evidence ({error})",
            "the unchanged evidence.json that evaluate or check_latency wrote",
            "Run the step again that wrote the evidence",
        ) from error
