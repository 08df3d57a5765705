"""Rules on steps: their effects, their descriptions, and secrets in their parameters."""

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
_VAULT = (
    "Pass the secret's name in Azure Key Vault, and let the step read it with the job's identity"
)


@rule(
    "step-effects",
    demand="a step with effects outside of its outputs is not deterministic",
    why="Azure ML would reuse the step from its cache, and register nothing the second time",
)
def step_effects(subject: Subject) -> Iterator[Finding]:
    """Find deterministic steps that register, deploy or send."""
    for step in subject.steps.values():
        found = effects(step, subject.sources) if step.deterministic else []
        if found:
            yield subject.at_step(
                step.name,
                f"the step has effects ({found[0]}), and is deterministic",
                "Pass is_deterministic=False to its @command_component",
                "is_deterministic",
            )


@rule(
    "step-ports",
    demand="a step and each of its ports are described",
    why="Studio shows only these descriptions to the author of a pipeline",
    severity="warning",
    trial="note",
)
def step_ports(subject: Subject) -> Iterator[Finding]:
    """Find steps and ports without ``description=`` or docstring."""
    for step in subject.steps.values():
        if not step.description.strip():
            remedy = "Pass description=... to the step's @command_component"
            yield subject.at_step(step.name, "the step has no description", remedy)
        for name, port in (*step.inputs.items(), *step.outputs.items()):
            if not port.description.strip():
                problem = f"port {name} has no description"
                remedy = "Pass description=... to the port"
                yield subject.at_step(step.name, problem, remedy, name)


@rule(
    "step-secrets",
    demand="no secret is a parameter",
    why="parameters are stored with the job, in logs and in lineage, and shown in Studio",
)
def step_secrets(subject: Subject) -> Iterator[Finding]:
    """Find secrets by the name of a port or by a value. The secret itself is never repeated."""
    for step in subject.steps.values():
        for name, port in step.inputs.items():
            if port.type == "string" and _SECRET_NAME.search(name):
                problem = f"parameter {name} is named like a secret"
                yield subject.at_step(step.name, problem, _VAULT, name)
    for node in subject.nodes:
        for name, value in subject.values(node).items():
            if _is_secret(str(value)):
                yield subject.at_node(node, f"parameter {name} looks like a secret", _VAULT)
        for name, text in node.environment_variables.items():
            if _SECRET_NAME.search(name) or _is_secret(str(text)):
                yield subject.at_node(node, f"variable {name} looks like a secret", _VAULT)
        if _is_secret(node.command):
            yield subject.at_node(node, "the node's command seems to contain a secret", _VAULT)
    for data in subject.data():
        if _is_secret(data.address):
            yield subject.at_data(data, "the address seems to contain a secret", _VAULT)
    for name, text in subject.profile.inputs.items():
        if _is_secret(text):
            yield subject.at_profile(f"inputs.{name}", "the value looks like a secret", _VAULT)


def _is_secret(text: str) -> bool:
    return redacted(text) != text or bool(_SECRET_TEXT.search(text))
