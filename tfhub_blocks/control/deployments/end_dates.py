"""End dates: until when an endpoint may live, as a tag that it carries."""

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
    """The last day of something, which it lives through, in UTC."""

    day: date

    @property
    def time(self) -> datetime:
        """When that day is over."""
        return datetime.combine(self.day + timedelta(days=1), time(), UTC)

    def hours(self, now: datetime) -> float:
        """How many hours are left; 0 after the end."""
        return max((self.time - now).total_seconds(), 0.0) / _HOUR_S

    def is_past(self, now: datetime) -> bool:
        """Whether the day is over."""
        return now >= self.time

    def __str__(self) -> str:
        """As the tag holds it, and as people write it."""
        return self.day.isoformat()


def choose_end(text: str | None, profile: Profile, now: datetime, where: str) -> End:
    """The end that a person chose, within what the profile allows.

    Raises:
        BlocksError: There is none, it is no day, it is over, or it is too far.
    """
    longest = profile.deployments.longest_days
    last = now.date() + timedelta(days=longest)
    expected = f"its last day, {now.date()} to {last}"
    remedy = "nothing lives for ever by default: deploying again later gives it another end"
    if not text:
        raise BlocksError(where, "--until", "it has no end date", expected, remedy)
    day = _day(text)
    if day is None:
        raise BlocksError(where, "--until", f"{text!r} is no day", expected, "write YYYY-MM-DD")
    if day < now.date():
        raise BlocksError(where, "--until", f"{day} is over", expected, "name a day to come")
    if day > last:
        days = (day - now.date()).days
        problem = f"{day} is {days} days away, and {profile.name} allows {longest}"
        raise BlocksError(where, "--until", problem, expected, remedy)
    return End(day)


def end_of(tags: Mapping[str, Any] | None) -> End | None:
    """The end that something carries; None if it carries none that can be read."""
    day = _day(str((tags or {}).get(UNTIL_TAG, "")))
    return End(day) if day else None


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None
