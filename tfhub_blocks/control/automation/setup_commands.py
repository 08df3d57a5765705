"""What must exist in Azure and in the repository before the workflows run, as commands."""

# decision 111

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.control.automation.ci_settings import CiProject
from tfhub_blocks.control.automation.github_workflows import EXPERIMENT, NIGHT, PRODUCTION
from tfhub_blocks.control.project.federated_login import AUDIENCE
from tfhub_blocks.records.base.errors import BlocksError

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
_DEVOPS_ISSUER = "https://vstoken.dev.azure.com/ORGANIZATION_ID"
OWNERS_FILE = Path(".github") / "CODEOWNERS"
# The files that a second person must see, and whose content decides about money and production.
OWNED = (
    "/pipelines/releases/",
    "/pipelines/profiles/",
    "/pipelines/prices.toml",
    "/pipelines/ci.toml",
    "/encoders/",
    "/.github/",
)
# The roles of each identity in the workspace.
ROLES: Mapping[str, tuple[str, ...]] = {
    EXPERIMENT: ("AzureML Data Scientist", "Storage Blob Data Contributor"),
    PRODUCTION: (
        "AzureML Data Scientist",
        "AzureML Registry User",
        "Storage Blob Data Contributor",
    ),
    NIGHT: ("AzureML Data Scientist", "AzureML Compute Operator", "Storage Blob Data Contributor"),
}


@dataclass(frozen=True)
class SetupCommand:
    """A command, and the reason for it. ``body`` is its standard input, if it has one.

    ``output`` names the variable that keeps what the command prints, for the commands after it.
    ``unless`` is a look-up: if it prints anything, the thing exists, and the command is left out.
    """

    why: str
    words: tuple[str, ...]
    body: str = ""
    output: str = ""
    unless: tuple[str, ...] = ()

    def shell(self) -> str:
        """Return the command as a person types it; ``$NAME`` stays a variable."""
        line = _line(self.words)
        if self.body:
            line += f" <<END\n{self.body}\nEND"
        if self.output:
            line = f"{self.output}=$({line})"
        if not self.unless:
            return line
        name = self.output or "FOUND"
        return f'{name}=$({_line(self.unless)})\n[ -n "${name}" ] || {line}'


@dataclass(frozen=True)
class Place:
    """The repository and the workspace that the commands are for."""

    repository: str
    subscription: str
    group: str
    workspace: str
    reviewers: tuple[str, ...] = ()

    @property
    def scope(self) -> str:
        """The workspace's resource group, in which storage and registry are as well."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which the workflows name the workspace."""
        return {
            "AZURE_SUBSCRIPTION_ID": self.subscription,
            "AZURE_RESOURCE_GROUP": self.group,
            "AZURE_WORKSPACE": self.workspace,
        }


def github_commands(project: CiProject, place: Place) -> Iterator[SetupCommand]:
    """Yield the commands for a repository on GitHub: Azure first, then the repository."""
    for environment in (EXPERIMENT, PRODUCTION, NIGHT):
        subject = f"repo:{place.repository}:environment:{environment}"
        yield from _identity(environment, place, GITHUB_ISSUER, subject)
        yield from _environment(environment, place)
    yield SetupCommand(
        f"{project.settings.branch} takes reviewed changes alone, also from administrators",
        _api("PUT", f"repos/{place.repository}/branches/{project.settings.branch}/protection"),
        json.dumps(_protection(project), indent=1),
    )
    for name, value in {**place.variables, "AZURE_TENANT_ID": "$TENANT"}.items():
        words = ("gh", "variable", "set", name, "--repo", place.repository, "--body", value)
        yield SetupCommand("the workflows read this variable", words)


def azure_devops_commands(project: CiProject, place: Place) -> Iterator[SetupCommand]:
    """Yield the commands for a project on Azure DevOps, whose OWNER is the organization."""
    organization, _, name = place.repository.partition("/")
    yield from _identity(EXPERIMENT, place, _DEVOPS_ISSUER, f"sc://{place.repository}/tfhub-blocks")
    scope = ("--organization", f"https://dev.azure.com/{organization}", "--project", name)
    values = dict.fromkeys(project.variables, "SET-ME") | place.variables
    yield SetupCommand(
        "the pipelines read these variables",
        (
            *("az", "pipelines", "variable-group", "create", "--name", "tfhub-blocks", *scope),
            *("--variables", *(f"{key}={value}" for key, value in values.items())),
        ),
    )
    for file in ("pull-request", "merge", "lock", "release", "night"):
        path = f".azure-pipelines/tfhub-blocks-{file}.yml"
        made = ("--name", f"tfhub-blocks {file}", "--yml-path", path, "--skip-run")
        yield SetupCommand(
            "Azure Pipelines knows this file", ("az", "pipelines", "create", *made, *scope)
        )


def _identity(environment: str, place: Place, issuer: str, subject: str) -> Iterator[SetupCommand]:
    name = f"{place.repository.replace('/', '-')}-{environment}"
    yield SetupCommand(
        f"the jobs of {environment} sign in as this application, which has no password",
        ("az", "ad", "app", "create", "--display-name", name, "--query", "appId", "-o", "tsv"),
        output="CLIENT",
        unless=(
            *("az", "ad", "app", "list", "--display-name", name),
            *("--query", "[0].appId", "-o", "tsv"),
        ),
    )
    yield SetupCommand(
        "the application has roles as this service principal",
        ("az", "ad", "sp", "create", "--id", "$CLIENT", "--query", "id", "-o", "tsv"),
        output="PRINCIPAL",
        unless=("az", "ad", "sp", "show", "--id", "$CLIENT", "--query", "id", "-o", "tsv"),
    )
    credential = {"name": environment, "issuer": issuer, "subject": subject}
    yield SetupCommand(
        f"only jobs with the subject {subject} sign in",
        (
            *("az", "ad", "app", "federated-credential", "create", "--id", "$CLIENT"),
            *("--parameters", json.dumps({**credential, "audiences": [AUDIENCE]})),
        ),
        unless=(
            *("az", "ad", "app", "federated-credential", "list", "--id", "$CLIENT"),
            *("--query", f"[?name=='{environment}'].id", "-o", "tsv"),
        ),
    )
    for role in ROLES[environment]:
        yield SetupCommand(
            f"the jobs of {environment} do what this role allows, and no more",
            (
                *("az", "role", "assignment", "create", "--assignee-object-id", "$PRINCIPAL"),
                *("--assignee-principal-type", "ServicePrincipal"),
                *("--role", role, "--scope", place.scope),
            ),
        )


def _environment(environment: str, place: Place) -> Iterator[SetupCommand]:
    names = place.reviewers if environment == PRODUCTION else ()
    for number, name in enumerate(names):
        words = ("gh", "api", f"users/{name}", "--jq", ".id")
        yield SetupCommand(f"{name} approves promotions", words, output=f"REVIEWER_{number}")
    settings = {
        "prevent_self_review": bool(names),
        "reviewers": [{"type": "User", "id": f"$REVIEWER_{n}"} for n in range(len(names))],
        "deployment_branch_policy": {"protected_branches": True, "custom_branch_policies": False},
    }
    why = (
        "its reviewers are the second person of promote" if names else "the jobs' subject names it"
    )
    yield SetupCommand(
        f"environment {environment}: {why}",
        _api("PUT", f"repos/{place.repository}/environments/{environment}"),
        re.sub(r'"(\$\w+)"', r"\1", json.dumps(settings, indent=1)),  # ids are numbers
    )
    yield SetupCommand(
        "the jobs know their application",
        (
            *("gh", "variable", "set", "AZURE_CLIENT_ID", "--env", environment),
            *("--repo", place.repository, "--body", "$CLIENT"),
        ),
    )


def _protection(project: CiProject) -> dict[str, object]:
    contexts = ["Check and review", *(["Test"] if project.settings.tests else [])]
    return {
        "required_status_checks": {"strict": True, "contexts": contexts},
        "enforce_admins": True,
        "required_pull_request_reviews": {
            "dismiss_stale_reviews": True,
            "require_code_owner_reviews": True,
            "required_approving_review_count": 1,
            "require_last_push_approval": True,
        },
        "restrictions": None,
        "allow_force_pushes": False,
        "allow_deletions": False,
    }


def code_owners(project: CiProject) -> str:
    """Return the text of CODEOWNERS; empty if ``code_owners`` is not set."""
    names = " ".join(project.settings.code_owners)
    return "".join(f"{path} {names}\n" for path in OWNED) if names else ""


def run_command(command: SetupCommand, known: dict[str, str]) -> str:
    """Run a command unless its thing exists; return its output, and add that to the variables.

    Raises:
        BlocksError: The program is missing, or failed.
    """
    text = _printed(command.unless, "", known, must=False) if command.unless else ""
    if not text:
        text = _printed(command.words, command.body, known)
    if command.output:
        known[command.output] = text
    return text


def _printed(words: tuple[str, ...], body: str, known: Mapping[str, str], must: bool = True) -> str:
    filled = [_filled(word, known) for word in words]
    try:
        done = subprocess.run(
            filled, input=_filled(body, known), capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise BlocksError(
            "ci setup",
            words[0],
            f"{words[0]} is not installed",
            "",
            f"Install {words[0]}, or run the printed commands elsewhere",
        ) from error
    if done.returncode != 0 and must:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise BlocksError(
            "ci setup",
            " ".join(filled[:4]),
            f"the command failed: {lines[-1]}",
            "",
            "Follow the message, and run the command again: what exists stays as it is",
        )
    return done.stdout.strip() if done.returncode == 0 else ""


def _api(method: str, path: str) -> tuple[str, ...]:
    return ("gh", "api", "--method", method, path, "--input", "-")


def _filled(text: str, known: Mapping[str, str]) -> str:
    for name, value in known.items():
        text = text.replace(f"${name}", value)
    return text


def _line(words: tuple[str, ...]) -> str:
    return " ".join(f'"{word}"' if word.startswith("$") else shlex.quote(word) for word in words)
