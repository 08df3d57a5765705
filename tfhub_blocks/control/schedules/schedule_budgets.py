"""Checks of schedules against the budgets of their profiles, before anything is sent."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tfhub_blocks.control.costs.ceilings import Ceiling
from tfhub_blocks.control.costs.cost_budgets import (
    month_findings,
    month_of_balancers,
    refuse_above_budget,
)
from tfhub_blocks.control.costs.prices import load_prices
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_requests import prepare_job
from tfhub_blocks.control.project.schedule_files import (
    ScheduleDefinition,
    read_definition,
    schedule_files,
)
from tfhub_blocks.control.project.tags import REAP_STEP
from tfhub_blocks.control.schedules.reap_schedule import reap_cost
from tfhub_blocks.control.schedules.workspace_schedules import schedule_request
from tfhub_blocks.records.base.errors import BlocksError

_MONTH = timedelta(days=31)


def check_budgets(
    definitions: Iterable[ScheduleDefinition], reaping: Iterable[Profile] = ()
) -> None:
    """Check that schedules stay within the budgets of their profiles.

    The budget of a month covers all schedules of a profile that the project defines, because those
    that are not applied now may have been applied before, and the reaping of endpoints.

    Args:
        definitions: The schedules to apply.
        reaping: Profiles whose schedule for reaping is to be installed.

    Raises:
        BlocksError: One run, or all runs of a month, could cost more; or a definition is invalid.
    """
    applied = {d.name: d for d in definitions if d.profile.budget}
    profiles = {d.profile.name: d.profile for d in applied.values()}
    profiles |= {profile.name: profile for profile in reaping if profile.budget}
    scheduled: dict[str, list[tuple[str, Ceiling, int]]] = {}
    for definition in [*applied.values(), *_others(applied, profiles)]:
        name, profile, now = definition.name, definition.profile, datetime.now(UTC)
        request = schedule_request(definition)
        bare = replace(profile, inputs={}) if request.lock else profile
        _, graph, _ = prepare_job(request.pipeline, request.settings, bare)
        firings = sum(1 for _ in definition.trigger.times(now, now + _MONTH))
        if most := refuse_above_budget(graph, profile, firings):
            scheduled.setdefault(profile.name, []).append((name, most, firings))
    for name, profile in profiles.items():
        if profile.deployments.reap is not None:
            cost = reap_cost(profile)
            if cost.run is not None:
                scheduled.setdefault(name, []).append((REAP_STEP, cost.run, cost.runs))
    for name, of_profile in scheduled.items():
        balancers = month_of_balancers(profiles[name], load_prices())
        for finding in month_findings(of_profile, profiles[name], balancers):
            raise finding.error(profiles[name])


def _others(
    applied: Mapping[str, ScheduleDefinition], profiles: Mapping[str, Profile]
) -> Iterator[ScheduleDefinition]:
    """Yield the other schedules of these profiles; unreadable ones cannot have been applied."""
    for name in sorted(schedule_files().keys() - applied.keys()) if profiles else ():
        with suppress(BlocksError):
            definition = read_definition(name)
            if definition.profile.name in profiles:
                yield definition
