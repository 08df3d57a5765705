"""When a schedule fires: as people write it, as Azure ML takes it, and at which times that is."""

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
# cron counts from Sunday.
_CRON_DAYS = (6, 0, 1, 2, 3, 4, 5, 6)
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))


@dataclass(frozen=True)
class Recurrence:
    """Every ``interval`` days or weeks and so on, at some times of the day."""

    frequency: Frequency
    interval: int = 1
    hours: tuple[int, ...] = (0,)
    minutes: tuple[int, ...] = (0,)
    week_days: tuple[Day, ...] = ()
    month_days: tuple[int, ...] = ()

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Key, problem and expectation of each value that its type alone does not rule out."""
        if self.interval < 1:
            yield "interval", f"it is {self.interval}", "at least 1"
        for key, low, high in (("hours", 0, 23), ("minutes", 0, 59), ("month_days", 1, 31)):
            for number in getattr(self, key):
                if not low <= number <= high:
                    yield key, f"it holds {number}", f"numbers from {low} to {high}"
        for frequency, key in (("week", "week_days"), ("month", "month_days")):
            if self.frequency == frequency and not getattr(self, key):
                yield key, "it is missing", f"the days of the {frequency}"


@dataclass(frozen=True)
class Trigger:
    """When a schedule fires; ``zone`` is the IANA name of its time zone."""

    zone: str
    cron: str | None
    recurrence: Recurrence | None

    def entity(self) -> Any:
        """As the SDK takes it; Azure ML knows time zones by their names in Windows."""
        zone = tz_win[self.zone]
        if self.cron is not None:
            return CronTrigger(expression=self.cron, time_zone=zone)
        it = self.recurrence
        assert it is not None  # noqa: S101  # make_trigger saw to it
        pattern = None
        if it.frequency not in ("minute", "hour"):
            pattern = RecurrencePattern(
                hours=list(it.hours),
                minutes=list(it.minutes),
                week_days=list(it.week_days) or None,
                month_days=list(it.month_days) or None,
            )
        return RecurrenceTrigger(
            frequency=it.frequency, interval=it.interval, schedule=pattern, time_zone=zone
        )

    def times(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """Each time in UTC between two at which it fires.

        Args:
            after: When it was made: a recurrence counts its interval from there.
            before: The end.
        """
        zone = ZoneInfo(self.zone)
        # As the clock on the wall shows it: at 3 o'clock stays at 3 o'clock in summer.
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
        it = self.recurrence
        assert it is not None  # noqa: S101  # make_trigger saw to it
        if it.frequency in ("minute", "hour"):
            return rrule(_RULES[it.frequency], dtstart=first, interval=it.interval)
        return rrule(
            _RULES[it.frequency],
            dtstart=first.replace(hour=0, minute=0, second=0, microsecond=0),
            interval=it.interval,
            byhour=it.hours,
            byminute=it.minutes,
            bysecond=0,
            byweekday=[_DAYS.index(day) for day in it.week_days] or None,
            bymonthday=it.month_days or None,
        )


def make_trigger(
    where: str, time_zone: str, cron: str | None, recurrence: Recurrence | None
) -> Trigger:
    """A trigger, checked.

    Args:
        where: Whence it is, for messages.
        time_zone: An IANA name, or Windows' name of a time zone.
        cron: Five fields, of which Azure ML ignores the day and the month.
        recurrence: Given instead.

    Raises:
        BlocksError: Both or none of cron and recurrence are given, or one of them means nothing.
    """
    if (cron is None) == (recurrence is None):
        problem = "both are given" if cron else "neither is given"
        raise BlocksError(where, "cron, [recurrence]", problem, "one of them", "keep one")
    zone = win_tz.get(time_zone, time_zone)
    if zone not in tz_win or not _is_zone(zone):
        near = nearest(time_zone, [*tz_win, *win_tz]) or "correct it"
        expected = "a name such as Europe/Berlin"
        raise BlocksError(where, "time_zone", f"it is {time_zone!r}", expected, near)
    for problem, expected in _cron_faults(cron) if cron is not None else ():
        raise BlocksError(where, "cron", problem, expected, "correct it; see man 5 crontab")
    for key, problem, expected in recurrence.faults() if recurrence else ():
        raise BlocksError(where, f"recurrence.{key}", problem, expected, "correct it")
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
    """The numbers that a field of a cron expression means: ``*``, ``*/5``, ``1-5``, ``1,3``."""
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
            raise ValueError(f"{part!r} is no {name}") from None
        if not numbers or start < low or end > high:
            raise ValueError(f"{part!r} is no {name}")
        found |= set(numbers)
    return sorted(found)
