"""What scores: a model of ours or an encoder, by an engine; or somebody's pyfunc, as it is."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.answering.answerers import UndecodableError
from tfhub_blocks.compute.encoders.encoder import Encoder, load_encoder
from tfhub_blocks.compute.extraction.extraction import (
    CPU_BATCH_SIZE,
    PARITY_ITEMS,
    ExtractionOptions,
)
from tfhub_blocks.compute.inference.computations import (
    NOT_FINITE,
    Computation,
    Item,
    OnFault,
    batched,
    in_order,
)
from tfhub_blocks.compute.inference.engine_selection import AUTO, sample_of, select_engine
from tfhub_blocks.compute.inference.parity import usual_limit
from tfhub_blocks.compute.models.served_model import ServedModel, load_served
from tfhub_blocks.compute.predictions.scoring_rows import WHERE
from tfhub_blocks.compute.tf.tensorflow_setup import has_gpu, use_one_thread_per_operation
from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import open_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats import models
from tfhub_blocks.records.formats.runtimes import OWN, Runtime
from tfhub_blocks.records.pins import pins

if TYPE_CHECKING:
    from tfhub_blocks.compute.answering.pyfuncs import PyfuncAnswerer

# Of an object in memory: another in each process, and rows are the same whenever they are made.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

Scored = tuple[int, list[str], NDArray[np.float32]]
"""The part that a batch is of, the ids that have an answer, and these, [ids, classes]."""


@dataclass(frozen=True, eq=False)
class Ready:
    """What computes: its name and kind, how it was found (JSON-ready), and answers for batches."""

    engine: str
    kind: str
    report: Mapping[str, Any]
    answers: Callable[[Iterable[tuple[int, list[Item]]], OnFault], Iterator[Scored]]


class BatchScorer(Protocol):
    """Something that answers contents with a number for each label; ``digest`` identifies it.

    ``modality`` is what it takes; ``bytes`` where nothing is known of that.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the numbers; of somebody's program known when it is ready."""

    @property
    def digest(self) -> str:
        """That of all its files."""

    @property
    def modality(self) -> str:
        """What its items are."""

    def batch_size(self, options: ExtractionOptions) -> int:
        """How many items it computes at once here."""

    def ready(self, asked: str, options: ExtractionOptions, items: Iterator[Item]) -> Ready | None:
        """What computes, after it was tried on the first items that it can; None if it can none.

        Args:
            asked: The name of an engine, or ``auto``.
            options: Precision, and how far answers may be from those of the model as it is served.
            items: The items of the data, of which as few as necessary are taken.

        Raises:
            BlocksError: No engine fits and passes.
        """


@dataclass(frozen=True, eq=False)
class EngineScorer:
    """A model of ours or an encoder, whose second half an engine makes fast."""

    source: ServedModel | Encoder
    labels: tuple[str, ...]
    digest: str

    @property
    def modality(self) -> str:
        """What the encoder takes."""
        return self.source.input.name

    def batch_size(self, options: ExtractionOptions) -> int:
        """As asked for a GPU; what a core's cache holds elsewhere."""
        return options.batch_size if has_gpu() else min(options.batch_size, CPU_BATCH_SIZE)

    def ready(self, asked: str, options: ExtractionOptions, items: Iterator[Item]) -> Ready | None:
        """As ``BatchScorer``; the sample is decoded once."""
        computation = self.source.computation(self.batch_size(options), WHERE)
        held = _sample(computation, items)
        if not held:
            return None
        limit = options.max_difference
        selected = select_engine(
            asked,
            options.precision,
            usual_limit(options.precision) if limit is None else limit,
            sample_of(computation, held),
        )
        engine = selected.engine
        report = {"candidates": dict(selected.candidates), "parity": asdict(selected.parity)}
        forward = selected.forward
        return Ready(
            engine.name,
            engine.kind,
            report,
            lambda batches, on_fault: computation.vectors(batches, forward, on_fault),
        )


@dataclass(frozen=True, eq=False)
class ProgramScorer:
    """Somebody's pyfunc, called with one batch at a time; it decodes, and uses cores, itself."""

    answerer: "PyfuncAnswerer"
    digest: str

    @property
    def labels(self) -> tuple[str, ...]:
        """As its metadata says, or its first answer."""
        return self.answerer.labels

    @property
    def modality(self) -> str:
        """Text if its signature says so."""
        return "text" if self.answerer.served_as == "string" else "bytes"

    def batch_size(self, options: ExtractionOptions) -> int:
        """As asked."""
        return options.batch_size

    def ready(self, asked: str, options: ExtractionOptions, items: Iterator[Item]) -> Ready | None:  # noqa: ARG002
        """As ``BatchScorer``; one answer tells the labels."""
        for port, value, usual in (
            ("engine", options.engine, AUTO),
            ("engine_precision", options.precision, "float32"),
        ):
            if value != usual:
                raise BlocksError(
                    WHERE,
                    port,
                    f"it is {value}, and no engine takes somebody's pyfunc apart",
                    usual,
                    f"leave {port} out",
                )
        for item in items:
            ids, _ = self._answered([item], lambda *_: None)
            if ids:
                return Ready(OWN, OWN, {"candidates": {}}, self._answers)
        return None

    def _answers(
        self, batches: Iterable[tuple[int, list[Item]]], on_fault: OnFault
    ) -> Iterator[Scored]:
        """One batch under way, while the next is read."""

        def compute(key: int, batch: list[Item]) -> Scored:
            return key, *self._answered(batch, on_fault)

        return in_order(batches, compute, threads=1)

    def _answered(
        self, batch: list[Item], on_fault: OnFault
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Ids and answers of those that have one; if a batch fails, each is asked alone."""
        none: tuple[list[str], NDArray[np.float32]] = (
            [],
            np.empty((0, len(self.labels)), np.float32),
        )
        if not batch:
            return none
        try:
            rows = self.answerer.ask([self.answerer.prepared(content) for _, content in batch])
        except UndecodableError as error:
            if len(batch) == 1:
                reason = _ADDRESS.sub("", str(error))
                on_fault(batch[0][0], f"the model does not answer it ({reason})")
                return none
            alone = [self._answered([item], on_fault) for item in batch]
            return [ids[0] for ids, _ in alone if ids], np.concatenate([rows for _, rows in alone])
        finite = np.isfinite(rows).all(axis=1)
        for number in np.flatnonzero(~finite):
            on_fault(batch[number][0], NOT_FINITE)
        return [batch[number][0] for number in np.flatnonzero(finite)], rows[finite]


def open_scorer(model: Path | None, encoder: Path | None) -> BatchScorer:
    """The one of both that is given, every byte of it checked before it is loaded.

    Scores of an encoder are what it gives, each named by its number.

    Raises:
        BlocksError: It is not one, is no model or encoder, was changed, or cannot be loaded here.
    """
    path = model or encoder
    if path is None or (model and encoder):
        raise BlocksError(
            WHERE,
            "model",
            f"{'neither a model nor' if path is None else 'both a model and'} an encoder is given",
            "one of them",
            "give model or encoder",
        )
    kind = read_lineage(path).format if (path / STATEMENT_NAME).is_file() else ""
    if model and kind in ("", str(models.PYFUNC)) and (path / "MLmodel").is_file():
        from tfhub_blocks.compute.answering.pyfuncs import PyfuncAnswerer

        if kind:
            digest = open_folder(path, models.PYFUNC, WHERE).check().digest
        else:
            digest = tree_digest(files_sha256(path))
        return ProgramScorer(PyfuncAnswerer(path, Runtime(), WHERE), digest)
    use_one_thread_per_operation()
    if encoder or kind == str(pins.FORMAT):
        loaded = load_encoder(path, WHERE)
        labels = tuple(str(number) for number in range(loaded.dimension))
        return EngineScorer(loaded, labels, open_folder(path, pins.FORMAT, WHERE).digest)
    return of_model(load_served(path, WHERE))


def of_model(served: ServedModel) -> EngineScorer:
    """A model of ours as a scorer."""
    return EngineScorer(served, served.labels, served.digest)


def _sample(computation: Computation, items: Iterator[Item]) -> list[tuple[list[str], Any]]:
    """The first items that can be decoded: ids and what an engine takes, by batches."""
    held: list[tuple[list[str], Any]] = []
    for batch in batched(items, computation.batch_size):
        readable, prepared = computation.readable(batch, lambda *_: None)
        if readable:
            held.append(([item for item, _ in readable], prepared))
        if sum(len(ids) for ids, _ in held) >= PARITY_ITEMS:
            break
    return held
