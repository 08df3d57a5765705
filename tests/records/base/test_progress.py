import re

import pytest

from tfhub_blocks.control.costs.duration_forecast import throughput
from tfhub_blocks.records.base import progress
from tfhub_blocks.records.base.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def run(clock, capsys):
    """Report how many are done after each pause in seconds; the lines, and each line's forecast."""

    def report(total, reports, say=None):
        say = say or Progress("items")
        lines, forecasts = [], {}
        for pause_s, done in reports:
            clock.now += pause_s
            say(done, total)
            for line in capsys.readouterr().out.splitlines():
                lines.append(line)
                left = re.search(r"(\d+) s left", line)
                forecasts[done] = int(left[1]) if left else None
        return lines, forecasts

    return report


def test_lines_tell_count_rate_and_time_left(run):
    lines, _ = run(900, [(5, 100), (2, 400)], Progress("images"))
    assert lines == ["progress: 100/900 images", "progress: 400/900 images, 150/s, 3 s left"]


def test_at_most_one_line_a_second_but_always_the_last(run):
    lines, _ = run(None, [(0.4, done) for done in (1, 2, 3, 4)], Progress("images", total=4))
    assert [line.split()[1] for line in lines] == ["1/4", "4/4"]


def test_total_may_be_unknown_or_come_later(clock, capsys):
    say = Progress("items")
    for done, total in ((10, None), (20, None), (30, 30)):
        clock.now += 2
        say(done, total)
    assert capsys.readouterr().out == (
        "progress: 10 items\nprogress: 20 items, 5/s\nprogress: 30/30 items, 5/s\n"
    )


def test_nothing_done_at_once_does_not_divide_by_zero(clock, capsys):
    Progress("items", total=5)(0)
    assert capsys.readouterr().out == "progress: 0/5 items\n"


def test_slow_first_batch_is_in_no_forecast(run):
    """64 of 2,700 items took 12 s, the other 43 s."""
    total, batch = 2700, 64
    steady_s = 43 / ((total - batch) / batch)
    reports = [(12, batch)] + [(steady_s, done) for done in range(2 * batch, total, batch)]
    _, forecasts = run(total, reports)
    assert forecasts.pop(batch) is None
    assert len(forecasts) > 15
    for done, left_s in forecasts.items():
        assert left_s == pytest.approx(steady_s * (total - done) / batch, abs=1)


def test_slow_start_of_several_batches_is_forgotten(run):
    reports = [(10, 10 * n) for n in range(1, 4)] + [(1, 10 * n) for n in range(4, 200)]
    _, forecasts = run(2000, reports)
    assert forecasts[1000] == pytest.approx(100, abs=1)


def test_forecast_follows_a_step_that_becomes_slower(run):
    reports = [(1, 10 * n) for n in range(1, 50)] + [(2, 10 * n) for n in range(50, 150)]
    _, forecasts = run(2000, reports)
    assert forecasts[1490] == pytest.approx(2 * 51, abs=1)


def test_pause_after_every_epoch_is_in_the_forecast(run):
    """A minute of steps and 20 s of validation, again and again."""
    reports = [(21 if n % 60 == 1 else 1, n) for n in range(1, 1200)]
    _, forecasts = run(1200, reports)
    assert forecasts[900] == pytest.approx(5 * 80, rel=0.1)


def test_what_an_earlier_attempt_did_is_in_no_rate(run):
    lines, forecasts = run(1000, [(1, 510), (1, 520), (1, 530)])
    assert forecasts[530] == 47
    assert lines[-1].endswith("530/1000 items, 10/s, 47 s left")


def test_step_that_stands_still_has_no_forecast(run):
    lines, _ = run(9, [(1, 3), (2, 3)])
    assert lines[-1] == "progress: 3/9 items, 0/s"


@pytest.mark.parametrize(("took_s", "told"), [(4, ", 10/s"), (0.01, "")])
def test_step_of_one_batch_tells_its_average_at_the_end(run, clock, took_s, told):
    lines, _ = run(40, [(took_s, 40)], Progress("items", _started=clock.now))
    assert lines == [f"progress: 40/40 items{told}"]


def test_first_batch_of_a_step_that_was_killed_is_no_basis_of_a_cost(run, tmp_path):
    log = tmp_path / "log.txt"
    for reports, rate in (([(12, 64)], None), ([(12, 64), (2, 192)], 64)):
        lines, _ = run(2700, reports)
        log.write_text("\n".join([*lines, ""]))
        found = throughput(log)
        assert (found and found.per_second) == rate
