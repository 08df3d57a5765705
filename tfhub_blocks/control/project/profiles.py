"""Profiles: where a pipeline runs and under which limits, apart from what it does."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from string import Template
from typing import Literal, get_args

from tfhub_blocks.control.project.rule_exceptions import RuleException, Severity, faults
from tfhub_blocks.control.repository.catalog import installed_folder
from tfhub_blocks.control.repository.people import login_name
from tfhub_blocks.records.base.documents import read_document
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.environment import environment_drift
from tfhub_blocks.records.environment.environment_drift import Policy
from tfhub_blocks.records.pins import encoder_decisions
from tfhub_blocks.records.pins.encoder_decisions import EncoderPolicy

FORMAT_VERSION = 1
_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


SERVERLESS = "serverless"
Loading = Literal["mounted", "baked", "downloaded"]
LOADINGS: tuple[Loading, ...] = get_args(Loading)


@dataclass(frozen=True)
class Role:
    """What the steps of one role run on, and how long one may take.

    ``compute`` is the name of a cluster, or ``serverless``, and then ``size`` is the size of its
    machines. ``instance_count`` is on how many of them a step runs that can share its work.
    """

    compute: str
    timeout_s: int
    size: str | None = None
    instance_count: int = 1


@dataclass(frozen=True)
class Cluster:
    """A cluster that ``compute apply`` makes: nodes that exist only while a step runs.

    ``size`` is Azure's name of a machine, such as ``Standard_NC4as_T4_v3``; ``idle_s`` is how long
    a node without work is kept.
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
    """What each job on Azure ML carries.

    ``tier`` is a serverless queue's. ``components`` says whether a step whose code is not
    published may travel with the job (``inline``), or has to be published first. With
    ``name_prefix`` begin the names of all that the team has in the workspace.
    """

    owner: str
    cost_centre: str
    experiment: str | None = None
    tier: Literal["spot", "basic", "standard"] | None = None
    identity: Literal["managed", "user"] | None = None
    components: Literal["inline", "published"] = "published"
    name_prefix: str = field(default="", repr=False)


@dataclass(frozen=True)
class SpendingBudget:
    """What may be spent: by one ``run``, and by what is scheduled in a ``month``.

    A step whose nodes may be taken away is counted as begun again ``restarts`` times.
    ``endpoints`` is what all online endpoints may cost together until their ends.
    """

    currency: str
    run: float | None = None
    month: float | None = None
    restarts: int = 1
    endpoints: float | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Deployments:
    """How long an endpoint may live, from the day on which it is deployed."""

    longest_days: int = 30


@dataclass(frozen=True)
class Promotions:
    """Where models are promoted to with a profile, and whether that takes two persons.

    To the ``registry``, or else to the workspace that is configured, whose name has to be
    ``workspace`` if that is given.
    """

    two_persons: bool = True
    registry: str | None = None
    workspace: str | None = None


@dataclass(frozen=True)
class Profile:
    """A profile, read and checked.

    ``environment_policy`` says what steps do that run in another environment than they are pinned
    to; where it is not given, the environment variable of that policy counts, and then ``warn``.
    ``encoder_policy`` says whether an encoder may be tried that is undecided or named without a
    version; where it is not given it may not.
    ``environments`` names for an environment the one in which steps that are pinned to it run
    instead, both by name alone: one that continues it, with an encoder baked in.
    ``budget`` stops what may cost more before anything is sent.
    ``deployments`` bounds what endpoints may be.
    ``takes`` says what is submitted with it: any pipeline, or release ``locks`` and nothing else.
    ``inputs`` goes to each pipeline that has an input of that name, as words like those of
    ``--set``. In them, and in what a job carries, ``$NAME`` is taken from the environment.

    ``rules`` says how bad what a rule of ``check`` finds is, ``exceptions`` what is put up with,
    ``encoder_loading`` which decisions on loading are, and ``promotion`` where ``promote`` puts
    models; they are no part of what is run.
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
    name: str = ""
    path: Path = field(default=Path(), repr=False)

    @property
    def is_for_trials(self) -> bool:
        """Whether it is there to try things, where not everything has to be in order yet."""
        return self.encoder_policy == "experiment"

    @property
    def policies(self) -> dict[str, str]:
        """What it says of policies, as environment variables of steps."""
        said = {
            environment_drift.POLICY_VARIABLE: self.environment_policy,
            encoder_decisions.POLICY_VARIABLE: self.encoder_policy,
        }
        return {name: policy for name, policy in said.items() if policy}

    def refuse_unlocked(self, where: str, what: str) -> None:
        """See that what is no release lock may be submitted with it.

        Raises:
            BlocksError: It takes locks and nothing else.
        """
        if self.takes == "locks":
            raise BlocksError(
                where,
                what,
                f"profile {self.name} takes a release lock from a clean commit and nothing else",
                "tfhub-blocks submit NAME, of a lock in pipelines/releases/",
                "write one and commit it: tfhub-blocks lock PIPELINE --from-run RUN --name NAME",
            )


def profile_folders() -> list[Path]:
    """Where profiles are looked for, in order: the working folder's, then the installed ones."""
    return [
        Path.cwd() / "pipelines" / "profiles",
        installed_folder("pipelines") / "profiles",
    ]


def load_profile(name: str) -> Profile:
    """A profile by name, or by the path of its file.

    Raises:
        BlocksError: There is none of that name, it holds something that is not understood, or its
            jobs would have no owner.
    """
    profile = read_profile(name)
    for key, problem, expected in job_faults(profile):
        raise BlocksError("profile", f"{profile.path} > {key}", problem, expected, "correct it")
    return profile


def profile_files() -> dict[str, Path]:
    """Each profile's file by name; one in the working folder hides an installed one."""
    folders = reversed(profile_folders())
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def read_profile(name: str) -> Profile:
    """As ``load_profile``, whether or not its jobs would have an owner: to look at, not to submit.

    Raises:
        BlocksError: There is none of that name, or it holds something that is not understood.
    """
    found = profile_files()
    path = Path(name) if name.endswith(".toml") else found.get(name)
    if path is None or not path.is_file():
        raise BlocksError(
            "profile",
            name,
            "there is no such profile",
            "one of " + ", ".join(sorted(found)),
            nearest(name, found) or "name one of these, or a path that ends in .toml",
        )
    profile = read_document(path, Profile, FORMAT_VERSION)
    for key, problem, expected in _faults(profile):
        raise BlocksError("profile", f"{path} > {key}", problem, expected, "correct it")
    # An input whose variable is not set is not given, so that the pipeline's default counts.
    inputs = {key: _filled(text) for key, text in profile.inputs.items()}
    inputs = {key: text for key, text in inputs.items() if text and not _VARIABLE.search(text)}
    job = profile.job and replace(
        profile.job, owner=_filled(profile.job.owner), cost_centre=_filled(profile.job.cost_centre)
    )
    return replace(profile, name=path.stem, path=path, inputs=inputs, job=job)


def _faults(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """Key, problem and expectation of each value that its type alone does not rule out."""
    if profile.max_parallel_steps < 1:
        yield "max_parallel_steps", f"it is {profile.max_parallel_steps}", "at least 1"
    for name, role in profile.roles.items():
        if role.timeout_s < 1:
            yield f"roles.{name}.timeout_s", f"it is {role.timeout_s}", "at least 1"
        cluster = profile.clusters.get(role.compute)
        if role.instance_count < 1:
            yield f"roles.{name}.instance_count", f"it is {role.instance_count}", "at least 1"
        elif cluster and role.instance_count > cluster.max_nodes:
            expected = f"at most max_nodes of {role.compute}, {cluster.max_nodes}"
            yield f"roles.{name}.instance_count", f"it is {role.instance_count}", expected
        if profile.engine == "azureml" and (role.compute == SERVERLESS) != (role.size is not None):
            yield f"roles.{name}.size", f"it is {role.size}", "a size for serverless compute alone"
    yield from _budget_faults(profile.budget) if profile.budget else ()
    if profile.budget and profile.engine == "local":
        yield "budget", 'the engine is "local", where nothing is paid for', "no such table"
    if profile.promotion.registry and profile.promotion.workspace:
        yield "promotion", "it says both registry and workspace", "one of them, or neither"
    if profile.deployments.longest_days < 1:
        longest = profile.deployments.longest_days
        yield "deployments.longest_days", f"it is {longest}", "at least 1"
    if profile.takes == "locks":
        yield from _lock_faults(profile)
    yield from faults(profile.rules, profile.exceptions)


def job_faults(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """Key, problem and expectation of what its jobs lack to have an owner."""
    if profile.engine == "local":
        return
    if profile.job is None:
        yield "job", "this table is missing", "owner and cost_centre of what it submits"
        return
    for key, text in (("owner", profile.job.owner), ("cost_centre", profile.job.cost_centre)):
        if not _filled(text).strip() or _VARIABLE.search(_filled(text)):
            yield f"job.{key}", f"it is {text!r}, of which nothing comes", "who answers, who pays"


def _lock_faults(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """What would let into a release what no lock can hold."""
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
            yield key, f"it is {found}", f'"{wanted}", since it takes = "locks"'


def _budget_faults(budget: SpendingBudget) -> Iterator[tuple[str, str, str]]:
    if budget.run is None and budget.month is None:
        yield "budget", "it says neither run nor month", "run, month or both"
    amounts = {"run": budget.run, "month": budget.month, "endpoints": budget.endpoints}
    for key, amount in amounts.items():
        # No comparison holds for nan, so it would let everything pass.
        if amount is not None and not (isfinite(amount) and amount > 0):
            yield f"budget.{key}", f"it is {amount}", "more than 0"
    if budget.run is not None and budget.month is not None and budget.run > budget.month:
        yield "budget.run", f"it is {budget.run}", f"at most budget.month, {budget.month}"
    if not re.fullmatch("[A-Z]{3}", budget.currency):
        yield "budget.currency", f"it is {budget.currency!r}", "three capital letters, such as USD"
    if budget.restarts < 0:
        yield "budget.restarts", f"it is {budget.restarts}", "at least 0"


def _filled(text: str) -> str:
    """A text with the environment's variables in it."""
    variables = {"USER": login_name()} | os.environ  # cron and containers do not set USER
    return Template(text).safe_substitute(variables)
