"""The scoring program: a model that was opened once, and its answers to the bodies of requests."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.answering.answerers import (
    Answerer,
    Content,
    UndecodableError,
    apply_threads,
    open_answerer,
)
from tfhub_blocks.compute.modalities.modality import Limits, Modality
from tfhub_blocks.compute.serving.bodies import body_types, read_body
from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.refusals import Refusal
from tfhub_blocks.compute.serving.request_batches import Batcher, Batching
from tfhub_blocks.compute.tf.tensorflow_setup import core_count
from tfhub_blocks.records.formats.runtimes import Runtime, read_runtime

# Without a runtime that was measured. More in a batch would answer few items a second more.
UNMEASURED_BATCH = 8


class Program:
    """A model, ready to answer from any thread; it was asked for samples of its items before.

    Args:
        answerer: What answers.
        limits: What is taken.
        seen: Called with the size of each batch and the seconds that it took.
    """

    def __init__(
        self,
        answerer: Answerer,
        limits: ServingLimits,
        seen: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self.answerer, self.limits = answerer, limits
        self._item_limits = Limits(limits.pixels, limits.seconds)
        runtime = answerer.runtime
        self._batcher = Batcher(
            self._prepared,
            self._answered,
            Batching(
                largest=runtime.largest_batch,
                window_s=min(runtime.batch_window_ms, limits.budget_ms / 2) / 1000,
                concurrency=runtime.concurrency,
                preparing=core_count(),
                waiting=limits.waiting,
                budget_s=limits.budget_ms / 1000,
            ),
            seen,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the columns of ``probabilities``."""
        return self.answerer.labels

    @property
    def modality(self) -> str:
        """What its items are; ``bytes`` where nothing is known of them."""
        return self.answerer.input.name if self.answerer.input else Modality.name

    @property
    def is_text(self) -> bool:
        """Whether items are texts, and no files."""
        return self.answerer.served_as == "string"

    @property
    def held(self) -> int:
        """How many items wait or are being answered."""
        return self._batcher.held

    @property
    def is_full(self) -> bool:
        """Whether any request would be refused now."""
        return self._batcher.is_full

    def submit(self, body: bytes, content_type: str) -> list[Future[NDArray[np.float32]]]:
        """For each item of a request, its row of probabilities to come.

        Raises:
            Refusal: The request is not taken.
        """
        contents = read_body(body, content_type, self.modality, self.is_text, self.limits)
        return self._batcher.submit(contents)

    def predictions(self, answers: Sequence[Future[NDArray[np.float32]]]) -> dict[str, Any]:
        """What a request is answered with, as MLflow would answer it; waits for the answers.

        Raises:
            Refusal: An item was refused; the first such one is told, where there are several items.
        """
        predictions = []
        for index, answer in enumerate(answers):
            try:
                row = answer.result()
            except Refusal as refusal:
                raise refusal.about(index) if len(answers) > 1 else refusal from None
            predictions.append(
                {
                    "label": self.labels[int(row.argmax())],
                    "probability": float(row.max()),
                    "probabilities": row.tolist(),
                }
            )
        return {"predictions": predictions}

    def describe(self) -> dict[str, Any]:
        """What it takes and gives."""
        return {
            "modality": self.modality,
            "content_types": list(body_types(self.modality, self.is_text)),
            "labels": list(self.labels),
            "runtime": self.answerer.runtime.name,
            "limits": {
                "body_bytes": self.limits.body_bytes,
                "items": self.limits.items,
                "waiting": self.limits.waiting,
                "budget_ms": self.limits.budget_ms,
            },
        }

    def close(self) -> None:
        """Answer what was taken, and take nothing more."""
        self._batcher.close()

    def _prepared(self, content: Content) -> Any:
        kind = self.answerer.input
        given = _bytes(content)
        fault = kind.header_fault(given, self._item_limits) if kind and given else None
        if fault or not given:
            raise Refusal(422, fault or "it is empty")
        try:
            return self.answerer.prepared(content)
        except UndecodableError as error:
            raise self._undecodable(content) from error

    def _answered(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        try:
            return self.answerer.answered(prepared)
        except UndecodableError as error:
            refusal = self._undecodable(prepared[error.index])
            raise UndecodableError(refusal.sentence, error.index) from error

    def _undecodable(self, content: Any) -> Refusal:
        """In the words in which a snapshot would reject it; a decoder's own tell of our graph."""
        kind, fault = self.answerer.input, None
        if kind and isinstance(content, bytes | str):
            fault = kind.content_fault(_bytes(content), self._item_limits)
        return Refusal(422, fault or "it cannot be decoded")


def open_program(
    path: Path,
    limits: ServingLimits,
    where: str,
    seen: Callable[[int, float], None] = lambda *_: None,
) -> Program:
    """The program for the folder of a model, an encoder or an MLflow model, warmed up.

    Nothing may have been computed in this process before, for threads are set.

    Args:
        path: The folder.
        limits: What is taken.
        where: Who opens it, for messages.
        seen: Called with the size of each batch and the seconds that it took.

    Raises:
        BlocksError: There is none, it was changed, or it cannot be computed here.
    """
    runtime = read_runtime(path) or _unmeasured()
    apply_threads(runtime)
    answerer = open_answerer(path, runtime, where)
    _warm_up(answerer)
    return Program(answerer, limits, seen)


def _bytes(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _unmeasured() -> Runtime:
    return Runtime(threads=core_count(), concurrency=core_count(), largest_batch=UNMEASURED_BATCH)


def _warm_up(answerer: Answerer) -> None:
    """Answer samples, alone and as the largest batch, so that no request waits for a first time."""
    samples = answerer.input.samples() if answerer.input else ()
    if samples:
        for count in (1, answerer.runtime.largest_batch):
            answerer([samples[0]] * count)
