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


def test_past_firings_are_listed_by_their_schedule(toys):
    toys.client.schedules.begin_create_or_update(weekly(toys.job())).result()
    by_hand = toys.client.jobs.create_or_update(toys.job()).name
    for day in (7, 21):
        toys.plane.workspace.fire("weekly", datetime(2030, 1, day, 3, tzinfo=UTC))
    fired = list(toys.client.jobs.list(scheduled_job_name="weekly"))
    assert {job.name for job in fired} == {"weekly-20300107T030000Z", "weekly-20300121T030000Z"}
    assert {job.creation_context.created_at.day for job in fired} == {7, 21}
    assert list(toys.client.jobs.list(scheduled_job_name="daily")) == []
    assert {job.name for job in toys.client.jobs.list(schedule_defined=False)} == {by_hand}


def test_firing_whose_job_cannot_be_made_any_more_leaves_no_job(toys):
    toys.client.schedules.begin_create_or_update(weekly(toys.job())).result()
    toys.client.compute.begin_delete("cpu-cluster").result()
    with pytest.raises(HttpResponseError, match="there is no /subscriptions"):
        toys.client.schedules.trigger("weekly")
    assert list(toys.client.jobs.list(scheduled_job_name="weekly")) == []


def test_cron_with_days_of_the_month_is_refused(toys):
    trigger = CronTrigger(expression="0 3 1 * *")
    schedule = JobSchedule(name="s", trigger=trigger, create_job=toys.job())
    with pytest.raises(HttpResponseError, match="ignores days of the month"):
        toys.client.schedules.begin_create_or_update(schedule).result()
