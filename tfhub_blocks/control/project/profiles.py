"""Profiles: where a pipeline runs and under which limits, separate from the pipeline itself."""

# decisions 10 and 70

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from string import Template
from typing import Literal, get_args

from tfhub_blocks.control.project.guardrails import Guardrails
from tfhub_blocks.control.project.rollout_limits import RolloutLimits
from tfhub_blocks.control.project.rule_exceptions import RuleException, Severity, faults
from tfhub_blocks.control.repository.catalog import installed_folder
from tfhub_blocks.control.repository.people import login_name
from tfhub_blocks.records.base.documents import read_document
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.project_folders import project_folder, taken_path
from tfhub_blocks.records.base.redaction import secret_paths
from tfhub_blocks.records.environment import environment_drift
from tfhub_blocks.records.environment.environment_drift import Policy
from tfhub_blocks.records.pins import encoder_decisions
from tfhub_blocks.records.pins.encoder_decisions import EncoderPolicy

FORMAT_VERSION = 1
_PREFIX = re.compile(r"(?:[a-z][a-z0-9_]{0,29})?")
_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


SERVERLESS = "serverless"
# The role of steps that operate on the workspace, whose compute has an identity of its own.
OPERATIONS = "operations"
Loading = Literal["mounted", "baked", "downloaded"]
LOADINGS: tuple[Loading, ...] = get_args(Loading)


@dataclass(frozen=True)
class Role:
    """The machines for the steps of one role, and the time limit of a step.

    ``compute`` is the name of a cluster, or ``serverless``; then ``size`` is the machine size.
    ``instance_count`` is the number of nodes for a step that can share its work.
    """

    compute: str
    timeout_s: int
    size: str | None = None
    instance_count: int = 1


@dataclass(frozen=True)
class Cluster:
    """A cluster that ``compute apply`` creates, whose nodes exist only while a step runs.

    ``size`` is Azure's machine name, such as ``Standard_NC4as_T4_v3``. Azure releases a node that
    has been idle for ``idle_s`` seconds.
    """

    size: str
    max_nodes: int
    min_nodes: int = 0
    idle_s: int = 120
    low_priority: bool = False
    location: str | None = None
    identity: Literal["system", "none"] = "system"


@dataclass(frozen=True)
class JobSettings:
    """Settings that every job on Azure ML carries.

    ``tier`` is the tier of a serverless queue. With ``components = "inline"`` a step whose code is
    not published may travel with the job; otherwise the step must be published first.
    ``client_id`` is the managed identity of steps on serverless compute, which has none of its own.
    The names
    of everything that the team creates in the workspace begin with ``name_prefix``.
    """

    owner: str
    cost_centre: str
    experiment: str | None = None
    tier: Literal["spot", "basic", "standard"] | None = None
    identity: Literal["managed", "user"] | None = None
    components: Literal["inline", "published"] = "published"
    client_id: str | None = field(default=None, repr=False)
    name_prefix: str = field(default="", repr=False)


@dataclass(frozen=True)
class SpendingBudget:
    """Spending limits: for one ``run``, and for everything scheduled in a ``month``.

    A step on nodes that Azure may reclaim is counted as restarted ``restarts`` times.
    ``endpoints`` limits the total cost of all online endpoints until their end dates.
    """

    currency: str
    run: float | None = None
    month: float | None = None
    restarts: int = 1
    endpoints: float | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Deployments:
    """The longest lifetime of an endpoint, in days from its deployment, and who ends it.

    ``reap`` is the time at which Azure ML deletes endpoints past their end date, as five fields of
    cron in UTC. The step runs on the compute of role ``operations``, as that compute's identity.
    ``rollout`` limits what a new deployment must keep to take over the traffic.
    """

    longest_days: int = 30
    reap: str | None = None
    rollout: RolloutLimits = field(default=RolloutLimits())


@dataclass(frozen=True)
class Publishing:
    """The names and the metadata of published steps.

    ``prefix`` is put before each step's name, so that several projects share a workspace or a
    registry. ``docs`` is a link to the documentation of the project's own steps, and ``licence``
    their licence, as an SPDX identifier; steps of tfhub-blocks have their own.
    """

    prefix: str = ""
    docs: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Promotions:
    """The target of promotions with a profile, and the number of people that they require.

    Models are promoted to the ``registry``, or without one to the configured workspace. If
    ``workspace`` is set, the configured workspace must have that name.
    """

    two_persons: bool = True
    registry: str | None = None
    workspace: str | None = None


@dataclass(frozen=True)
class Profile:
    """A profile, read and checked.

    ``environment_policy`` decides about steps that run in another environment than the pinned one.
    Without a value the environment variable of that policy decides, and without that ``warn``.
    ``encoder_policy`` decides if an encoder without decisions or without a version may be tried;
    without a value, such an encoder is refused.
    ``environments`` maps an environment to the environment in which its steps run instead, both by
    name: one that extends the first, with an encoder baked in.
    ``budget`` stops requests that may cost more before anything is sent.
    ``deployments`` limits the lifetime of endpoints.
    ``takes`` states which requests may be submitted: any pipeline, or only release ``locks``.
    ``inputs`` sets the inputs of these names in each pipeline that has them, in the syntax of
    ``--set``. In inputs and in job settings ``$NAME`` is replaced by an environment variable.

    ``rules`` sets the severity of each rule of ``check``, ``exceptions`` lists tolerated findings,
    ``encoder_loading`` lists the permitted loading decisions, and ``promotion`` is the target of
    ``promote``. ``publish`` sets the names and the metadata of published steps, and ``review`` the
    guardrails of ``review``. These six do not change the run itself.
    """

    description: str
    engine: Literal["local", "azureml"]
    roles: Mapping[str, Role]
    job: JobSettings | None = None
    budget: SpendingBudget | None = None
    takes: Literal["pipelines", "locks"] = "pipelines"
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    max_parallel_steps: int = 2
    environment_policy: Policy | None = None
    encoder_policy: EncoderPolicy | None = None
    environments: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    encoder_loading: tuple[Loading, ...] = field(default=LOADINGS, repr=False)
    rules: Mapping[str, Severity] = field(default_factory=dict, repr=False)
    exceptions: tuple[RuleException, ...] = field(default=(), repr=False)
    promotion: Promotions = field(default=Promotions(), repr=False)
    deployments: Deployments = field(default=Deployments(), repr=False)
    publish: Publishing = field(default=Publishing(), repr=False)
    review: Guardrails = field(default=Guardrails(), repr=False)
    name: str = ""
    path: Path = field(default=Path(), repr=False)

    @property
    def is_for_trials(self) -> bool:
        """True if the profile is for trials, where requirements of production do not apply yet."""
        return self.encoder_policy == "experiment"

    @property
    def policies(self) -> dict[str, str]:
        """The profile's policies, as environment variables of steps."""
        policies = {
            environment_drift.POLICY_VARIABLE: self.environment_policy,
            encoder_decisions.POLICY_VARIABLE: self.encoder_policy,
        }
        return {name: policy for name, policy in policies.items() if policy}

    def refuse_unlocked(self, where: str, what: str) -> None:
        """Check that the profile accepts a request that is not a release lock.

        Raises:
            BlocksError: The profile accepts only release locks.
        """
        if self.takes == "locks":
            raise BlocksError(
                where,
                what,
                f"profile {self.name} accepts only a release lock from a clean commit",
                "the NAME of a lock in pipelines/releases/",
                "Write a lock with `tfhub-blocks lock PIPELINE --from-run RUN --name NAME`,"
                " commit it, and run `tfhub-blocks submit NAME`",
            )


def profile_folders() -> list[Path]:
    """Return the folders of profiles in search order: the working folder's, then the installed."""
    return [
        project_folder() / "pipelines" / "profiles",
        installed_folder("pipelines") / "profiles",
    ]


def load_profile(name: str) -> Profile:
    """Read a profile by name or by path, for a request that needs an owner.

    Raises:
        BlocksError: No profile has that name, the file has an invalid key or value, or the
            profile's jobs would have no owner.
    """
    profile = read_profile(name)
    for key, problem, expected in job_faults(profile):
        remedy = f"Edit {key} in {profile.path}"
        raise BlocksError("profile", f"{profile.path} > {key}", problem, expected, remedy)
    return profile


def profile_files() -> dict[str, Path]:
    """Return each profile's file by name; one in the working folder hides an installed one."""
    folders = reversed(profile_folders())
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def read_profile(name: str) -> Profile:
    """Read a profile for inspection, even if its jobs would have no owner.

    Raises:
        BlocksError: No profile has that name, or the file has an invalid key or value.
    """
    found = profile_files()
    path = taken_path(Path(name)) if name.endswith(".toml") else found.get(name)
    if path is None or not path.is_file():
        raise BlocksError(
            "profile",
            name,
            f"profile {name!r} does not exist",
            "one of " + ", ".join(sorted(found)),
            nearest(name, found) or "Pass one of these names, or a path that ends in .toml",
        )
    profile = read_document(path, Profile, FORMAT_VERSION)
    refuse_secrets("profile", path)
    for key, problem, expected in _faults(profile):
        remedy = f"Edit {key} in {path}"
        raise BlocksError("profile", f"{path} > {key}", problem, expected, remedy)
    # An input whose variable is not set is left out, so that the pipeline's default applies.
    inputs = {key: _filled(text) for key, text in profile.inputs.items()}
    inputs = {key: text for key, text in inputs.items() if text and not _VARIABLE.search(text)}
    job = profile.job and replace(
        profile.job, owner=_filled(profile.job.owner), cost_centre=_filled(profile.job.cost_centre)
    )
    return replace(profile, name=path.stem, path=path, inputs=inputs, job=job)


def refuse_secrets(where: str, path: Path) -> None:
    """Check that no text in a TOML file contains a credential.

    Raises:
        BlocksError: A text contains one. The message names its key, and not its value.
    """
    record = tomllib.loads(path.read_text(encoding="utf-8"))
    for key in secret_paths(record):
        raise BlocksError(
            where,
            f"{path} > {key}",
            f"{key} contains a credential, and the file is shared",
            "a value without a password, a key or a signature",
            f"Take the credential out of {key}; pass it in an environment variable or a Key Vault,"
            " or pass the data as an asset",
        )


def _faults(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and expectation of each value that its type alone does not exclude."""
    if profile.max_parallel_steps < 1:
        value = profile.max_parallel_steps
        yield "max_parallel_steps", f"max_parallel_steps is {value}", "at least 1"
    for name, role in profile.roles.items():
        if role.timeout_s < 1:
            yield f"roles.{name}.timeout_s", f"timeout_s is {role.timeout_s}", "at least 1"
        cluster = profile.clusters.get(role.compute)
        count_problem = f"instance_count is {role.instance_count}"
        if role.instance_count < 1:
            yield f"roles.{name}.instance_count", count_problem, "at least 1"
        elif cluster and role.instance_count > cluster.max_nodes:
            expected = f"at most {cluster.max_nodes}, the max_nodes of cluster {role.compute}"
            yield f"roles.{name}.instance_count", count_problem, expected
        if profile.engine == "azureml" and (role.compute == SERVERLESS) != (role.size is not None):
            if role.size is None:
                problem, expected = f"compute is {SERVERLESS} without a size", "a machine size"
            else:
                problem = f"size is {role.size}, but cluster {role.compute} has its own size"
                expected = "a size only with serverless compute"
            yield f"roles.{name}.size", problem, expected
    yield from _budget_faults(profile.budget) if profile.budget else ()
    if profile.budget and profile.engine == "local":
        problem = 'table [budget] is set, but the engine is "local", where runs cost nothing'
        yield "budget", problem, "no such table"
    if profile.promotion.registry and profile.promotion.workspace:
        problem = "table [promotion] sets both registry and workspace"
        yield "promotion", problem, "at most one of registry and workspace"
    if not _PREFIX.fullmatch(profile.publish.prefix):
        problem = f"prefix is {profile.publish.prefix!r}"
        yield (
            "publish.prefix",
            problem,
            "at most 30 small letters, digits and '_', beginning with a letter",
        )
    docs = profile.publish.docs
    if docs and not docs.startswith("https://"):
        yield "publish.docs", f"docs is {docs!r}", "an https address"
    if profile.deployments.longest_days < 1:
        longest = profile.deployments.longest_days
        yield "deployments.longest_days", f"longest_days is {longest}", "at least 1"
    yield from profile.deployments.rollout.faults()
    yield from profile.review.faults()
    if profile.takes == "locks":
        yield from _lock_faults(profile)
    yield from faults(profile.rules, profile.exceptions)


def job_faults(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and expectation of each setting that the jobs lack to have an owner."""
    if profile.engine == "local":
        return
    if profile.job is None:
        yield "job", "table [job] is missing", "a table [job] with owner and cost_centre"
        return
    for key, text, expected in (
        ("owner", profile.job.owner, "the user or team that is responsible for the jobs"),
        ("cost_centre", profile.job.cost_centre, "the cost centre that pays for the jobs"),
    ):
        if _VARIABLE.search(_filled(text)):
            yield f"job.{key}", f"{key} is {text!r}, and that variable is not set", expected
        elif not _filled(text).strip():
            yield f"job.{key}", f"{key} is empty", expected


def _lock_faults(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """Yield each setting that would admit into a release something that no lock can record."""
    for key, found, wanted in (
        ("engine", profile.engine, "azureml"),
        ("environment_policy", profile.environment_policy, "refuse"),
        (
            "encoder_policy",
            profile.encoder_policy or encoder_decisions.DEFAULT_POLICY,
            "production",
        ),
        ("job.components", profile.job.components if profile.job else "published", "published"),
    ):
        if found != wanted:
            problem = f'{key.rpartition(".")[2]} is "{found}"'
            yield key, problem, f'"{wanted}", because the profile sets takes = "locks"'


def _budget_faults(budget: SpendingBudget) -> Iterator[tuple[str, str, str]]:
    if budget.run is None and budget.month is None:
        yield "budget", "table [budget] sets neither run nor month", "run, month or both"
    amounts = {"run": budget.run, "month": budget.month, "endpoints": budget.endpoints}
    for key, amount in amounts.items():
        # Every comparison with nan is false, so a budget of nan would permit any amount.
        if amount is not None and not (isfinite(amount) and amount > 0):
            yield f"budget.{key}", f"{key} is {amount}", "more than 0"
    if budget.run is not None and budget.month is not None and budget.run > budget.month:
        yield "budget.run", f"run is {budget.run}", f"at most {budget.month}, the budget.month"
    if not re.fullmatch("[A-Z]{3}", budget.currency):
        problem = f"currency is {budget.currency!r}"
        yield "budget.currency", problem, "three capital letters, such as USD"
    if budget.restarts < 0:
        yield "budget.restarts", f"restarts is {budget.restarts}", "at least 0"


def _filled(text: str) -> str:
    """Return a text with its environment variables replaced."""
    variables = {"USER": login_name()} | os.environ  # cron and containers do not set USER
    return Template(text).safe_substitute(variables)
