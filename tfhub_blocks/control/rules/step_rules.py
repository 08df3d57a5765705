"""What a step has to say of itself, and what must not be said to it."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.rules.effects import effects
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject
from tfhub_blocks.records.base.redaction import redacted

_SECRET_NAME = re.compile(
    r"(^|_)(password|passwd|pwd|secret|token|sas|credentials?|connection_string"
    r"|(api|access|account|private|shared)_?key)$",
    re.I,
)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(ghp|gho|github_pat|glpat|xox[abp])[_-]\w{10,}"
    r"|\bAKIA[0-9A-Z]{16}\b|://[^/\s:@]+:[^/\s@]+@"
)
_VAULT = "give its name in Azure Key Vault, and let the step fetch it with the job's identity"


@rule(
    "step-effects",
    demand="a step with effects outside of its outputs is not deterministic",
    why="Azure ML takes it from the cache the second time, and nothing is registered",
)
def step_effects(subject: Subject) -> Iterator[Finding]:
    """What registers, deploys or sends says ``is_deterministic=False``."""
    for step in subject.steps.values():
        found = effects(step, subject.sources) if step.deterministic else []
        if found:
            yield subject.at_step(
                step.name,
                f"it has effects ({found[0]}), and is deterministic",
                "let its @command_component say is_deterministic=False",
                "is_deterministic",
            )


@rule(
    "step-ports",
    demand="a step and each of its ports are described",
    why="Studio shows nothing else to whoever composes a pipeline from it",
    severity="warning",
    trial="note",
)
def step_ports(subject: Subject) -> Iterator[Finding]:
    """By ``description=`` of the port, or the docstring."""
    for step in subject.steps.values():
        if not step.description.strip():
            yield subject.at_step(step.name, "it has no description", "add description=...")
        for name, port in (*step.inputs.items(), *step.outputs.items()):
            if not port.description.strip():
                problem = f"port {name} has no description"
                yield subject.at_step(step.name, problem, "add description=...", name)


@rule(
    "step-secrets",
    demand="no secret is a parameter",
    why="parameters are kept with the job, in logs and in lineage, and shown in Studio",
)
def step_secrets(subject: Subject) -> Iterator[Finding]:
    """Neither by the name of a port nor by what it is given. What was found is not repeated."""
    for step in subject.steps.values():
        for name, port in step.inputs.items():
            if port.type == "string" and _SECRET_NAME.search(name):
                problem = f"parameter {name} is for a secret"
                yield subject.at_step(step.name, problem, _VAULT, name)
    for node in subject.nodes:
        for name, value in subject.values(node).items():
            if _is_secret(str(value)):
                yield subject.at_node(node, f"parameter {name} holds what looks secret", _VAULT)
        for name, text in node.environment_variables.items():
            if _SECRET_NAME.search(name) or _is_secret(str(text)):
                yield subject.at_node(node, f"variable {name} holds what looks secret", _VAULT)
        if _is_secret(node.command):
            yield subject.at_node(node, "its command holds what looks secret", _VAULT)
    for data in subject.data():
        if _is_secret(data.address):
            yield subject.at_data(data, "its address holds what looks secret", _VAULT)
    for name, text in subject.profile.inputs.items():
        if _is_secret(text):
            yield subject.at_profile(f"inputs.{name}", "it holds what looks secret", _VAULT)


def _is_secret(text: str) -> bool:
    return redacted(text) != text or bool(_SECRET_TEXT.search(text))
