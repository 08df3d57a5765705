"""The terms of a step: its machines, its time limits, and the price per hour."""

# decision 27

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Terms:
    """The machines, limits and prices of a step when its run began.

    ``price_per_hour`` is the price of one of the ``instances``, or None if the price is unknown.
    The step may take ``timeout_s`` in each of its ``attempts``, and afterwards its nodes idle for
    ``idle_s`` at most. ``expected_s`` is the duration in earlier runs, or None without such runs.
    ``disk_per_hour`` is the price of the disk of one node, and ``balancers_per_day`` that of the
    cluster's load balancers; None if the price is unknown.
    """

    compute: str
    size: str
    tier: str
    instances: int
    timeout_s: int
    attempts: int = 1
    idle_s: int = 0
    price_per_hour: float | None = None
    expected_s: float | None = None
    disk_per_hour: float | None = None
    balancers_per_day: float | None = None

    def cost(self, seconds: float) -> float | None:
        """Return the cost of a duration on all nodes of the step, or None without a price."""
        if self.price_per_hour is None:
            return None
        return seconds * self.instances * self.price_per_hour / SECONDS_PER_HOUR

    def disk_cost(self, seconds: float) -> float:
        """Return the cost of the disks of all nodes for a duration; 0 without a price."""
        return seconds * self.instances * (self.disk_per_hour or 0.0) / SECONDS_PER_HOUR

    @property
    def ceiling(self) -> float | None:
        """The highest possible cost of the step."""
        return self.cost(self.timeout_s * self.attempts)

    @property
    def idle_ceiling(self) -> float | None:
        """The highest possible cost of the step's nodes while they idle afterwards."""
        return self.cost(self.idle_s)

    @property
    def expected(self) -> float | None:
        """The expected cost of the step; the ceiling if no duration is expected."""
        return self.ceiling if self.expected_s is None else self.cost(self.expected_s)

    @property
    def place(self) -> str:
        """The machines of the step, in words."""
        machine = " ".join(word for word in (self.size or self.compute, self.tier) if word)
        return f"{self.instances} x {machine}" if self.instances > 1 else machine

    def as_dict(self) -> dict[str, Any]:
        """Return the terms, JSON-ready."""
        return asdict(self)


def total(amounts: Iterable[float | None]) -> float | None:
    """Return the sum of the amounts, or None if an amount is unknown."""
    found = list(amounts)
    return None if None in found else float(sum(amount or 0.0 for amount in found))


def read_terms(record: Mapping[str, Any] | None) -> Terms | None:
    """Return the terms that ``as_dict`` wrote; None without any, as in older records."""
    if not record:
        return None
    try:
        return Terms(**{key: record[key] for key in Terms.__dataclass_fields__ if key in record})
    except TypeError:  # written by another version
        return None
