"""Which worker a process is, and workers that see whether they do the same work."""

import json
import threading

import pytest

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import WORK_NAME
from tfhub_blocks.records.base.worker_group import Worker, gather, tf_config, worker_of_this_process

WORK = {"step": "x", "parameter n": 1, "input snapshot": "a" * 64, "code": "c" * 64}
ADDRESSES = ["10.0.0.4:2222", "10.0.0.5:2222", "10.0.0.6:2222"]


@pytest.fixture
def worker_of(monkeypatch):
    def read(text):
        monkeypatch.setenv("TF_CONFIG", text)
        return worker_of_this_process("x")

    return read


def test_process_without_a_configuration_is_the_only_worker(monkeypatch, worker_of):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert worker_of_this_process("x") == Worker(0, 1)
    assert worker_of("") == worker_of("{}") == Worker(0, 1)
    assert worker_of('{"cluster": {}, "task": {"type": "worker", "index": 0}}') == Worker(0, 1)


def test_each_worker_knows_its_place_and_all_know_one_rendezvous(worker_of):
    found = [worker_of(tf_config(ADDRESSES, index)) for index in range(3)]
    assert [(worker.index, worker.count, worker.is_first) for worker in found] == [
        (0, 3, True),
        (1, 3, False),
        (2, 3, False),
    ]
    assert len({worker.rendezvous for worker in found}) == 1
    assert worker_of(tf_config(ADDRESSES[:2], 0)).rendezvous != found[0].rendezvous


def test_configuration_as_azure_writes_it_is_understood(worker_of):
    text = json.dumps(
        {
            "cluster": {"worker": ADDRESSES, "ps": []},
            "task": {"type": "worker", "index": "2"},
            "environment": "cloud",
        }
    )
    assert str(worker_of(text)) == "worker 2 of 3 (the first is 0)"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "x"}}',
        '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"chief": ["a"], "worker": ["b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_malformed_configuration_is_told(text, worker_of):
    with pytest.raises(BlocksError) as refusal:
        worker_of(text)
    assert str(refusal.value).startswith(f"[x > TF_CONFIG] TF_CONFIG is {text!r} (")
    assert "Expected workers alone, such as {" in str(refusal.value)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_digest_is_in_the_share_of_exactly_one_worker(count):
    digests = [f"{number * 2654435761:064x}" for number in range(100)]
    takers = [[w for w in range(count) if Worker(w, count).takes(digest)] for digest in digests]
    assert all(len(taken) == 1 for taken in takers)
    assert {taken[0] for taken in takers} == set(range(count))


@pytest.fixture
def meet(tmp_path):
    """Let workers gather, each in a thread with its own work; what the first one was told."""

    def meet(*works, limit_s=10.0, count=None, rendezvous="r"):
        count = count or len(works)
        others = [
            threading.Thread(
                target=gather, args=(tmp_path, Worker(index, count, rendezvous), work, "x")
            )
            for index, work in enumerate(works[1:], 1)
        ]
        for thread in others:
            thread.start()
        try:
            gather(tmp_path, Worker(0, count, rendezvous), works[0], "x", limit_s)
        except BlocksError as refusal:
            return str(refusal)
        finally:
            for thread in others:
                thread.join()
        return None

    return meet


def test_workers_of_the_same_work_go_on_and_leave_no_trace(meet, tmp_path):
    assert meet(WORK, WORK, WORK) is None
    assert list((tmp_path / WORK_NAME).iterdir()) == []


def test_first_worker_waits_for_one_that_comes_later(tmp_path):
    late = threading.Timer(0.5, gather, args=(tmp_path, Worker(1, 2, "r"), WORK, "x"))
    late.start()
    gather(tmp_path, Worker(0, 2, "r"), WORK, "x")
    assert late.finished.is_set()


@pytest.mark.parametrize(
    ("name", "value"),
    [("input snapshot", "b" * 64), ("code", "d" * 64), ("parameter n", 2), ("parameter m", 1)],
)
def test_worker_with_other_work_is_named_with_what_differs(name, value, meet):
    assert meet(WORK, WORK, {**WORK, name: value}) == (
        f"[x > worker 2 of 3 (the first is 0)] {name} of worker 2 is {value}. Expected "
        f"{WORK.get(name)}, as on worker 0. Start all workers with the same code, environment, "
        "inputs and parameters."
    )


def test_worker_that_does_not_come_is_named(meet):
    assert meet(WORK, WORK, count=3, limit_s=0.1) == (
        "[x > worker 2 of 3 (the first is 0)] worker 2 did not start within 0.1 s. Expected all 3 "
        "workers. Read the log of worker 2 and check its node, then run the step again; finished "
        "parts are kept."
    )


def test_what_an_earlier_attempt_said_counts_no_more(meet, tmp_path):
    other = {**WORK, "code": "d" * 64}
    gather(tmp_path, Worker(1, 2, "earlier"), other, "x")
    assert "did not start" in meet(WORK, count=2, limit_s=0.1)
    # On the very same nodes: a disagreement is told once.
    assert "code of worker 1 is" in meet(WORK, other)
    assert meet(WORK, WORK) is None
