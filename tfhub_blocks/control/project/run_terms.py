"""The terms of a step: on what it runs, what it may take of that, and what an hour costs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Terms:
    """On what a step runs, as it was when the run began.

    ``price_per_hour`` is that of one of the ``instances``; None where it is not known. The step may
    take ``timeout_s`` in each of so many ``attempts``, and its nodes idle for ``idle_s`` at most
    afterwards. ``expected_s`` is what earlier runs say; None where there were none.
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

    def cost(self, seconds: float) -> float | None:
        """What so many seconds cost on all of its nodes."""
        if self.price_per_hour is None:
            return None
        return seconds * self.instances * self.price_per_hour / SECONDS_PER_HOUR

    @property
    def ceiling(self) -> float | None:
        """What the step costs at most."""
        return self.cost(self.timeout_s * self.attempts)

    @property
    def idle_ceiling(self) -> float | None:
        """What its nodes cost at most while they wait for work afterwards."""
        return self.cost(self.idle_s)

    @property
    def expected(self) -> float | None:
        """What it is expected to cost: the ceiling, where nothing is known."""
        return self.ceiling if self.expected_s is None else self.cost(self.expected_s)

    @property
    def place(self) -> str:
        """On what it runs, in words."""
        machine = " ".join(word for word in (self.size or self.compute, self.tier) if word)
        return f"{self.instances} x {machine}" if self.instances > 1 else machine

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def total(amounts: Iterable[float | None]) -> float | None:
    """The sum; None if one of them is not known."""
    found = list(amounts)
    return None if None in found else float(sum(amount or 0.0 for amount in found))


def read_terms(record: Mapping[str, Any] | None) -> Terms | None:
    """The terms that ``as_dict`` gave; None where there are none, as in older records."""
    if not record:
        return None
    try:
        return Terms(**{key: record[key] for key in Terms.__dataclass_fields__ if key in record})
    except TypeError:  # of another version
        return None
