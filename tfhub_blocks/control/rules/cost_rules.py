"""What a run may cost at most, and what is made again although it is there."""

from collections.abc import Iterator

from tfhub_blocks.control.costs.budgets import budget_findings
from tfhub_blocks.control.rules.effects import effects
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject
from tfhub_blocks.records.errors import BlocksError


@rule(
    "cost-budget",
    demand="what a run may cost has an upper bound, and that is within the budget",
    why="what nothing bounds is known when the bill comes",
    trial="warning",
)
def cost_budget(subject: Subject) -> Iterator[Finding]:
    """Each step has a price and a limit, and all together keep the profile's budget."""
    if not subject.is_remote:
        return
    if subject.profile.budget is None:
        remedy = "add [budget] with currency, and run or month (docs/cost.md)"
        yield subject.at_profile("budget", "there is none, so nothing stops a dear run", remedy)
        return
    try:
        for found in budget_findings(subject.graph, subject.profile):
            problem = f"{found.problem}; expected {found.expected}"
            yield subject.at_profile(found.key, problem, found.remedy)
    except BlocksError as unpriced:
        problem = f"nobody knows what a run may cost: {unpriced.what}: {unpriced.problem}"
        yield subject.at_profile("budget", problem, unpriced.remedy)


@rule(
    "cost-reuse",
    demand="a step without effects outside of its outputs is deterministic",
    why="Azure ML runs it anew each time, and with it all that depends on it",
    severity="warning",
)
def cost_reuse(subject: Subject) -> Iterator[Finding]:
    """What is not deterministic is never taken from the cache."""
    for step in subject.steps.values():
        if not step.deterministic and not effects(step, subject.sources):
            yield subject.at_step(
                step.name,
                "it is not deterministic, and nothing that it does outside is known",
                "take is_deterministic=False out; what is random takes a seed",
                "is_deterministic",
            )


@rule(
    "cost-twice",
    demand="no pipeline has the same step with the same inputs twice",
    why="both run, side by side, before there is anything to reuse",
    severity="warning",
)
def cost_twice(subject: Subject) -> Iterator[Finding]:
    """What the second gives, the first does."""
    first: dict[tuple[str, str], str] = {}
    for node in subject.nodes:
        if not node.deterministic:
            continue
        key = (node.component, repr(sorted(node.inputs.items())))
        other = first.setdefault(key, node.name)
        if other != node.name:
            problem = f"it is {node.component} with the inputs of {other}"
            yield subject.at_node(node, problem, f"use the outputs of {other}")
