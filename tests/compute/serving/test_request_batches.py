"""Batches from many threads, with a toy in place of a model."""

import threading
import time
from concurrent.futures import wait

import pytest

from tfhub_blocks.compute.answering.answerers import UndecodableError
from tfhub_blocks.compute.serving.refusals import Refusal
from tfhub_blocks.compute.serving.request_batches import Batcher, Batching


class Toy:
    """Doubles numbers; ``gate`` holds up a batch, and it takes ``seconds``.

    ``batches`` are those that came.
    """

    def __init__(self):
        self.batches, self.gate, self.seconds = [], threading.Event(), 0.0
        self.gate.set()
        self.entered = threading.Event()

    def prepare(self, content):
        if content == "refused":
            raise Refusal(422, "it is not a number")
        return content

    def answer(self, prepared):
        self.entered.set()
        assert self.gate.wait(30)
        time.sleep(self.seconds)
        self.batches.append(list(prepared))
        if "undecodable" in prepared:
            raise UndecodableError("it is no number", prepared.index("undecodable"))
        if "broken" in prepared:
            raise ZeroDivisionError
        return [2 * each for each in prepared]


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def batcher(toy):
    made = []

    def make(**changes):
        usual = {"largest": 4, "window_s": 0.0, "concurrency": 1, "preparing": 2, "waiting": 16}
        batching = Batching(**{"budget_s": 30.0, **usual, **changes})
        made.append(Batcher(toy.prepare, toy.answer, batching))
        return made[-1]

    yield make
    toy.gate.set()
    for each in made:
        each.close()


def held_up(toy, batcher):
    """The first item keeps the only worker busy, until the gate is opened."""
    toy.gate.clear()
    first = batcher.submit([0])
    assert toy.entered.wait(30)
    return first


def outcome(future):
    error = future.exception(30)
    return (error.status, str(error)) if isinstance(error, Refusal) else error or future.result()


def test_each_thread_gets_its_own_answers(toy, batcher):
    made, given = batcher(concurrency=3, window_s=0.001, waiting=1000), {}

    def ask(number):
        contents = [number * 10 + index for index in range(5)]
        given[number] = [future.result(30) for future in made.submit(contents)]

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
    while made._prepared.qsize() < 5:
        time.sleep(0.001)
    toy.gate.set()
    wait([*first, *rest])
    assert [len(batch) for batch in toy.batches] == [1, 4, 1]


def test_a_window_lets_the_first_wait_for_others(toy, batcher):
    made = batcher(window_s=5.0)
    begun = time.monotonic()
    futures = [made.submit([number])[0] for number in range(4)]
    wait(futures)
    assert [sorted(batch) for batch in toy.batches] == [[0, 1, 2, 3]]
    assert time.monotonic() - begun < 5.0  # a full batch waits no longer


def test_one_item_too_many_is_refused_at_once_and_room_comes_back(toy, batcher):
    made = batcher(waiting=3)
    first = held_up(toy, made)
    rest = made.submit([1, 2])
    assert made.is_full
    with pytest.raises(Refusal, match="too many") as told:
        made.submit([3])
    assert told.value.status == 429
    assert told.value.headers == {"retry-after": "1"}
    toy.gate.set()
    wait([*first, *rest])
    assert made.submit([3])[0].result(30) == 6


def test_what_waited_longer_than_its_answer_is_worth_is_refused(toy, batcher):
    made = batcher(budget_s=0.05)
    first = held_up(toy, made)
    late = made.submit([1])[0]
    time.sleep(0.06)
    toy.gate.set()
    wait(first)
    sentence = "the answer would be too late: send the request again later"
    assert outcome(late) == (503, sentence)
    assert [1] not in toy.batches
    # The slow batch was an exception, and does not keep the next ones out.
    assert made.submit([2])[0].result(30) == 4


def test_what_would_wait_too_long_is_refused_at_once_and_what_is_taken_is_answered(toy, batcher):
    made = batcher(budget_s=1.0, largest=1, waiting=100)
    toy.seconds = 0.05
    wait([made.submit([1])[0] for _ in range(12)])
    taken = []
    while not made.is_slow():
        taken += made.submit([2])
    with pytest.raises(Refusal) as told:
        made.submit([2])
    assert told.value.status == 429
    assert 8 < len(taken) < 17
    assert {outcome(each) for each in taken} == {4}
    assert made.submit([3])[0].result(30) == 6


def test_a_machine_that_stood_still_does_not_keep_the_next_ones_out(toy, batcher):
    made = batcher(budget_s=1.0, largest=1)
    wait([made.submit([1])[0] for _ in range(12)])
    first = held_up(toy, made)
    rest = [made.submit([1])[0] for _ in range(3)]
    time.sleep(0.8)
    toy.gate.set()
    wait([*first, *rest])
    toy.gate.clear()
    for _ in range(15):
        made.submit([1])


def test_a_server_that_was_slow_takes_more_again_when_it_is_fast(toy, batcher):
    """Also if so few are taken meanwhile that none waits for another."""
    made = batcher(budget_s=0.3, largest=1)
    toy.seconds = 0.1
    for _ in range(4):
        wait([made.submit([1])[0] for _ in range(2)])
    toy.gate.clear()
    held = [made.submit([1])[0] for _ in range(2)]
    assert made.is_slow()
    toy.gate.set()
    wait(held)
    toy.seconds = 0.0
    for number in range(20):
        assert made.submit([number])[0].result(30) == 2 * number
    toy.gate.clear()
    for _ in range(10):
        made.submit([1])


def test_an_item_that_is_refused_or_undecodable_leaves_the_others_alone(toy, batcher):
    made = batcher()
    first = held_up(toy, made)
    futures = made.submit([1, "refused", 2, "undecodable", 3])
    while made._prepared.qsize() < 4:
        time.sleep(0.001)
    toy.gate.set()
    wait(first)
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
    assert made.submit([4])[0].result(30) == 8


def test_closing_answers_what_was_taken_and_takes_nothing_more(toy, batcher):
    made = batcher(concurrency=2)
    first = held_up(toy, made)
    rest = made.submit(list(range(1, 9)))
    closing = threading.Thread(target=made.close)
    closing.start()
    while not made._closed:
        time.sleep(0.001)
    with pytest.raises(Refusal, match="stopping"):
        made.submit([9])
    toy.gate.set()
    closing.join(30)
    assert not closing.is_alive()
    assert [future.result(0) for future in [*first, *rest]] == [2 * n for n in range(9)]
