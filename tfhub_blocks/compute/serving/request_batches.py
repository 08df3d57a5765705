"""Batches: items of requests that come about the same time, computed together.

Each item is prepared in a thread of its own, then waits for others, then is answered with them.
Items are held in bounded number, and refused as soon as their answer would come too late.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any

from tfhub_blocks.compute.answering.answerers import UndecodableError
from tfhub_blocks.compute.serving.refusals import Refusal, too_many

# How much of what the last batch took counts as what the next one will.
_SMOOTHING = 0.2
# So many batches tell how fast items are answered. Half of them may have come while the machine
# stood still.
_PACES = 16
# What is taken is expected to be answered in this share of the budget: some will take longer.
_TAKEN_SHARE = 0.8


@dataclass(frozen=True)
class Batching:
    """How items are put together; ``window_s`` is how long the first waits for others."""

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
    """Answers items from any thread, in batches.

    Args:
        prepare: From one content to what ``answer`` takes; it may refuse it.
        answer: From prepared items to as many answers.
        batching: How they are put together.
        seen: Called with the size of each batch and the seconds that it took.
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
        # Seconds for an item, of batches after which others waited already, and the last such end.
        self._paces: deque[float] = deque(maxlen=_PACES)
        self._busy_since: float | None = None
        self._closed = False
        self._prepared: SimpleQueue[tuple[_Item, Any] | None] = SimpleQueue()
        self._pool = ThreadPoolExecutor(batching.preparing, "prepare")
        self._workers = [
            threading.Thread(target=self._work, name=f"answer-{number}", daemon=True)
            for number in range(batching.concurrency)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def held(self) -> int:
        """How many items wait or are being answered."""
        return self._held

    @property
    def is_full(self) -> bool:
        """Whether so many items wait that one more would be refused."""
        return self._held >= self._batching.waiting

    def is_slow(self, more: int = 1) -> bool:
        """Whether so many more items would be refused because they would probably be late.

        They are refused if those before them and they take so long, each as long as one did of late
        while others waited. Enough for the next batches are always taken.
        """
        expected_s = (self._held + more) * median(self._paces or [0.0])
        is_late = expected_s > _TAKEN_SHARE * self._batching.budget_s
        return is_late and self._held >= self._next_ones

    @property
    def _next_ones(self) -> int:
        return self._batching.largest * self._batching.concurrency

    def submit(self, contents: Sequence[Any]) -> list[Future[Any]]:
        """An answer to come for each content, all or none of which are taken.

        One that does not come raises a ``Refusal``, or whatever fault of the model it was.

        Raises:
            Refusal: Too many wait already, or for too long, or the batcher was closed.
        """
        with self._lock:
            if self._closed:
                raise Refusal(503, "the server is stopping: send it again")
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
        """Answer what was taken, take nothing more, and come back when all is answered."""
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
            item.content = None  # not held while it waits

    def _work(self) -> None:
        while batch := self._take():
            batch = [pair for pair in batch if not self._is_late(pair[0])]
            while batch:
                batch = self._answer_all(batch)

    def _take(self) -> list[tuple[_Item, Any]]:
        """The next batch; empty at the end."""
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
        """Answer a batch; what is left of it without an item that could not be decoded."""
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
        with suppress(Exception):  # what is counted must not stop what is answered
            self._seen(len(batch), took_s)
        return []

    def _note_pace(self, answered: int, took_s: float) -> None:
        now = time.monotonic()
        with self._lock:
            if self._busy_since is not None:
                self._paces.append((now - self._busy_since) / answered)
            elif self._paces:
                # Nobody waited: it tells no more than that items are not slower. Without it, what
                # was slow once would keep out those who could show that it is fast again.
                self._paces.append(min(took_s / answered, median(self._paces)))
            self._busy_since = now if self._held >= self._next_ones else None

    def _is_late(self, item: _Item) -> bool:
        """Whether its answer would come too late; it is refused, then."""
        # Not by more than half: after one slow batch, the next ones must get their chance.
        expected_s = min(self._batch_s, self._batching.budget_s / 2)
        late = time.monotonic() + expected_s > item.deadline
        if late:
            item.answer.set_exception(
                Refusal(503, "it waited longer than an answer may take: send it again later")
            )
        return late
