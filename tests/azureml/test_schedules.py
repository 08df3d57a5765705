from datetime import UTC, datetime

import pytest
from azure.ai.ml.entities import CronTrigger, JobSchedule, RecurrencePattern, RecurrenceTrigger
from azure.core.exceptions import HttpResponseError


def weekly(job, **settings):
    trigger = RecurrenceTrigger(
        frequency="week",
        interval=1,
        schedule=RecurrencePattern(hours=[3], minutes=[0], week_days=["monday"]),
        time_zone="W. Europe Standard Time",
    )
    return JobSchedule(name="weekly", trigger=trigger, create_job=job, **settings)


def test_schedule_is_made_fired_disabled_and_deleted(toys):
    schedules = toys.client.schedules
    made = schedules.begin_create_or_update(weekly(toys.job())).result()
    assert made.is_enabled
    job = schedules.trigger("weekly").job_name
    assert toys.client.jobs.get(job).display_name == "toy"
    with pytest.raises(HttpResponseError, match="disable"):
        schedules.begin_delete("weekly").result()
    schedules.begin_disable("weekly").result()
    assert not schedules.get("weekly").is_enabled
    schedules.begin_delete("weekly").result()
    assert list(schedules.list()) == []


def test_fired_job_is_named_for_its_time_and_gets_it(toys):
    job = toys.job(note="${{creation_context.trigger_time}}")
    toys.client.schedules.begin_create_or_update(weekly(job)).result()
    name = toys.plane.workspace.fire("weekly", datetime(2030, 1, 7, 3, tzinfo=UTC))
    assert name == "weekly-20300107T030000Z"
    given = toys.plane.workspace.get(f"jobs/{name}")["properties"]["inputs"]
    assert given["note"]["value"] == "2030-01-07T03:00:00+00:00"


def test_cron_with_days_of_the_month_is_refused(toys):
    trigger = CronTrigger(expression="0 3 1 * *")
    schedule = JobSchedule(name="s", trigger=trigger, create_job=toys.job())
    with pytest.raises(HttpResponseError, match="ignores days of the month"):
        toys.client.schedules.begin_create_or_update(schedule).result()
