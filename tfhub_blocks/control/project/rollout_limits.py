"""The limits of a profile for a new deployment that takes over an endpoint's traffic."""

# decision 112

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class RolloutLimits:
    """What a deployment must keep at each share of the traffic before it gets the next one.

    Requests are replayed ``step_s`` seconds after a change of the traffic, and there are at least
    ``min_requests``. At least ``min_agreement`` of the predictions have the label of the deployment
    before it. At most ``max_error_rate`` of the requests fail, or as many as fail there. The time
    that 95 % of the requests stay below is at most ``max_slowdown`` times that of the deployment
    before it, or within the model's own latency budget.
    """

    step_s: float = 300.0
    min_requests: int = 20
    min_agreement: float = 0.95
    max_error_rate: float = 0.01
    max_slowdown: float = 1.5

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, problem and expectation of each value that its type alone does not exclude."""
        for key, value, is_good, expected in (
            ("step_s", self.step_s, 0 <= self.step_s <= 86_400, "0 to 86400"),
            ("min_requests", self.min_requests, self.min_requests >= 1, "1 or more"),
            ("min_agreement", self.min_agreement, 0 <= self.min_agreement <= 1, "0 to 1"),
            ("max_error_rate", self.max_error_rate, 0 <= self.max_error_rate < 1, "0 to below 1"),
            (
                "max_slowdown",
                self.max_slowdown,
                isfinite(self.max_slowdown) and self.max_slowdown >= 1,
                "1 or more",
            ),
        ):
            if not is_good:
                yield f"deployments.rollout.{key}", f"{key} is {value}", expected
