import pytest

from tfhub_blocks.records.base import progress
from tfhub_blocks.records.base.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_lines_tell_count_rate_and_time_left(clock, capsys):
    say = Progress("images", total=900, _started=clock.now)
    clock.now += 2
    say(300)
    assert capsys.readouterr().out == "progress: 300/900 images, 150/s, 4 s left\n"


def test_at_most_one_line_a_second_but_always_the_last(clock, capsys):
    say = Progress("images", total=4, _started=clock.now)
    for done in (1, 2, 3, 4):
        clock.now += 0.4
        say(done)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/4", "4/4"]


def test_total_may_be_unknown_or_come_later(clock, capsys):
    say = Progress("items", _started=clock.now)
    clock.now += 2
    say(10)
    clock.now += 2
    say(20, 20)
    assert capsys.readouterr().out == "progress: 10 items, 5/s\nprogress: 20/20 items, 5/s\n"


def test_nothing_done_at_once_does_not_divide_by_zero(clock, capsys):
    Progress("items", total=5)(0)
    assert capsys.readouterr().out == "progress: 0/5 items, 0/s\n"
