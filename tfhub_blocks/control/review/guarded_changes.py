"""Changes that a guardrail of a profile concerns: each passes, needs an approval, or stops."""

# decision 107

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tfhub_blocks.control.costs.prices import money
from tfhub_blocks.control.project.clusters import GPU_SIZE
from tfhub_blocks.control.project.guardrails import Action, Guardrails
from tfhub_blocks.control.review.commit_states import CommitState, StepState
from tfhub_blocks.control.review.state_comparison import Comparison

# The kind of a change of the guardrails themselves.
OWN = "guardrails"


@dataclass(frozen=True)
class GuardedChange:
    """A change that a guardrail concerns, and the people who approved it.

    ``kind`` is the guardrail's key in the table [review] of the profile.
    """

    kind: str
    profile: str
    text: str
    action: Action
    approvers: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()

    @property
    def stands(self) -> bool:
        """True if the change stops, or lacks an approval."""
        return self.action == "stop" or (self.action == "approve" and not self.approved_by)

    @property
    def verdict(self) -> str:
        """The consequence in words."""
        if self.action == "pass":
            return "passes"
        if self.action == "stop":
            return "stops the change"
        if self.approved_by:
            return f"approved by {', '.join(self.approved_by)}"
        return f"needs the approval of {' or '.join(self.approvers)}"


def guarded_changes(
    base: CommitState, head: CommitState, found: Comparison, approved: Collection[str]
) -> tuple[GuardedChange, ...]:
    """Return each change that a guardrail concerns.

    The guardrails are those before the change, so that a change cannot lift its own. A profile that
    is new brings its own.

    Args:
        base: The state before the change.
        head: The state after the change.
        found: Their comparison.
        approved: The names of the people who approved the change.
    """
    given = {name.casefold() for name in approved}
    changes = []
    for name, profile in head.profiles.items():
        known = base.profiles.get(name)
        rails = known.guardrails if known else profile.guardrails
        by = tuple(it for it in rails.approvers if it.casefold() in given)
        actions = dict(rails.actions)
        actions[OWN] = "approve" if rails.approvers else "pass"
        for kind, text in _changes(name, rails, base, head, found):
            changes.append(GuardedChange(kind, name, text, actions[kind], rails.approvers, by))
    for name in base.profiles.keys() - head.profiles.keys():
        rails = base.profiles[name].guardrails
        if rails.approvers:
            by = tuple(it for it in rails.approvers if it.casefold() in given)
            text = f"profile {name} is removed, with its guardrails"
            changes.append(GuardedChange(OWN, name, text, "approve", rails.approvers, by))
    return tuple(changes)


def _changes(
    profile: str, rails: Guardrails, base: CommitState, head: CommitState, found: Comparison
) -> Iterator[tuple[str, str]]:
    if profile in base.profiles and head.profiles[profile].guardrails != rails:
        yield OWN, "the table [review] of the profile changes"
    for change in found.pipelines:
        if change.profile != profile or change.after is None:
            continue
        before = change.before.ceiling if change.before else None
        if before is not None and _rises(before, change.after.ceiling, rails):
            text = _rise(before, change.after.ceiling)
            yield "cost_rise", f"a run of {change.pipeline} may cost {text}"
        old = change.before.steps if change.before else {}
        for name, step in change.after.steps.items():
            if text := _new_gpu(step, old.get(name)):
                yield "new_gpu", f"step {name} of {change.pipeline} {text}"
    for month in found.months:
        if month.profile == profile and _rises(month.before or 0.0, month.after, rails):
            text = _rise(month.before or 0.0, month.after)
            yield "cost_rise", f"the scheduled runs of a month may cost {text}"
    for fact in found.facts["endpoints"]:
        if fact.after == "has no end date":
            yield "endless_endpoint", f"{fact.subject} creates {fact.key} without an end date"
    for fact in found.facts["encoders"]:
        if fact.key.startswith("decisions."):
            values = f"{fact.before or 'nothing'} to {fact.after or 'nothing'}"
            yield "encoder_decision", f"{fact.subject}: {fact.key} changes from {values}"


def _rises(before: float, after: float | None, rails: Guardrails) -> bool:
    """Return True if a cost rises by more than the guardrail allows, or is not known any more."""
    if after is None:
        return True
    return after > before * (1 + rails.cost_rise_percent / 100) + 1e-9


def _rise(before: float, after: float | None) -> str:
    if after is None:
        return f"an unknown amount, and {money(before)} before"
    percent = f" (+{(after / before - 1) * 100:,.0f} %)" if before else ""
    return f"{money(after)}, and {money(before)} before{percent}"


def _new_gpu(after: StepState, before: StepState | None) -> str:
    if not GPU_SIZE.match(after.size):
        return ""
    if before is None or not GPU_SIZE.match(before.size):
        return f"runs on {after.size}"
    if before.size.casefold() != after.size.casefold():
        return f"runs on {after.size}, and on {before.size} before"
    counts = [int(it.settings.get("nodes", "1")) for it in (before, after)]
    return (
        f"runs on {counts[1]} machines, and on {counts[0]} before" if counts[1] > counts[0] else ""
    )
