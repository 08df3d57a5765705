"""Evidence: what a step measured, of which model, on what, and which thresholds it met.

An in-toto statement about the model with a test-result predicate; see
https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.base.lineage import STATEMENT_TYPE
from tfhub_blocks.records.formats.champion_comparison import (
    MIN_GAIN,
    ChampionComparison,
    read_comparison,
)

PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
FORMAT = "evidence/1"


@dataclass(frozen=True)
class Threshold:
    """A bound that was asked for, and what was measured."""

    name: str
    asked: float
    measured: float
    met: bool


@dataclass(frozen=True)
class Evidence:
    """The result of an evaluation, or of a check of latency.

    ``digests`` names, each by its digest, the snapshot, the encoder, the code and the environment
    that the model was made with and measured on. ``facts`` is what else has to hold wherever
    somebody relies on it, such as the kind of machine. ``comparison`` is with the champion, if
    there was one.
    """

    model_digest: str
    digests: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, float]]
    thresholds: tuple[Threshold, ...]
    kind: Literal["evaluation", "latency"] = "evaluation"
    facts: Mapping[str, str] = field(default_factory=dict)
    comparison: ChampionComparison | None = None

    @property
    def passed(self) -> bool:
        """Whether every threshold was met, and there was one."""
        return bool(self.thresholds) and all(threshold.met for threshold in self.thresholds)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """What it says of the champion that cannot be, each as found and expected."""
        gains = [threshold for threshold in self.thresholds if threshold.name == MIN_GAIN]
        if self.comparison is None:
            if gains:
                yield f"it holds {MIN_GAIN}, and compares with no champion", "a comparison"
            return
        data, low = self.digests.get("snapshot"), self.comparison.changes["accuracy"]["low"]
        if self.comparison.snapshot != data:
            yield (
                f"its champion was measured on the snapshot {self.comparison.snapshot}",
                f"the snapshot that the model was measured on, {data}",
            )
        for threshold in gains:
            if threshold.measured != low:
                yield (
                    f"{MIN_GAIN} was held against {threshold.measured:.4g}",
                    f"the lower end of its own comparison, {low:.4g}",
                )

    def as_statement(self) -> dict[str, Any]:
        """As an in-toto statement, with a digest over itself."""
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
        if self.kind != "evaluation":  # as it was before there were others
            predicate |= {"kind": self.kind, "facts": dict(self.facts)}
        if self.comparison:
            predicate["comparison"] = self.comparison.as_dict()
        subject = [{"name": "model", "digest": {"dirHash": self.model_digest}}]
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": subject,
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
        return statement | {"digest": record_digest(statement)}

    def write(self, path: Path) -> None:
        """Write the statement, whole or not at all."""
        text = json.dumps(self.as_statement(), indent=1, ensure_ascii=False)
        write_file(path, f"{text}\n".encode())


def read_evidence(path: Path, where: str = "read_evidence") -> Evidence:
    """The evidence in a file, with its digest over itself checked.

    Raises:
        BlocksError: The file is no evidence, of another format, or was edited.
    """
    try:
        statement = json.loads(path.read_text(encoding="utf-8"))
        stated = statement.pop("digest")
        predicate = statement["predicate"]
        if predicate["format"] != FORMAT or stated != record_digest(statement):
            raise ValueError("its digest is not that of its content")
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
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise BlocksError(
            where,
            "evidence",
            f"{path} cannot be taken as evidence ({error})",
            "the unchanged evidence.json that evaluate wrote",
            "evaluate the model again",
        ) from error
