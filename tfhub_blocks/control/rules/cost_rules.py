"""Rules on cost: a budget for each run, no repeated work, and an end date for each endpoint."""

import re
from collections.abc import Iterator
from pathlib import Path

from tfhub_blocks.control.costs.cost_budgets import budget_findings
from tfhub_blocks.control.project.profiles import OPERATIONS
from tfhub_blocks.control.project.tags import UNTIL_TAG
from tfhub_blocks.control.rules.effects import effects
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.source_lines import Sources
from tfhub_blocks.control.rules.subject import Subject
from tfhub_blocks.records.base.errors import BlocksError

# The calls that create an endpoint with azure-ai-ml or az; its deployments end with the endpoint.
_ENDPOINTS = re.compile(
    r"(^|\.)((Managed|Kubernetes)?Online|Batch|Serverless)Endpoint$"
    r"|(^|\.)load_(online|batch|serverless)_endpoint$"
)
_SENDS = re.compile(r"(^|[._])(online|batch|serverless)_endpoints\.(begin_)?create_or_update$")
_AZ = re.compile(r"\baz\s+ml\s+(online|batch|serverless)-endpoint\s+create\b")
_LONGEST_DAYS = 366


@rule(
    "cost-budget",
    demand="the cost of a run has an upper bound, which is within the budget",
    why="without a bound, the cost is known only from the bill",
    trial="warning",
)
def cost_budget(subject: Subject) -> Iterator[Finding]:
    """Find steps without a price or a limit, and a total above the profile's budget."""
    if not subject.is_remote:
        return
    if subject.profile.budget is None:
        remedy = 'Add [budget] with currency = "USD", and with run or month in that currency'
        yield subject.at_profile("budget", "no budget is set to stop an expensive run", remedy)
        return
    try:
        for found in budget_findings(subject.graph, subject.profile):
            problem = f"{found.problem}; expected {found.expected}"
            yield subject.at_profile(found.key, problem, found.remedy)
    except BlocksError as unpriced:
        problem = f"the cost of a run is unknown: {unpriced.what}: {unpriced.problem}"
        yield subject.at_profile("budget", problem, unpriced.remedy)


@rule(
    "cost-reuse",
    demand="a step without effects outside of its outputs is deterministic",
    why="Azure ML runs the step again each time, and every step that depends on it",
    severity="warning",
)
def cost_reuse(subject: Subject) -> Iterator[Finding]:
    """Find steps that are not deterministic and have no known effects: they are never reused."""
    for step in subject.steps.values():
        if not step.deterministic and not effects(step, subject.sources):
            yield subject.at_step(
                step.name,
                "the step is not deterministic, and has no known effect outside of its outputs",
                "Remove is_deterministic=False, and give a random step a seed",
                "is_deterministic",
            )


@rule(
    "cost-twice",
    demand="no pipeline has the same step with the same inputs twice",
    why="both nodes run at the same time, so the second cannot reuse the first",
    severity="warning",
)
def cost_twice(subject: Subject) -> Iterator[Finding]:
    """Find nodes whose outputs equal those of another node."""
    first: dict[tuple[str, str], str] = {}
    for node in subject.nodes:
        if not node.deterministic:
            continue
        key = (node.component, repr(sorted(node.inputs.items())))
        other = first.setdefault(key, node.name)
        if other != node.name:
            problem = f"the node is {node.component} with the same inputs as {other}"
            yield subject.at_node(node, problem, f"Use the outputs of {other}")


@rule(
    "cost-endpoint",
    demand="no endpoint is created without an end date",
    why="an online endpoint costs money day and night until it is deleted",
)
def cost_endpoint(subject: Subject) -> Iterator[Finding]:
    """Find endpoints that a step or pipeline creates without the tag that ``deploy reap`` reads.

    The profile must also limit the life of endpoints to at most a year.
    """
    remedy = f"Deploy with `tfhub-blocks deploy online --until DATE`, or set the tag {UNTIL_TAG}"
    for node in subject.nodes:
        if (found := _AZ.search(node.command)) and UNTIL_TAG not in node.command:
            yield subject.at_node(node, _made_by(found[0]), remedy)
    for step in subject.steps.values():
        for made, line, ends in created_endpoints(subject.sources, step.path) if step.path else ():
            if not ends:
                yield subject.at_step(step.name, _made_by(made), remedy, line=line)
    for made, line, ends in created_endpoints(subject.sources, subject.path):
        if not ends:
            yield subject.at_pipeline(_made_by(made), remedy, line)
    days = subject.profile.deployments.longest_days
    if days > _LONGEST_DAYS:
        problem = f"{days} days are as good as no end date"
        remedy = f"Set at most {_LONGEST_DAYS}; a new deployment of the endpoint sets a new date"
        yield subject.at_profile("deployments.longest_days", problem, remedy)


@rule(
    "cost-reap",
    demand="Azure ML itself deletes endpoints past their end date, as an identity of its own",
    why="an endpoint costs money until it is deleted, also where nobody runs `deploy reap`",
    trial="note",
)
def cost_reap(subject: Subject) -> Iterator[Finding]:
    """Find a profile that may deploy online endpoints, and does not end them by a schedule."""
    profile = subject.profile
    if not subject.is_remote or profile.budget is None or profile.budget.endpoints is None:
        return
    if profile.deployments.reap is None:
        yield subject.at_profile(
            "deployments.reap",
            "no time is set at which Azure ML deletes endpoints past their end date",
            'Set reap = "17 2 * * *", and run `tfhub-blocks deploy reap --install'
            f" --profile {profile.name}`",
        )
        return
    role = profile.roles.get(OPERATIONS)
    if role is None:
        yield subject.at_profile(
            "roles",
            f"no role {OPERATIONS} is set, on whose compute the step runs that deletes endpoints",
            f"Add [roles.{OPERATIONS}] with compute and timeout_s",
        )
        return
    others = [name for name, it in profile.roles.items() if it.compute == role.compute]
    others.remove(OPERATIONS)
    if others:
        yield subject.at_profile(
            f"roles.{OPERATIONS}.compute",
            f"{role.compute} also runs the steps of {', '.join(others)}, which could then delete"
            " endpoints",
            f"Set a cluster of its own in roles.{OPERATIONS}.compute",
        )


def _made_by(name: str) -> str:
    return f"{name} creates an endpoint without an end date"


def created_endpoints(sources: Sources, path: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield each call in a source that creates an endpoint: name, line, True with an end date."""
    calls = sources.calls(path)
    made = [it for it in calls if _ENDPOINTS.search(it.name)]
    # An endpoint that is sent was created in the same file, or comes from elsewhere.
    for call in made or [it for it in calls if _SENDS.search(it.name)]:
        yield call.name, call.line, UNTIL_TAG in call.texts
    for call in sources.commands(path):
        command = " ".join(call.texts)
        if found := _AZ.search(command):
            yield found[0], call.line, UNTIL_TAG in command
