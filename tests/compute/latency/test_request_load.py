"""The load generator against targets whose latency is known, in a time that only they pass."""

import threading

import numpy as np
import pytest
from virtual_time import VirtualTime

from tfhub_blocks.compute.latency import request_load
from tfhub_blocks.compute.latency.request_load import closed_loop, open_loop


@pytest.fixture
def clock(monkeypatch):
    return VirtualTime.in_module(request_load, monkeypatch)


def one_after_another(clock, seconds_of):
    """A target that answers one request at a time, in the order in which they come."""
    lock, free = threading.Lock(), [0.0]

    def send(number):
        with lock:
            free[0] = max(free[0], clock.now) + seconds_of(number)
            until = free[0]
        clock.sleep(until - clock.now)

    return send


def test_target_that_stalls_once_delays_all_that_were_due_meanwhile(clock):
    send = one_after_another(clock, lambda number: 0.5 if number == 10 else 0.0)

    load = open_loop(send, per_s=200, requests=200)

    assert load.failed == 0
    # 100 were due within the half second in which nothing was answered, not one.
    late = [0.0] * 10 + [500.0 - 5 * number for number in range(100)] + [0.0] * 90
    assert load.latencies_ms == pytest.approx(np.array(late), abs=1e-6)


@pytest.mark.parametrize("senders", [1, 2, 7])
def test_target_that_is_too_slow_shows_a_growing_queue_with_any_number_of_senders(clock, senders):
    send = one_after_another(clock, lambda _: 0.01)

    load = open_loop(send, per_s=400, requests=100, senders=senders)

    # Each is due 2.5 ms after the one before it, and answered 10 ms after that.
    assert load.latencies_ms == pytest.approx(10 + 7.5 * np.arange(100))
    assert load.answered_per_s == pytest.approx(100)


def test_what_raises_is_counted_and_has_no_latency():
    def send(number):
        if number % 4 == 0:
            raise ConnectionError

    load = open_loop(send, per_s=1000, requests=40)
    assert (load.failed, len(load.latencies_ms)) == (10, 30)


def test_closed_loop_asks_as_many_at_once_as_it_is_told(clock):
    seen, at_once, most, lock = [], 0, 0, threading.Lock()

    def send(number):
        nonlocal at_once, most
        with lock:
            seen.append(number)
            at_once += 1
            most = max(most, at_once)
        clock.sleep(0.01)
        with lock:
            at_once -= 1

    rate = closed_loop(send, 3, 0.195)
    assert most == 3
    assert sorted(seen) == list(range(60))
    # The last ones count with the time that they took: 60 in 0.2 s.
    assert rate == pytest.approx(300)
