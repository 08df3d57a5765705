"""The guardrails of a profile: changes that `review` lets pass, that need an approval, or stop."""

# decision 107

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Literal

Action = Literal["pass", "approve", "stop"]


@dataclass(frozen=True)
class Guardrails:
    """What `review` demands of a change, by its kind.

    ``cost_rise`` concerns a pipeline whose highest cost rises by more than ``cost_rise_percent``,
    ``new_gpu`` a machine with a GPU that no step ran on, ``endless_endpoint`` an endpoint without
    an end date, and ``encoder_decision`` a changed decision about an encoder. ``approvers`` are the
    names of the people whose approval counts; each kind needs one of them.
    """

    approvers: tuple[str, ...] = ()
    cost_rise: Action = "pass"
    cost_rise_percent: float = 20.0
    new_gpu: Action = "pass"
    endless_endpoint: Action = "pass"
    encoder_decision: Action = "pass"

    @property
    def actions(self) -> Mapping[str, Action]:
        """The action of each kind of change, by the kind's key in the profile."""
        return {
            "cost_rise": self.cost_rise,
            "new_gpu": self.new_gpu,
            "endless_endpoint": self.endless_endpoint,
            "encoder_decision": self.encoder_decision,
        }

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, problem and expectation of each value that its type alone does not exclude."""
        percent = self.cost_rise_percent
        if not (isfinite(percent) and percent >= 0):
            yield "review.cost_rise_percent", f"cost_rise_percent is {percent}", "0 or more"
        if "approve" in self.actions.values() and not self.approvers:
            problem = "approvers is empty, so nobody could approve a change"
            yield "review.approvers", problem, "the names of the people whose approval counts"
