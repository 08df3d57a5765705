"""The trigger of a schedule: as written in a file, as Azure ML's entity, and as a list of times."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from azure.ai.ml.entities import CronTrigger, RecurrencePattern, RecurrenceTrigger
from dateutil.rrule import DAILY, HOURLY, MINUTELY, MONTHLY, WEEKLY, rrule
from tzlocal.windows_tz import tz_win, win_tz

from tfhub_blocks.records.base.errors import BlocksError, nearest

Frequency = Literal["minute", "hour", "day", "week", "month"]
Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_RULES: Mapping[str, Any] = {
    "minute": MINUTELY,
    "hour": HOURLY,
    "day": DAILY,
    "week": WEEKLY,
    "month": MONTHLY,
}
_DAYS = get_args(Day)
# cron counts weekdays from Sunday.
_CRON_DAYS = (6, 0, 1, 2, 3, 4, 5, 6)
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))


@dataclass(frozen=True)
class Recurrence:
    """A recurrence: every ``interval`` days, weeks and so on, at set times of the day.

    ``frequency`` is the unit of the interval. ``hours`` and ``minutes`` are the times of the day.
    ``week_days`` are the days of a weekly trigger, and ``month_days`` those of a monthly one.
    """

    frequency: Frequency
    interval: int = 1
    hours: tuple[int, ...] = (0,)
    minutes: tuple[int, ...] = (0,)
    week_days: tuple[Day, ...] = ()
    month_days: tuple[int, ...] = ()

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, problem and expectation of each value that its type alone does not exclude."""
        if self.interval < 1:
            yield "interval", f"interval is {self.interval}", "at least 1"
        for key, low, high in (("hours", 0, 23), ("minutes", 0, 59), ("month_days", 1, 31)):
            for number in getattr(self, key):
                if not low <= number <= high:
                    yield key, f"{key} contains {number}", f"numbers from {low} to {high}"
        for frequency, key in (("week", "week_days"), ("month", "month_days")):
            if self.frequency == frequency and not getattr(self, key):
                yield key, f"{key} is missing", f"the days of the {frequency}"


@dataclass(frozen=True)
class Trigger:
    """The trigger of a schedule; ``zone`` is the IANA name of its time zone."""

    zone: str
    cron: str | None
    recurrence: Recurrence | None

    def entity(self) -> Any:
        """Return the SDK's trigger; Azure ML uses the Windows names of time zones."""
        zone = tz_win[self.zone]
        if self.cron is not None:
            return CronTrigger(expression=self.cron, time_zone=zone)
        recurrence = self.recurrence
        assert recurrence is not None  # noqa: S101  # make_trigger checked it
        pattern = None
        if recurrence.frequency not in ("minute", "hour"):
            pattern = RecurrencePattern(
                hours=list(recurrence.hours),
                minutes=list(recurrence.minutes),
                week_days=list(recurrence.week_days) or None,
                month_days=list(recurrence.month_days) or None,
            )
        return RecurrenceTrigger(
            frequency=recurrence.frequency,
            interval=recurrence.interval,
            schedule=pattern,
            time_zone=zone,
        )

    def times(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """Yield each time, in UTC, at which the schedule fires between two times.

        Args:
            after: The creation of the schedule, from which a recurrence counts its interval.
            before: The end.
        """
        zone = ZoneInfo(self.zone)
        # In local time: 3 o'clock stays 3 o'clock in summer.
        first, last = (t.astimezone(zone).replace(tzinfo=None) for t in (after, before))
        for local in self._rule(first).between(first, last, inc=False):
            yield local.replace(tzinfo=zone).astimezone(UTC)

    def _rule(self, first: datetime) -> Any:
        if self.cron is not None:
            minutes, hours, _, _, days = map(_cron_field, self.cron.split(), _FIELDS)
            return rrule(
                DAILY,
                dtstart=first.replace(hour=0, minute=0, second=0, microsecond=0),
                byhour=hours,
                byminute=minutes,
                bysecond=0,
                byweekday=sorted({_CRON_DAYS[day] for day in days}),
            )
        recurrence = self.recurrence
        assert recurrence is not None  # noqa: S101  # make_trigger checked it
        rule = _RULES[recurrence.frequency]
        if recurrence.frequency in ("minute", "hour"):
            return rrule(rule, dtstart=first, interval=recurrence.interval)
        return rrule(
            rule,
            dtstart=first.replace(hour=0, minute=0, second=0, microsecond=0),
            interval=recurrence.interval,
            byhour=recurrence.hours,
            byminute=recurrence.minutes,
            bysecond=0,
            byweekday=[_DAYS.index(day) for day in recurrence.week_days] or None,
            bymonthday=recurrence.month_days or None,
        )


def make_trigger(
    where: str, time_zone: str, cron: str | None, recurrence: Recurrence | None
) -> Trigger:
    """Check the settings of a trigger, and return the trigger.

    Args:
        where: The source of the settings, for messages.
        time_zone: An IANA name, or a Windows name of a time zone.
        cron: Five fields, of which Azure ML ignores the day and the month.
        recurrence: An alternative to cron.

    Raises:
        BlocksError: Both or neither of cron and recurrence are set, or a setting is invalid.
    """
    if (cron is None) == (recurrence is None):
        found = "both cron and [recurrence]" if cron else "neither cron nor [recurrence]"
        problem, expected = f"the schedule sets {found}", "exactly one of cron and [recurrence]"
        remedy = f"Remove one from {where}" if cron else f"Add one to {where}"
        raise BlocksError(where, "cron, [recurrence]", problem, expected, remedy)
    zone = win_tz.get(time_zone, time_zone)
    if zone not in tz_win or not _is_zone(zone):
        near = nearest(time_zone, [*tz_win, *win_tz]) or f"Edit time_zone in {where}"
        problem = f"time_zone {time_zone!r} is unknown"
        raise BlocksError(where, "time_zone", problem, "a name such as Europe/Berlin", near)
    for problem, expected in _cron_faults(cron) if cron is not None else ():
        remedy = f"Edit cron in {where}; `man 5 crontab` explains the fields"
        raise BlocksError(where, "cron", problem, expected, remedy)
    for key, problem, expected in recurrence.faults() if recurrence else ():
        remedy = f"Edit recurrence.{key} in {where}"
        raise BlocksError(where, f"recurrence.{key}", problem, expected, remedy)
    return Trigger(zone, cron, recurrence)


def _cron_faults(cron: str) -> Iterator[tuple[str, str]]:
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        yield f"{cron!r} has {len(fields)} fields", "minute, hour, *, * and weekday"
        return
    if fields[2:4] != ["*", "*"]:
        problem = f"Azure ML ignores the day of the month and the month in {cron!r}"
        yield problem, 'a [recurrence] with frequency = "month" and month_days instead'
    for text, field in zip(fields, _FIELDS, strict=True):
        try:
            _cron_field(text, field)
        except ValueError as error:
            yield str(error), f"{field[1]} to {field[2]}"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


def _cron_field(text: str, field: tuple[str, int, int]) -> list[int]:
    """Return the numbers that a cron field selects, such as ``*``, ``*/5``, ``1-5`` or ``1,3``."""
    name, low, high = field
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        try:
            start = low if span == "*" else int(first)
            end = high if span == "*" or (step and not last) else int(last or first)
            numbers = range(start, end + 1, int(step or 1))
        except ValueError:
            raise ValueError(f"{part!r} in cron is not a valid {name}") from None
        if not numbers or start < low or end > high:
            raise ValueError(f"{part!r} in cron is not a valid {name}")
        found |= set(numbers)
    return sorted(found)
