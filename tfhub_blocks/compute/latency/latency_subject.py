"""What a check of latency is given: a model of some kind, and real items to ask it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.compute as pc

from tfhub_blocks.compute.evaluation.evaluation_report import FORMAT as EVALUATION
from tfhub_blocks.compute.evaluation.stored_answers import ANSWERS_NAME, read_answers
from tfhub_blocks.compute.latency.accelerated_model import format_of
from tfhub_blocks.compute.latency.latency_check import WHERE, LatencySample
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder, open_folder
from tfhub_blocks.records.formats import models
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.snapshots import Snapshot
from tfhub_blocks.records.pins.pins import FORMAT as ENCODER
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin

Value = TypeVar("Value")
# So many answers are held against those of evaluate.
SAMPLE_ITEMS = 200
# What a run says of itself, and not of what it made.
OF_A_RUN = ("environment", "release_lock")


@dataclass(frozen=True)
class LatencySubject:
    """What is checked: a model of ours or an encoder with its pin, or anybody's pyfunc.

    ``digests`` names what it was made from; ``facts`` is what its step said of it.
    """

    path: Path
    digest: str
    pin: Pin | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_text(self) -> bool:
        """Whether it is asked with texts."""
        return self.pin is not None and MODALITIES[self.pin.modality].served_as == "string"


def open_subject(model: Path | None, encoder: Path | None) -> LatencySubject:
    """The one of both that is given, every byte of it checked.

    Raises:
        BlocksError: It is not one, or was changed.
    """
    if (model is None) == (encoder is None):
        raise BlocksError(
            WHERE,
            "model",
            f"{'neither a model nor' if model is None else 'both a model and'} an encoder is given",
            "one of them",
            "give model or encoder",
        )
    if encoder is not None:
        folder = open_folder(encoder, ENCODER, WHERE).check()
        pin = read_pin(encoder / PIN_NAME)
        return LatencySubject(encoder, folder.digest, pin, {"encoder": pin.digest}, _facts(folder))
    assert model is not None  # noqa: S101 - one of both is
    if format_of(model) == models.PYFUNC and (model / "MLmodel").is_file():
        return LatencySubject(model, tree_digest(files_sha256(model)))
    folder, metadata = open_model(model, WHERE)
    digests = {
        "training_snapshot": metadata["snapshot_digest"],
        "encoder": metadata["encoder_digest"],
    }
    return LatencySubject(model, folder.digest, read_pin(model / PIN_NAME), digests, _facts(folder))


def take_sample(
    snapshot: Snapshot, subject: LatencySubject, evaluation: Path | None
) -> LatencySample:
    """The first items of the test split, and what ``evaluate`` computed for each, if that is given.

    Raises:
        BlocksError: There is no item, or the evaluation is of another model or snapshot.
    """
    answers = None
    if evaluation is not None:
        report = open_folder(evaluation, EVALUATION, WHERE)
        for port, digest in (("model", subject.digest), ("snapshot", snapshot.folder.digest)):
            material = report.lineage.material(port)
            if material is None or material.digest != digest:
                raise BlocksError(
                    WHERE,
                    "evaluation",
                    f"it is about the {port} {material.digest if material else 'of nobody'}",
                    f"a report about the one that is given, {digest}",
                    "evaluate this model on this snapshot, and give that report",
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
            "its test split is empty",
            "items to ask",
            "give a snapshot of the data that the model is for",
        )
    evaluated = np.stack([answers[item] for item in ids]) if answers is not None else None
    return LatencySample(contents, subject.is_text, evaluated)


def parsed(text: str, name: str, read: Callable[[str], Value]) -> tuple[Value, ...]:
    """The values in a text such as ``1, 2, 4``, once each.

    Raises:
        BlocksError: A word in it cannot be one; ``read`` raises ValueError for it.
    """
    try:
        return tuple(dict.fromkeys(read(word.strip()) for word in text.split(",")))
    except ValueError as error:
        raise BlocksError(
            WHERE, name, f"it is {text!r} ({error})", "values with commas between", "correct it"
        ) from error


def positive(word: str) -> int:
    """A number of something.

    Raises:
        ValueError: It is none, or less than 1.
    """
    if int(word) < 1:
        raise ValueError(f"{word} is less than 1")
    return int(word)


def words_of(*known: str) -> Callable[[str], str]:
    """What reads one of these words.

    Raises:
        ValueError: (what it gives does) It is another.
    """

    def read(word: str) -> str:
        if word not in known:
            raise ValueError(f"{word!r} is none of {', '.join(known)}")
        return word

    return read


def _facts(folder: Folder) -> dict[str, Any]:
    facts = folder.lineage.provenance.facts
    return {name: value for name, value in facts.items() if name not in OF_A_RUN}
