"""Batches: items of requests that arrive at about the same time, computed together.

Each item is prepared in a thread of its own, then waits for other items, then is computed with
these. The number of items in memory is limited. An item is refused as soon as its answer would be
too late.
"""

# decision 42

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from statistics import median
from typing import Any

from tfhub_blocks.compute.answering.answerers import UndecodableError
from tfhub_blocks.compute.serving.refusals import Refusal, too_many

# The weight of the last batch in the expected time of the next batch.
_SMOOTHING = 0.2
# The number of batches whose median is the pace of answers. The median stays right even if the
# machine was stalled during nearly half of these batches.
_PACES = 16
# An item is accepted if its answer is expected within this share of the budget, because some
# answers take longer.
_TAKEN_SHARE = 0.8


@dataclass(frozen=True)
class Batching:
    """The options of batches; ``window_s`` is how long the first item waits for others."""

    largest: int
    window_s: float
    concurrency: int
    preparing: int
    waiting: int
    budget_s: float


@dataclass(eq=False)
class _Item:
    content: Any
    deadline: float
    answer: Future[Any] = field(default_factory=Future)


class Batcher:
    """A queue that computes answers to items in batches; all methods are thread-safe.

    Args:
        prepare: A function from a content to an input of ``answer``; it may raise ``Refusal``.
        answer: A function from prepared items to an answer for each.
        batching: The options of batches.
        seen: Called with the size of each batch and the seconds of its computation.
    """

    def __init__(
        self,
        prepare: Callable[[Any], Any],
        answer: Callable[[Sequence[Any]], Iterable[Any]],
        batching: Batching,
        seen: Callable[[int, float], None] = lambda *_: None,
    ) -> None:
        self._prepare, self._answer, self._batching, self._seen = prepare, answer, batching, seen
        self._lock = threading.Lock()
        self._held = 0
        self._batch_s = 0.0
        # Seconds per item of batches after which other items were waiting, and the last such end.
        self._paces: deque[float] = deque(maxlen=_PACES)
        self._busy_since: float | None = None
        self._closed = False
        # Not a SimpleQueue: CPython 3.11 loses items where several threads wait with a timeout.
        self._prepared: Queue[tuple[_Item, Any] | None] = Queue()
        self._pool = ThreadPoolExecutor(batching.preparing, "prepare")
        self._workers = [
            threading.Thread(target=self._work, name=f"answer-{number}", daemon=True)
            for number in range(batching.concurrency)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def held(self) -> int:
        """The number of items that are waiting or being computed."""
        return self._held

    @property
    def is_full(self) -> bool:
        """True if the queue is full, so that one more item would be refused."""
        return self._held >= self._batching.waiting

    def is_slow(self, more: int = 1) -> bool:
        """Return True if ``more`` items would be refused because they would probably be late.

        The expected time is for all waiting items and the new ones, at the recent pace under load.
        Enough items for the next batches are always accepted.
        """
        expected_s = (self._held + more) * median(self._paces or [0.0])
        is_late = expected_s > _TAKEN_SHARE * self._batching.budget_s
        return is_late and self._held >= self._next_ones

    @property
    def _next_ones(self) -> int:
        return self._batching.largest * self._batching.concurrency

    def submit(self, contents: Sequence[Any]) -> list[Future[Any]]:
        """Return a future answer for each content. Either all or none of the items are accepted.

        A future raises ``Refusal`` if the item is refused, or the error of the model.

        Raises:
            Refusal: Too many items are waiting, their answers would be late, or the batcher was
                closed.
        """
        with self._lock:
            if self._closed:
                raise Refusal(503, "the server is stopping: send the request again later")
            if self.is_slow(len(contents)) or self._held + len(contents) > self._batching.waiting:
                raise too_many()
            self._held += len(contents)
            deadline = time.monotonic() + self._batching.budget_s
            items = [_Item(content, deadline) for content in contents]
            for item in items:
                item.answer.add_done_callback(self._release)
                self._pool.submit(self._prepare_one, item)
        return [item.answer for item in items]

    def close(self) -> None:
        """Accept no more items, and return when all accepted items are answered."""
        with self._lock:
            self._closed = True
        self._pool.shutdown()
        self._prepared.put(None)
        for worker in self._workers:
            worker.join()

    def _release(self, _: Future[Any]) -> None:
        with self._lock:
            self._held -= 1

    def _prepare_one(self, item: _Item) -> None:
        try:
            if not self._is_late(item):
                self._prepared.put((item, self._prepare(item.content)))
        except Exception as error:
            item.answer.set_exception(error)
        finally:
            item.content = None  # frees the memory while the item waits

    def _work(self) -> None:
        while batch := self._take():
            batch = [pair for pair in batch if not self._is_late(pair[0])]
            while batch:
                batch = self._answer_all(batch)

    def _take(self) -> list[tuple[_Item, Any]]:
        """Return the next batch; an empty batch is the end."""
        first = self._prepared.get()
        if first is None:
            self._prepared.put(None)  # for the other workers
            return []
        batch, until = [first], time.monotonic() + self._batching.window_s
        while len(batch) < self._batching.largest:
            left_s = until - time.monotonic()
            try:
                pair = self._prepared.get(left_s > 0, max(left_s, 0))
            except Empty:
                break
            if pair is None:
                self._prepared.put(None)
                break
            batch.append(pair)
        return batch

    def _answer_all(self, batch: list[tuple[_Item, Any]]) -> list[tuple[_Item, Any]]:
        """Answer a batch. If an item cannot be decoded, return the rest, which is unanswered."""
        begun = time.monotonic()
        try:
            rows = self._answer([prepared for _, prepared in batch])
            pairs = list(zip(batch, rows, strict=True))
        except UndecodableError as error:
            item, _ = batch.pop(error.index)
            item.answer.set_exception(Refusal(422, str(error)))
            return batch
        except Exception as error:
            for item, _ in batch:
                item.answer.set_exception(error)
            return []
        took_s = time.monotonic() - begun
        self._batch_s += _SMOOTHING * (took_s - self._batch_s)
        for (item, _), row in pairs:
            item.answer.set_result(row)
        self._note_pace(len(pairs), took_s)
        with suppress(Exception):  # a fault in metrics must not stop the answers
            self._seen(len(batch), took_s)
        return []

    def _note_pace(self, answered: int, took_s: float) -> None:
        now = time.monotonic()
        with self._lock:
            if self._busy_since is not None:
                self._paces.append((now - self._busy_since) / answered)
            elif self._paces:
                # No item was waiting, so the pace is at least this fast. Without this measurement,
                # one slow phase could cause refusals for ever: no batch would show a faster pace.
                self._paces.append(min(took_s / answered, median(self._paces)))
            self._busy_since = now if self._held >= self._next_ones else None

    def _is_late(self, item: _Item) -> bool:
        """Return True if the item's answer would be too late; the item is then refused."""
        # At most half the budget: after one slow batch, the next items must still be tried.
        expected_s = min(self._batch_s, self._batching.budget_s / 2)
        late = time.monotonic() + expected_s > item.deadline
        if late:
            item.answer.set_exception(
                Refusal(503, "the answer would be too late: send the request again later")
            )
        return late
