"""Scorers: a tfhub-blocks model or an encoder in an engine, or a third-party pyfunc."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.answering.answerers import UndecodableError
from tfhub_blocks.compute.answering.opener import find_answering
from tfhub_blocks.compute.encoders.encoder import Encoder
from tfhub_blocks.compute.extraction.extraction import CPU_BATCH_SIZE, PARITY_ITEMS
from tfhub_blocks.compute.inference.computations import (
    NOT_FINITE,
    Computation,
    Item,
    OnFault,
    batched,
    in_order,
)
from tfhub_blocks.compute.inference.engine_interface import Forward
from tfhub_blocks.compute.inference.engine_selection import (
    AUTO,
    ParitySample,
    sample_of,
    select_engine,
)
from tfhub_blocks.compute.inference.parity import usual_limit
from tfhub_blocks.compute.inference.shared_work import InferenceOptions
from tfhub_blocks.compute.models.served_model import ServedModel
from tfhub_blocks.compute.predictions.scoring_rows import WHERE
from tfhub_blocks.compute.tf.tensorflow_setup import has_gpu, use_one_thread_per_operation
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import open_folder
from tfhub_blocks.records.formats.runtimes import OWN, Runtime
from tfhub_blocks.records.pins import pins

if TYPE_CHECKING:
    from tfhub_blocks.compute.answering.pyfuncs import PyfuncAnswerer

# The address of an object in memory, which differs between processes; rows must not differ.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

Scored = tuple[int, list[str], NDArray[np.float32]]
"""The part of a batch, the ids with an answer, and the answers, [ids, classes]."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A ready engine: its name and kind, a JSON-ready report of its selection, and its answers."""

    engine: str
    kind: str
    report: Mapping[str, Any]
    answers: Callable[[Iterable[tuple[int, list[Item]]], OnFault], Iterator[Scored]]


class BatchScorer(Protocol):
    """The interface of a scorer, which answers contents with a number for each label."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the numbers; for a third-party program, available after ``ready``."""

    @property
    def digest(self) -> str:
        """The digest of all files of the model, which identifies the scorer."""

    @property
    def modality(self) -> str:
        """The modality of its items; ``bytes`` if unknown."""

    @property
    def keep_features(self) -> bool:
        """True if each answer begins with the encoder's features."""

    def batch_size(self, options: InferenceOptions) -> int:
        """Return the number of items in a batch on this machine."""

    def ready(self, asked: str, options: InferenceOptions, items: Iterator[Item]) -> Ready | None:
        """Select an engine by a trial on the first items that can be decoded.

        Return None if no item can be decoded.

        Args:
            asked: The name of an engine, or ``auto``.
            options: The precision, and the allowed difference from the reference engine.
            items: The items of the data; as few as necessary are read.

        Raises:
            BlocksError: No engine fits and passes the comparison.
        """


@dataclass(frozen=True, eq=False)
class AnswerSample(ParitySample):
    """A sample for rows of ``width`` features and the probabilities, which alone are compared."""

    width: int = 0

    def vectors(self, forward: Forward) -> NDArray[np.float32]:
        """Return the probabilities of a forward pass for the sample, [items, classes]."""
        return super().vectors(forward)[:, self.width :]


@dataclass(frozen=True, eq=False)
class EngineScorer:
    """The scorer of a tfhub-blocks model or an encoder, whose second half runs in an engine."""

    source: ServedModel | Encoder
    labels: tuple[str, ...]
    digest: str
    keep_features: bool = False

    @property
    def modality(self) -> str:
        """The modality of the encoder."""
        return self.source.input.name

    def batch_size(self, options: InferenceOptions) -> int:
        """Return the batch size of the options on a GPU, or one that fits a core's cache."""
        return options.batch_size if has_gpu() else min(options.batch_size, CPU_BATCH_SIZE)

    def ready(self, asked: str, options: InferenceOptions, items: Iterator[Item]) -> Ready | None:
        """Select an engine; the sample is decoded once. See ``BatchScorer``."""
        size = self.batch_size(options)
        computation = (
            self.source.computation(size, WHERE, self.keep_features)
            if isinstance(self.source, ServedModel)
            else self.source.computation(size, WHERE)
        )
        sample = _sample(computation, items)
        if not sample:
            return None
        limit = options.max_difference
        compared = sample_of(computation, sample)
        if width := computation.dimension - len(self.labels):
            compared = AnswerSample(
                **{**vars(compared), "reference": compared.reference[:, width:], "width": width}
            )
        selected = select_engine(
            asked,
            options.precision,
            usual_limit(options.precision) if limit is None else limit,
            compared,
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
    """The scorer of a third-party pyfunc, called with one batch at a time.

    The pyfunc decodes and uses cores by itself.
    """

    answerer: "PyfuncAnswerer"
    digest: str
    keep_features: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the metadata, or those of the first answer."""
        return self.answerer.labels

    @property
    def modality(self) -> str:
        """``text`` if the signature takes strings, else ``bytes``."""
        return "text" if self.answerer.served_as == "string" else "bytes"

    def batch_size(self, options: InferenceOptions) -> int:
        """Return the batch size of the options."""
        return options.batch_size

    def ready(self, asked: str, options: InferenceOptions, items: Iterator[Item]) -> Ready | None:  # noqa: ARG002
        """Answer one item, from which the labels follow. See ``BatchScorer``.

        Raises:
            BlocksError: The options request an engine or a precision.
        """
        for port, value, usual in (
            ("engine", options.engine, AUTO),
            ("engine_precision", options.precision, "float32"),
        ):
            if value != usual:
                raise BlocksError(
                    WHERE,
                    port,
                    f"{port} is {value}, but no engine can convert a third-party pyfunc",
                    usual,
                    f"Leave {port} out",
                )
        for item in items:
            ids, _ = self._answered([item], lambda *_: None)
            if ids:
                return Ready(OWN, OWN, {"candidates": {}}, self._answers)
        return None

    def _answers(
        self, batches: Iterable[tuple[int, list[Item]]], on_fault: OnFault
    ) -> Iterator[Scored]:
        """Answer batches; while one batch is computed, the next is read."""

        def compute(key: int, batch: list[Item]) -> Scored:
            return key, *self._answered(batch, on_fault)

        return in_order(batches, compute, threads=1)

    def _answered(
        self, batch: list[Item], on_fault: OnFault
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Return the ids with an answer, and the answers; if a batch fails, answer items singly."""
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
                on_fault(batch[0][0], f"the model fails for this item ({reason})")
                return none
            alone = [self._answered([item], on_fault) for item in batch]
            return [ids[0] for ids, _ in alone if ids], np.concatenate([rows for _, rows in alone])
        finite = np.isfinite(rows).all(axis=1)
        for number in np.flatnonzero(~finite):
            on_fault(batch[number][0], NOT_FINITE)
        return [batch[number][0] for number in np.flatnonzero(finite)], rows[finite]


def open_scorer(
    model: Path | None, encoder: Path | None, trust_code: bool = False, keep_features: bool = False
) -> BatchScorer:
    """Open the scorer of a model or of an encoder; every byte is checked before loading.

    The scores of an encoder are its output, and its labels are the numbers of the columns.

    Raises:
        BlocksError: The arguments are not exactly one path, the path is no model or encoder, a
            file was changed, the model cannot be loaded on this machine, or features are to be kept
            of what is no model of tfhub-blocks.
    """
    # A third-party model is refused below, so nobody needs to trust its code.
    folder = find_answering(model, encoder, WHERE, trust_code or keep_features)
    if keep_features and (folder.is_pyfunc or encoder is not None):
        raise BlocksError(
            WHERE,
            "keep_features",
            "only a model of tfhub-blocks has features next to its probabilities",
            "a model of train_head or fine_tune",
            "Pass such a model, or set keep_features=false",
        )
    if folder.is_pyfunc:
        digest = folder.digest()  # before any code runs
        return ProgramScorer(folder.pyfunc(Runtime()), digest)
    use_one_thread_per_operation()
    source = folder.load()
    if isinstance(source, ServedModel):
        return of_model(source, keep_features)
    return EngineScorer(source, source.labels, open_folder(folder.path, pins.FORMAT, WHERE).digest)


def of_model(served: ServedModel, keep_features: bool = False) -> EngineScorer:
    """Return the scorer of a loaded tfhub-blocks model."""
    return EngineScorer(served, served.labels, served.digest, keep_features)


def _sample(computation: Computation, items: Iterator[Item]) -> list[tuple[list[str], Any]]:
    """Return the first decodable items in batches: ids, and the engine's input."""
    sample: list[tuple[list[str], Any]] = []
    for batch in batched(items, computation.batch_size):
        readable, prepared = computation.readable(batch, lambda *_: None)
        if readable:
            sample.append(([item for item, _ in readable], prepared))
        if sum(len(ids) for ids, _ in sample) >= PARITY_ITEMS:
            break
    return sample
