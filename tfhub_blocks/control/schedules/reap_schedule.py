"""The schedule that lets Azure ML itself delete endpoints past their end date."""

# decision 88

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.ai.ml import dsl

from tfhub_blocks.control.costs.ceilings import Ceiling
from tfhub_blocks.control.costs.cost_budgets import refuse_above_budget
from tfhub_blocks.control.environments.environment_bakes import move_steps
from tfhub_blocks.control.jobs.submission import Prepared, SubmissionRequest, prepare_made
from tfhub_blocks.control.project.assets import load_components
from tfhub_blocks.control.project.job_furnishing import PIPELINE_TAG
from tfhub_blocks.control.project.job_reading import read_graph
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.step_graph import Graph
from tfhub_blocks.control.project.tags import REAP_STEP
from tfhub_blocks.control.project.triggers import Trigger, make_trigger
from tfhub_blocks.control.schedules.workspace_schedules import bring
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

WHERE = "deploy reap"
_NAME = "tfhub-blocks-reap"
_MONTH = timedelta(days=31)


@dataclass(frozen=True)
class ReapCost:
    """The highest possible cost of the schedule: of one run, and of its runs in 31 days."""

    run: Ceiling | None
    runs: int

    @property
    def month(self) -> float | None:
        """The highest possible cost in 31 days; None without a budget or a price."""
        most = self.run.total if self.run else None
        return None if most is None else most * self.runs


def schedule_name(profile: Profile) -> str:
    """Return the name of the schedule in the workspace."""
    return f"{profile.job.name_prefix if profile.job else ''}{_NAME}"


def reap_trigger(profile: Profile) -> Trigger:
    """Return the times at which a profile wants endpoints to be reaped, in UTC.

    Raises:
        BlocksError: The profile sets no time, or an invalid one.
    """
    cron = profile.deployments.reap
    if cron is None:
        raise BlocksError(
            "profile",
            f"{profile.name} > deployments.reap",
            f"profile {profile.name} sets no time at which Azure ML deletes endpoints past their"
            " end date",
            "five fields of cron, in UTC",
            f'Set reap = "17 2 * * *" in [deployments] of {profile.path}',
        )
    return make_trigger(str(profile.path), "UTC", cron, None)


def reap_cost(profile: Profile) -> ReapCost:
    """Return the highest possible cost of reaping, which must stay within the budget of a run.

    Raises:
        BlocksError: The profile lacks the time, the role or a price, or the budget is too small.
    """
    now = datetime.now(UTC)
    runs = sum(1 for _ in reap_trigger(profile).times(now, now + _MONTH))
    return ReapCost(refuse_above_budget(_built(profile)[1], profile, runs), runs)


def install(connection: Connection, profile: Profile) -> str:
    """Create or update the schedule: "created", "changed" or "up to date".

    The job has the managed identity of its compute. It is no release, because it makes no model:
    a profile that accepts only release locks takes its code from the commit, as ``publish`` does.

    Raises:
        BlocksError: The profile lacks the role or the time, the step is not published, the schedule
            belongs to another owner, or Azure refused a request.
    """
    trigger, prepared = reap_trigger(profile), _prepare(connection, profile)
    text = "Delete endpoints that tfhub-blocks deployed and that are past their end date."
    return bring(connection, schedule_name(profile), prepared, trigger, profile, text)[0]


def is_installed(connection: Connection) -> bool:
    """Return True if a schedule of any owner reaps the workspace's endpoints.

    Raises:
        BlocksError: Azure did not answer.
    """
    with told(WHERE, "schedules"):
        found = list(connection.client.schedules.list())
    return any(it.is_enabled and (it.tags or {}).get(PIPELINE_TAG) == REAP_STEP for it in found)


def _prepare(connection: Connection, profile: Profile) -> Prepared:
    if profile.job is None:
        raise BlocksError(
            "profile",
            profile.name,
            f"profile {profile.name} has engine {profile.engine}",
            'a profile with engine = "azureml", owner and cost_centre',
            "Pass such a profile with --profile",
        )
    job, graph = _built(profile)
    # An operating step acts as an identity that only its compute has, never as a user.
    operating = replace(profile, job=replace(profile.job, identity="managed"))
    return prepare_made(
        connection, SubmissionRequest(REAP_STEP, (), {}, reuse=False), operating, job, graph, {}
    )


def _built(profile: Profile) -> tuple[Any, Graph]:
    [component] = load_components([REAP_STEP])

    @dsl.pipeline(name=REAP_STEP, description=component.description)  # type: ignore[untyped-decorator]
    def reap_pipeline() -> Any:
        reaped = component()
        return {"report": reaped.outputs.report}

    job = reap_pipeline()
    if profile.environments:
        move_steps(job, profile.environments)
    return job, read_graph(job, REAP_STEP, {})
