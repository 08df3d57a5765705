import subprocess
import sys
from datetime import UTC, datetime

import pytest
from azure.ai.ml.entities import CronTrigger, JobSchedule, RecurrencePattern, RecurrenceTrigger
from azure.core.exceptions import HttpResponseError
from loopback.contract import ROOT

NODES = {"imported", "snapshot", "features", "head", "evaluation", "registration"}


def test_component_is_registered_with_its_code(furnished):
    from components import snapshot_data

    made = furnished.client.components.create_or_update(snapshot_data)
    code = furnished.plane.workspace.find_by_id(made.code.removeprefix("azureml:"))
    names = furnished.plane.storage.names(code["properties"]["codeUri"])
    assert any(name.endswith("/component.py") for name in names)
    assert any(name.endswith("/tfhub_blocks/compute/snapshots.py") for name in names)
    found = furnished.client.components.get("snapshot_data", made.version)
    assert found.inputs["source"]["type"] == "uri_folder"


def test_version_of_a_component_never_changes(furnished):
    from azure.ai.ml import load_component

    path = furnished.folder / "toy.yaml"
    for value in ("one", "two"):
        path.write_text(
            "name: toy\nversion: 1\ntype: command\ncommand: echo " + value + "\n"
            "environment: azureml:tfhub-blocks-cpu@latest\n"
        )
        toy = load_component(path)
        if value == "one":
            furnished.client.components.create_or_update(toy)
            furnished.client.components.create_or_update(toy)
            continue
        with pytest.raises(HttpResponseError, match="immutable"):
            furnished.client.components.create_or_update(toy)


def test_pipeline_is_submitted_found_and_cancelled(furnished):
    jobs = furnished.client.jobs
    made = jobs.create_or_update(furnished.job())
    assert made.status == "NotStarted"
    assert made.studio_url
    assert set(jobs.get(made.name).jobs) == NODES
    assert [job.name for job in jobs.list()] == [made.name]
    jobs.begin_cancel(made.name).result()
    assert jobs.get(made.name).status == "Canceled"


def test_second_submit_uploads_nothing(furnished):
    furnished.client.jobs.create_or_update(furnished.job())
    furnished.plane.recorder.clear()
    furnished.plane.client().jobs.create_or_update(furnished.job())
    assert furnished.plane.recorder.uploaded_bytes == 0
    assert not [r for r in furnished.plane.recorder.requests if r.is_storage]


def test_submit_from_another_process_uploads_no_code(furnished):
    furnished.client.jobs.create_or_update(furnished.job())
    furnished.plane.recorder.clear()
    program = (
        "from azure.ai.ml import MLClient, Input\n"
        "from azure.identity import DefaultAzureCredential\n"
        "from pipelines.transfer_learning import transfer_learning\n"
        "data = Input(type='uri_folder', path='azureml:images:1')\n"
        "job = transfer_learning(source=data, encoder=data, owner='me')\n"
        "job.settings.default_compute = 'cpu-cluster'\n"
        "client = MLClient.from_config(DefaultAzureCredential(), path='config.json')\n"
        "client.jobs.create_or_update(job)\n"
    )
    furnished.plane.write_config(furnished.folder)
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=furnished.folder,
        env=furnished.plane.environment() | {"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert furnished.plane.recorder.uploaded_bytes == 0
    assert len(furnished.plane.workspace.versions("jobs")) == 2


def weekly(job, **settings):
    trigger = RecurrenceTrigger(
        frequency="week",
        interval=1,
        schedule=RecurrencePattern(hours=[3], minutes=[0], week_days=["monday"]),
        time_zone="W. Europe Standard Time",
    )
    return JobSchedule(name="weekly", trigger=trigger, create_job=job, **settings)


def test_schedule_is_made_fired_disabled_and_deleted(furnished):
    schedules = furnished.client.schedules
    made = schedules.begin_create_or_update(weekly(furnished.job())).result()
    assert made.is_enabled
    job = schedules.trigger("weekly").job_name
    assert furnished.client.jobs.get(job).display_name == "Transfer learning"
    with pytest.raises(HttpResponseError, match="disable"):
        schedules.begin_delete("weekly").result()
    schedules.begin_disable("weekly").result()
    assert not schedules.get("weekly").is_enabled
    schedules.begin_delete("weekly").result()
    assert list(schedules.list()) == []


def test_fired_job_is_named_for_its_time_and_gets_it(furnished):
    job = furnished.job(split_salt="${{creation_context.trigger_time}}")
    furnished.client.schedules.begin_create_or_update(weekly(job)).result()
    name = furnished.plane.workspace.fire("weekly", datetime(2030, 1, 7, 3, tzinfo=UTC))
    assert name == "weekly-20300107T030000Z"
    given = furnished.plane.workspace.get(f"jobs/{name}")["properties"]["inputs"]
    assert given["split_salt"]["value"] == "2030-01-07T03:00:00+00:00"


def test_cron_with_days_of_the_month_is_refused(furnished):
    trigger = CronTrigger(expression="0 3 1 * *")
    schedule = JobSchedule(name="s", trigger=trigger, create_job=furnished.job())
    with pytest.raises(HttpResponseError, match="ignores days of the month"):
        furnished.client.schedules.begin_create_or_update(schedule).result()
