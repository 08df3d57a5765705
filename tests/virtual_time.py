"""Time that passes only while every thread of a pool sleeps, so what is measured is exact."""

import heapq
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest


class VirtualTime:
    """Takes the place of the module ``time`` in a module that measures threads of a pool.

    The threads must not wait for each other in another way than by ``sleep``, and each takes one
    call.
    """

    def __init__(self) -> None:
        self.now, self._awake = 0.0, 0
        self._wakings: list[float] = []
        self._changed = threading.Condition()

    @classmethod
    def in_module(cls, module: Any, monkeypatch: pytest.MonkeyPatch) -> "VirtualTime":
        """Give a module this time, and pools whose threads sleep in it."""
        clock = cls()
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module, "ThreadPoolExecutor", clock._pool)
        return clock

    def perf_counter(self) -> float:
        return self.now

    monotonic = perf_counter

    def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        with self._changed:
            until = self.now + seconds
            heapq.heappush(self._wakings, until)
            self._rest()
            assert self._changed.wait_for(lambda: self.now >= until, 60)

    def _rest(self) -> None:
        """One thread less is awake; the last one lets time pass until others wake."""
        self._awake -= 1
        if self._awake <= 0 and self._wakings:  # a thread of no pool sleeps alone
            self.now = self._wakings[0]
            while self._wakings and self._wakings[0] <= self.now:
                heapq.heappop(self._wakings)
                self._awake += 1
            self._changed.notify_all()

    def _pool(self, threads: int) -> ThreadPoolExecutor:
        """A pool, for which time waits until all its threads have begun."""
        clock = self

        class Pool(ThreadPoolExecutor):
            def submit(self, function: Any, /, *arguments: Any, **more: Any) -> Future[Any]:
                def work() -> Any:
                    try:
                        return function(*arguments, **more)
                    finally:
                        with clock._changed:
                            clock._rest()

                return super().submit(work)

        with self._changed:
            self._awake += threads
        return Pool(threads)
