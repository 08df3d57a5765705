"""What is made again although it is there."""

from collections.abc import Iterator

from tfhub_blocks.control.rules.effects import effects
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject


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
