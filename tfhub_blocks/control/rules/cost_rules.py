"""What a run may cost at most, what is made again although it is there, and what never ends."""

import re
from collections.abc import Iterator
from pathlib import Path

from tfhub_blocks.control.costs.cost_budgets import budget_findings
from tfhub_blocks.control.project.tags import UNTIL_TAG
from tfhub_blocks.control.rules.effects import effects
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.source_lines import Sources
from tfhub_blocks.control.rules.subject import Subject
from tfhub_blocks.records.base.errors import BlocksError

# What makes an endpoint, of azure-ai-ml and of az; what is put below one ends with it.
_ENDPOINTS = re.compile(
    r"(^|\.)((Managed|Kubernetes)?Online|Batch|Serverless)Endpoint$"
    r"|(^|\.)load_(online|batch|serverless)_endpoint$"
)
_SENDS = re.compile(r"(^|[._])(online|batch|serverless)_endpoints\.(begin_)?create_or_update$")
_AZ = re.compile(r"\baz\s+ml\s+(online|batch|serverless)-endpoint\s+create\b")
_LONGEST_DAYS = 366


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


@rule(
    "cost-endpoint",
    demand="no endpoint is made without an end date",
    why="an online endpoint is paid for day and night until somebody deletes it",
)
def cost_endpoint(subject: Subject) -> Iterator[Finding]:
    """What a step or a pipeline makes by itself carries the tag by which ``deploy reap`` ends it.

    A profile's own limit is one that is felt.
    """
    remedy = f"deploy with tfhub-blocks deploy --until, or give it the tag {UNTIL_TAG}"
    for node in subject.nodes:
        if (found := _AZ.search(node.command)) and UNTIL_TAG not in node.command:
            yield subject.at_node(node, _made_by(found[0]), remedy)
    for step in subject.steps.values():
        for made, line in _endpoints(subject.sources, step.path) if step.path else ():
            yield subject.at_step(step.name, _made_by(made), remedy, line=line)
    for made, line in _endpoints(subject.sources, subject.path):
        yield subject.at_pipeline(_made_by(made), remedy, line)
    days = subject.profile.deployments.longest_days
    if days > _LONGEST_DAYS:
        problem = f"{days} days are as good as no end"
        remedy = f"allow at most {_LONGEST_DAYS}: deploying again gives another end"
        yield subject.at_profile("deployments.longest_days", problem, remedy)


def _made_by(name: str) -> str:
    return f"{name} makes an endpoint without an end date"


def _endpoints(sources: Sources, path: Path) -> Iterator[tuple[str, int]]:
    """By what a source makes endpoints to which it gives no end date, and in which lines."""
    calls = sources.calls(path)
    made = [it for it in calls if _ENDPOINTS.search(it.name)]
    # One that is sent is one that was made in the same file, or comes from elsewhere.
    for call in made or [it for it in calls if _SENDS.search(it.name)]:
        if UNTIL_TAG not in call.texts:
            yield call.name, call.line
    for call in sources.commands(path):
        told = " ".join(call.texts)
        if (found := _AZ.search(told)) and UNTIL_TAG not in told:
            yield found[0], call.line
