"""End dates of endpoints, stored as a tag of the endpoint."""

# decision 47

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.tags import UNTIL_TAG
from tfhub_blocks.records.base.errors import BlocksError

_HOUR_S = 3600.0


@dataclass(frozen=True)
class End:
    """The last day of an endpoint, in UTC; the endpoint lives until that day is over."""

    day: date

    @property
    def time(self) -> datetime:
        """The time at which the last day is over."""
        return datetime.combine(self.day + timedelta(days=1), time(), UTC)

    def hours(self, now: datetime) -> float:
        """Return the number of hours left; 0 after the end."""
        return max((self.time - now).total_seconds(), 0.0) / _HOUR_S

    def is_past(self, now: datetime) -> bool:
        """Return True if the last day is over."""
        return now >= self.time

    def __str__(self) -> str:
        """Return the day as YYYY-MM-DD, as in the tag."""
        return self.day.isoformat()


def choose_end(text: str | None, profile: Profile, now: datetime, where: str) -> End:
    """Return the end date that a user chose, within the limit of the profile.

    Raises:
        BlocksError: The date is missing, invalid, in the past, or too far in the future.
    """
    longest = profile.deployments.longest_days
    last = now.date() + timedelta(days=longest)
    expected = f"a date from {now.date()} to {last}"
    remedy = f"Pass --until {last} or earlier"
    if not text:
        problem = "the endpoint has no end date"
        later = f"{remedy}; deploying again later sets a new end date"
        raise BlocksError(where, "--until", problem, expected, later)
    day = _day(text)
    if day is None:
        remedy = f"Write the date as YYYY-MM-DD, such as --until {last}"
        raise BlocksError(where, "--until", f"{text!r} is not a date", expected, remedy)
    if day < now.date():
        raise BlocksError(where, "--until", f"{day} is in the past", expected, remedy)
    if day > last:
        days = (day - now.date()).days
        problem = f"{day} is {days} days away, but profile {profile.name} allows {longest}"
        later = f"{remedy}; deploying again later sets a new end date"
        raise BlocksError(where, "--until", problem, expected, later)
    return End(day)


def end_of(tags: Mapping[str, Any] | None) -> End | None:
    """Return the end date in an endpoint's tags; None without a readable date."""
    day = _day(str((tags or {}).get(UNTIL_TAG, "")))
    return End(day) if day else None


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None
