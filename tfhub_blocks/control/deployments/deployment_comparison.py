"""The comparison of a new deployment with the one before it, by their answers."""

# decision 112

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tfhub_blocks.control.deployments.replayed_requests import DeploymentAnswer, ReplayedRequest
from tfhub_blocks.control.project.rollout_limits import RolloutLimits

_NONE = 0  # the status of an answer that did not arrive
_QUANTILE = 0.95


@dataclass(frozen=True)
class DeploymentComparison:
    """The answers of a deployment next to those of the deployment before it.

    ``agreement`` is the fraction of predictions with the same label; None if no request has an
    answer of both. Times are those that 95 % of the requests stayed below; NaN without an answer.
    ``refusals`` names each status other than 200, and how often both deployments answered with it.
    """

    requests: int
    errors: int
    errors_before: int
    agreement: float | None
    latency_ms: float
    latency_before_ms: float
    refusals: str = "no refusals"

    def __str__(self) -> str:
        """Return the measurements in one line."""
        agreement = "no answers" if self.agreement is None else f"{self.agreement:.1%} agreement"
        return (
            f"{self.requests} requests, {self.errors} errors ({self.errors_before} before),"
            f" {agreement}, {self.latency_ms:.0f} ms ({self.latency_before_ms:.0f} ms before)"
        )

    def faults(self, limits: RolloutLimits, budget_ms: float | None) -> Iterator[str]:
        """Yield a sentence for each limit that the new deployment exceeds."""
        rate, rate_before = self.errors / self.requests, self.errors_before / self.requests
        if rate > max(limits.max_error_rate, rate_before):
            yield (
                f"{self.errors} of {self.requests} requests failed ({rate:.1%}), and at most"
                f" {limits.max_error_rate:.1%} may"
            )
        if self.agreement is None:
            yield f"no request was answered by both deployments ({self.refusals})"
        elif self.agreement < limits.min_agreement:
            yield (
                f"{self.agreement:.1%} of the predictions agree with the deployment before it, and"
                f" at least {limits.min_agreement:.1%} must"
            )
        # Without an answer of the deployment before, only the budget is known.
        known_ms = (limits.max_slowdown * self.latency_before_ms, budget_ms or math.nan)
        most_ms = max((it for it in known_ms if not math.isnan(it)), default=math.inf)
        if self.latency_ms > most_ms:
            yield (
                f"95 % of the requests took up to {self.latency_ms:.0f} ms"
                f" ({self.latency_before_ms:.0f} ms before), and at most {most_ms:.0f} ms are"
                " allowed"
            )


def compare(
    found: Sequence[ReplayedRequest], pairs: Sequence[tuple[DeploymentAnswer, DeploymentAnswer]]
) -> DeploymentComparison:
    """Compare the answers to requests; a collected answer stands for that of the deployment before.

    A request that the deployment before refuses too, such as one with a damaged picture, is no
    error of the new one.
    """
    same = total = 0
    for request, (before, new) in zip(found, pairs, strict=True):
        known = request.collected if request.collected is not None else before.content
        if not new.is_answered or not (before.is_answered or request.collected is not None):
            continue
        wanted, given = _labels(known), _labels(new.content)
        total += max(len(wanted), len(given))
        same += sum(one == other for one, other in zip(wanted, given, strict=False))
    return DeploymentComparison(
        requests=len(pairs),
        errors=sum(_is_error(new, before) for before, new in pairs),
        errors_before=sum(_is_error(before, new) for before, new in pairs),
        agreement=same / total if total else None,
        latency_ms=_latency_ms([new for _, new in pairs]),
        latency_before_ms=_latency_ms([before for before, _ in pairs]),
        refusals=_refusals([it for pair in pairs for it in pair]),
    )


def _refusals(answers: Sequence[DeploymentAnswer]) -> str:
    found = Counter(it.status for it in answers if it.status != HTTPStatus.OK)
    words = [f"status {it} {n} times" if it else f"no answer {n} times" for it, n in found.items()]
    return ", ".join(words) or "no refusals"


def _is_error(answer: DeploymentAnswer, other: DeploymentAnswer) -> bool:
    if answer.is_answered:
        return False
    faults = (_NONE, HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS)
    is_fault = answer.status in faults or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return is_fault or answer.status != other.status


def _labels(content: Any) -> list[Any]:
    """Return the label of each prediction, or the whole prediction where there is no label."""
    found = content.get("predictions", content) if isinstance(content, dict) else content
    rows = found if isinstance(found, list) else [found]
    return [row.get("label", row) if isinstance(row, dict) else row for row in rows]


def _latency_ms(answers: Sequence[DeploymentAnswer]) -> float:
    times = sorted(it.seconds for it in answers if it.is_answered)
    if not times:
        return math.nan
    return 1000 * times[math.ceil(_QUANTILE * len(times)) - 1]
