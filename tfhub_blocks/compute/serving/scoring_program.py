"""The scoring program: an open model, and its answers to the bodies of requests."""

# decision 41

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
)
from tfhub_blocks.compute.answering.opener import find_answering, open_answerer
from tfhub_blocks.compute.modalities.modality import Limits, Modality
from tfhub_blocks.compute.serving.bodies import body_types, read_body
from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.refusals import Refusal
from tfhub_blocks.compute.serving.request_batches import Batcher, Batching
from tfhub_blocks.records.base.cores import core_count
from tfhub_blocks.records.formats.runtimes import Runtime

# For a model without a measured runtime. Larger batches would hardly increase the throughput.
UNMEASURED_BATCH = 8


class Program:
    """A model that is ready to answer from any thread; the model was warmed up with samples.

    Args:
        answerer: The model as a function of items.
        limits: The limits of requests.
        seen: Called with the size of each batch and the seconds of its computation.
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
        """The labels of the columns of ``probabilities``."""
        return self.answerer.labels

    @property
    def modality(self) -> str:
        """The modality of the items; ``bytes`` if it is unknown."""
        return self.answerer.input.name if self.answerer.input else Modality.name

    @property
    def is_text(self) -> bool:
        """True if items are texts instead of files."""
        return self.answerer.served_as == "string"

    @property
    def held(self) -> int:
        """The number of items that are waiting or being computed."""
        return self._batcher.held

    @property
    def is_full(self) -> bool:
        """True if any request would be refused at the moment."""
        return self._batcher.is_full

    def submit(self, body: bytes, content_type: str) -> list[Future[NDArray[np.float32]]]:
        """Return a future row of probabilities for each item of a request.

        Raises:
            Refusal: The request is refused.
        """
        contents = read_body(body, content_type, self.modality, self.is_text, self.limits)
        return self._batcher.submit(contents)

    def predictions(self, answers: Sequence[Future[NDArray[np.float32]]]) -> dict[str, Any]:
        """Wait for the answers, and return the response to a request in MLflow's form.

        Raises:
            Refusal: An item was refused. For several items, the refusal names the first such item.
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
        """Return the inputs, the labels and the limits, ready for JSON."""
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
        """Accept no more requests, and answer all accepted ones."""
        self._batcher.close()

    def _prepared(self, content: Content) -> Any:
        kind = self.answerer.input
        given = _bytes(content)
        fault = kind.header_fault(given, self._item_limits) if kind and given else None
        if fault or not given:
            raise Refusal(422, fault or "the item is empty")
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
        """Return a refusal with a snapshot's message: a decoder's message describes the graph."""
        kind, fault = self.answerer.input, None
        if kind and isinstance(content, bytes | str):
            fault = kind.content_fault(_bytes(content), self._item_limits)
        return Refusal(422, fault or "the item cannot be decoded")


def open_program(
    path: Path,
    limits: ServingLimits,
    where: str,
    seen: Callable[[int, float], None] = lambda *_: None,
    trust_code: bool = False,
) -> Program:
    """Return the program for the folder of a model, an encoder or an MLflow model, warmed up.

    Call this before TensorFlow computes anything in the process, because it sets threads.

    Args:
        path: The folder.
        limits: The limits of requests.
        where: The calling command or step, for messages.
        seen: Called with the size of each batch and the seconds of its computation.
        trust_code: True if a person trusts the code of an MLflow pyfunc.

    Raises:
        BlocksError: The folder contains no model, the model was changed, or it cannot run on this
            machine.
    """
    runtime = find_answering(path, None, where, trust_code).runtime() or _unmeasured()
    answerer = open_answerer(
        path, where=where, runtime=runtime, trust_code=trust_code, sets_threads=True
    )
    _warm_up(answerer)
    return Program(answerer, limits, seen)


def _bytes(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _unmeasured() -> Runtime:
    return Runtime(threads=core_count(), concurrency=core_count(), largest_batch=UNMEASURED_BATCH)


def _warm_up(answerer: Answerer) -> None:
    """Answer samples, alone and as the largest batch, because the first call is slow."""
    samples = answerer.input.samples() if answerer.input else ()
    if samples:
        for count in (1, answerer.runtime.largest_batch):
            answerer([samples[0]] * count)
