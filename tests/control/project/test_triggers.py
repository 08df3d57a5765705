"""The times at which schedules fire, held against the calendar."""

from datetime import UTC, datetime

import pytest

from tfhub_blocks.control.project.triggers import Recurrence, make_trigger


def times(trigger, first, last):
    found = trigger.times(datetime.fromisoformat(first), datetime.fromisoformat(last))
    return [when.astimezone(UTC).strftime("%m-%d %H:%M") for when in found]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 3 * * *", ["01-02 02:00", "01-03 02:00"]),
        ("30 3,15 * * *", ["01-01 14:30", "01-02 02:30", "01-02 14:30", "01-03 02:30"]),
        ("0 3 * * 6", ["01-03 02:00"]),
        ("0 3 * * 0", []),
        ("0 */8 * * 5-7", ["01-01 23:00", "01-02 07:00", "01-02 15:00", "01-02 23:00"]),
    ],
)
def test_cron_fires_by_the_clock_on_the_wall(cron, expected):
    trigger = make_trigger("x", "Europe/Berlin", cron, None)
    found = times(trigger, "2026-01-01T12:00+00:00", "2026-01-03T06:00+00:00")
    assert found == expected


def test_time_on_the_wall_stays_when_summer_begins():
    trigger = make_trigger("x", "W. Europe Standard Time", "0 3 * * *", None)
    found = times(trigger, "2026-03-28T00:00+00:00", "2026-03-30T12:00+00:00")
    assert found == ["03-28 02:00", "03-29 01:00", "03-30 01:00"]


def test_recurrence_counts_weeks_and_days_of_the_month():
    every = Recurrence("week", week_days=("monday", "friday"), hours=(3,), minutes=(30,))
    trigger = make_trigger("x", "UTC", None, every)
    found = times(trigger, "2026-01-01T00:00+00:00", "2026-01-10T00:00+00:00")
    assert found == ["01-02 03:30", "01-05 03:30", "01-09 03:30"]
    monthly = Recurrence("month", month_days=(1, 31), hours=(0,))
    trigger = make_trigger("x", "UTC", None, monthly)
    found = times(trigger, "2026-01-15T00:00+00:00", "2026-04-02T00:00+00:00")
    assert found == ["01-31 00:00", "02-01 00:00", "03-01 00:00", "03-31 00:00", "04-01 00:00"]
