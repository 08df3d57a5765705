"""The load generator against targets whose latency is known."""

import threading
import time

import numpy as np
import pytest

from tfhub_blocks.compute.latency.request_load import closed_loop, open_loop


def test_target_that_stalls_once_delays_all_that_were_due_meanwhile():
    alone = threading.Lock()

    def send(number):
        with alone:
            time.sleep(0.5 if number == 10 else 0)

    load = open_loop(send, per_s=200, requests=100)

    assert load.failed == 0
    # 100 were due within the half second in which nothing was answered, not one.
    assert (load.latencies_ms > 100).sum() >= 60
    assert np.median(load.latencies_ms) > 50


def test_target_that_is_too_slow_shows_a_growing_queue_with_any_number_of_senders():
    alone = threading.Lock()

    def send(_):
        with alone:
            time.sleep(0.01)

    load = open_loop(send, per_s=400, requests=100, senders=2)

    assert load.answered_per_s < 110
    assert (np.diff(load.latencies_ms[::10]) > 0).all()
    assert load.latencies_ms[-1] > 500


def test_what_raises_is_counted_and_has_no_latency():
    def send(number):
        if number % 4 == 0:
            raise ConnectionError

    load = open_loop(send, per_s=1000, requests=40)
    assert (load.failed, len(load.latencies_ms)) == (10, 30)


def test_closed_loop_asks_as_many_at_once_as_it_is_told():
    seen, most, lock = set(), [0], threading.Lock()

    def send(number):
        with lock:
            seen.add(number)
            most[0] = max(most[0], len(threading.enumerate()))
        time.sleep(0.01)

    before = threading.active_count()
    rate = closed_loop(send, 3, 0.2)
    assert most[0] - before == 3
    assert rate == pytest.approx(len(seen) / 0.2, rel=1)
    assert {0, 1, 2, 3, 4, 5} <= seen
