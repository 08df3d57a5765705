"""Batches from many threads, with a toy in place of a model."""

import threading
from concurrent.futures import wait

import pytest
from toy_project import PATIENCE_S, wait_for

from tfhub_blocks.compute.answering.answerers import UndecodableError
from tfhub_blocks.compute.serving import request_batches
from tfhub_blocks.compute.serving.refusals import Refusal
from tfhub_blocks.compute.serving.request_batches import Batcher, Batching


class Clock:
    """Stands still but for what a test lets pass, so no answer is late for want of a processor."""

    now = 0.0

    def monotonic(self):
        return self.now


class Toy:
    """Doubles numbers; ``gate`` holds up a batch, and it takes ``seconds`` of the clock.

    ``batches`` are those that came, ``counted`` of them have been counted.
    """

    def __init__(self, clock):
        self.clock, self.seconds = clock, 0.0
        self.batches, self.counted = [], 0
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def prepare(self, content):
        if content == "refused":
            raise Refusal(422, "it is not a number")
        return content

    def answer(self, prepared):
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        self.clock.now += self.seconds
        self.batches.append(list(prepared))
        if "undecodable" in prepared:
            raise UndecodableError("it is no number", prepared.index("undecodable"))
        if "broken" in prepared:
            raise ZeroDivisionError
        return [2 * each for each in prepared]

    def count(self, *_):
        self.counted += 1


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(request_batches, "time", clock)
    return clock


@pytest.fixture
def toy(clock):
    return Toy(clock)


@pytest.fixture
def batcher(toy):
    made = []

    def make(**changes):
        usual = {"largest": 4, "window_s": 0.0, "concurrency": 1, "preparing": 2, "waiting": 16}
        batching = Batching(**{"budget_s": 30.0, **usual, **changes})
        made.append(Batcher(toy.prepare, toy.answer, batching, toy.count))
        return made[-1]

    yield make
    toy.gate.set()
    for each in made:
        each.close()


def held_up(toy, batcher):
    """The first item keeps the only worker busy, until the gate is opened."""
    toy.gate.clear()
    toy.entered.clear()
    first = batcher.submit([0])
    assert toy.entered.wait(PATIENCE_S)
    return first


def answered(toy, futures):
    """The gate is opened; all are answered, and their batches counted."""
    toy.gate.set()
    assert not wait(futures, PATIENCE_S).not_done
    wait_for(lambda: toy.counted == len(toy.batches))


def outcome(future):
    error = future.exception(PATIENCE_S)
    return (error.status, str(error)) if isinstance(error, Refusal) else error or future.result()


@pytest.mark.parametrize("_", range(30))  # one in fifty lost an item with queue.SimpleQueue
def test_each_thread_gets_its_own_answers(_, toy, batcher):
    made, given = batcher(concurrency=3, window_s=0.001, waiting=1000), {}

    def ask(number):
        contents = [number * 10 + index for index in range(5)]
        given[number] = [future.result(PATIENCE_S) for future in made.submit(contents)]

    threads = [threading.Thread(target=ask, args=[number]) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given == {
        number: [2 * (number * 10 + index) for index in range(5)] for number in range(40)
    }
    assert max(map(len, toy.batches)) <= 4
    assert made.held == 0


def test_what_came_while_a_batch_was_computed_is_computed_together(toy, batcher):
    made = batcher()
    first = held_up(toy, made)
    rest = [made.submit([number])[0] for number in range(1, 6)]
    wait_for(lambda: made._prepared.qsize() == 5)
    answered(toy, [*first, *rest])
    assert [len(batch) for batch in toy.batches] == [1, 4, 1]


def test_a_window_lets_the_first_wait_for_others(toy, batcher):
    made = batcher(window_s=3600.0)
    futures = [made.submit([number])[0] for number in range(4)]
    answered(toy, futures)  # a full batch does not wait for the end of the window
    assert [sorted(batch) for batch in toy.batches] == [[0, 1, 2, 3]]


def test_one_item_too_many_is_refused_at_once_and_room_comes_back(toy, batcher):
    made = batcher(waiting=3)
    first = held_up(toy, made)
    rest = made.submit([1, 2])
    assert made.is_full
    with pytest.raises(Refusal, match="too many") as told:
        made.submit([3])
    assert told.value.status == 429
    assert told.value.headers == {"retry-after": "1"}
    answered(toy, [*first, *rest])
    assert made.submit([3])[0].result(PATIENCE_S) == 6


def test_what_waited_longer_than_its_answer_is_worth_is_refused(toy, batcher, clock):
    made = batcher(budget_s=1.0)
    first = held_up(toy, made)
    late = made.submit([1])[0]
    wait_for(lambda: made._prepared.qsize() == 1)
    clock.now += 10.0
    answered(toy, first)
    assert outcome(late) == (503, "the answer would be too late: send the request again later")
    assert [1] not in toy.batches
    # The slow batch was an exception, and does not keep the next ones out.
    assert made.submit([2])[0].result(PATIENCE_S) == 4


def test_what_would_wait_too_long_is_refused_at_once_and_what_is_taken_is_answered(toy, batcher):
    made = batcher(budget_s=1.0, largest=1, waiting=100)
    toy.seconds = 0.05
    answered(toy, [*held_up(toy, made), *made.submit([1] * 11)])
    taken = held_up(toy, made)
    while not made.is_slow():
        taken += made.submit([0])
    with pytest.raises(Refusal) as told:
        made.submit([0])
    assert told.value.status == 429
    assert len(taken) == 16  # each takes 0.05 s, and all of them four fifths of the budget
    answered(toy, taken)
    assert {outcome(each) for each in taken} == {0}
    assert made.submit([3])[0].result(PATIENCE_S) == 6


def test_a_machine_that_stood_still_does_not_keep_the_next_ones_out(toy, batcher, clock):
    made = batcher(budget_s=1.0, largest=1)
    answered(toy, [*held_up(toy, made), *made.submit([1] * 11)])
    first = held_up(toy, made)
    rest = made.submit([1] * 3)
    clock.now += 0.8
    answered(toy, [*first, *rest])
    toy.gate.clear()
    for _ in range(15):
        made.submit([1])


def test_a_server_that_was_slow_takes_more_again_when_it_is_fast(toy, batcher):
    """Also if so few are taken meanwhile that none waits for another."""
    made = batcher(budget_s=0.3, largest=1)
    toy.seconds = 0.1
    for _ in range(4):
        answered(toy, [*held_up(toy, made), *made.submit([1])])
    held = [*held_up(toy, made), *made.submit([1])]
    assert made.is_slow()
    answered(toy, held)
    toy.seconds = 0.0
    for number in range(20):
        assert made.submit([number])[0].result(PATIENCE_S) == 2 * number
    toy.gate.clear()
    for _ in range(10):
        made.submit([1])


def test_an_item_that_is_refused_or_undecodable_leaves_the_others_alone(toy, batcher):
    made = batcher()
    first = held_up(toy, made)
    futures = made.submit([1, "refused", 2, "undecodable", 3])
    wait_for(lambda: made._prepared.qsize() == 4)
    toy.gate.set()
    wait(first, PATIENCE_S)
    assert [outcome(future) for future in futures] == [
        2,
        (422, "it is not a number"),
        4,
        (422, "it is no number"),
        6,
    ]


def test_a_fault_of_the_model_is_that_of_its_batch_and_the_next_is_answered(toy, batcher):
    made = batcher()
    assert isinstance(outcome(made.submit(["broken"])[0]), ZeroDivisionError)
    assert made.submit([4])[0].result(PATIENCE_S) == 8


def test_closing_answers_what_was_taken_and_takes_nothing_more(toy, batcher):
    made = batcher(concurrency=2)
    first = held_up(toy, made)
    rest = made.submit(list(range(1, 9)))
    closing = threading.Thread(target=made.close)
    closing.start()
    wait_for(lambda: made._closed)
    with pytest.raises(Refusal, match="stopping"):
        made.submit([9])
    toy.gate.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert [future.result(0) for future in [*first, *rest]] == [2 * n for n in range(9)]
