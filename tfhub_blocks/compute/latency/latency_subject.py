"""The inputs of a latency check: a model of some kind, and a sample of real items."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.compute as pc

from tfhub_blocks.compute.answering.opener import find_answering
from tfhub_blocks.compute.evaluation.evaluation_report import FORMAT as EVALUATION
from tfhub_blocks.compute.evaluation.stored_answers import ANSWERS_NAME, read_answers
from tfhub_blocks.compute.latency.latency_check import WHERE, LatencySample
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder, open_folder
from tfhub_blocks.records.base.lineage import TRUSTED_FACT
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.snapshots import Snapshot
from tfhub_blocks.records.pins.pins import FORMAT as ENCODER
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin

Value = TypeVar("Value")
# The number of answers to compare with those of evaluate.
SAMPLE_ITEMS = 200
# Facts that describe the run, and not its output.
OF_A_RUN = ("environment", "release_lock")


@dataclass(frozen=True)
class LatencySubject:
    """The model to check: a model or an encoder with its pin, or a third-party pyfunc.

    ``digests`` are those of the inputs of its step; ``facts`` are recorded by its step.
    """

    path: Path
    digest: str
    pin: Pin | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_text(self) -> bool:
        """True if the items are texts."""
        return self.pin is not None and MODALITIES[self.pin.modality].served_as == "string"


def open_subject(
    model: Path | None, encoder: Path | None, trust_code: bool = False
) -> LatencySubject:
    """Open the model or the encoder, whichever is passed, with every byte checked.

    Raises:
        BlocksError: Neither or both are passed, the folder has another format, or was changed.
    """
    found = find_answering(model, encoder, WHERE, trust_code)
    path = found.path
    if found.is_pyfunc:
        return LatencySubject(path, found.digest(), facts={TRUSTED_FACT: True})
    if encoder:
        folder = open_folder(path, ENCODER, WHERE).check()
        pin = read_pin(path / PIN_NAME)
        return LatencySubject(path, folder.digest, pin, {"encoder": pin.digest}, _facts(folder))
    folder, metadata = open_model(path, WHERE)
    digests = {
        "training_snapshot": metadata["snapshot_digest"],
        "encoder": metadata["encoder_digest"],
    }
    return LatencySubject(path, folder.digest, read_pin(path / PIN_NAME), digests, _facts(folder))


def take_sample(
    snapshot: Snapshot, subject: LatencySubject, evaluation: Path | None
) -> LatencySample:
    """Return the first items of the test split, with the answers of ``evaluate`` if passed.

    Raises:
        BlocksError: The test split is empty, or the evaluation is of another model or snapshot.
    """
    answers = None
    if evaluation is not None:
        report = open_folder(evaluation, EVALUATION, WHERE)
        for port, digest in (("model", subject.digest), ("snapshot", snapshot.folder.digest)):
            material = report.lineage.material(port)
            if material is None or material.digest != digest:
                found = f"evaluates {port} {material.digest}" if material else f"names no {port}"
                raise BlocksError(
                    WHERE,
                    "evaluation",
                    f"the report {found}",
                    f"a report about {port} {digest}",
                    "Run evaluate on this model and this snapshot, and pass its report as "
                    "evaluation",
                )
        answers = read_answers(report.file(ANSWERS_NAME))
    contents: list[bytes] = []
    ids: list[str] = []
    for batch in snapshot.batches():
        chosen = batch.filter(pc.equal(batch["split"], "test"))
        chosen = chosen.slice(0, SAMPLE_ITEMS - len(ids))
        contents += chosen["content"].to_pylist()
        ids += chosen["id"].to_pylist()
        if len(ids) == SAMPLE_ITEMS:
            break
    if not ids:
        raise BlocksError(
            WHERE,
            f"snapshot {snapshot.folder.path}",
            "the test split of the snapshot is empty",
            "at least one item",
            "Pass a snapshot with items in the test split as snapshot",
        )
    evaluated = np.stack([answers[item] for item in ids]) if answers is not None else None
    return LatencySample(contents, subject.is_text, evaluated)


def parsed(text: str, name: str, read: Callable[[str], Value]) -> tuple[Value, ...]:
    """Return the different values in a text such as ``1, 2, 4``.

    Raises:
        BlocksError: A value is invalid, because ``read`` raises ValueError for the word.
    """
    try:
        return tuple(dict.fromkeys(read(word.strip()) for word in text.split(",")))
    except ValueError as error:
        raise BlocksError(
            WHERE,
            name,
            f"{text!r} contains an invalid value ({error})",
            "one or more values, separated by commas",
            f"Set {name} to valid values",
        ) from error


def positive(word: str) -> int:
    """Return the number in a word.

    Raises:
        ValueError: The word is not a number, or the number is less than 1.
    """
    if int(word) < 1:
        raise ValueError(f"{word} is less than 1")
    return int(word)


def words_of(*known: str) -> Callable[[str], str]:
    """Return a function that accepts only these words.

    The function raises ValueError for any other word.
    """

    def read(word: str) -> str:
        if word not in known:
            raise ValueError(f"{word!r} is none of {', '.join(known)}")
        return word

    return read


def _facts(folder: Folder) -> dict[str, Any]:
    facts = folder.lineage.provenance.facts
    return {name: value for name, value in facts.items() if name not in OF_A_RUN}
