"""Schedules of a repository, applied, fired, listed and deleted."""

import copy
import json
from datetime import UTC, datetime, timedelta

import pytest
from loopback.requests import Fault

WEEKLY = """
format_version = 1
pipeline = "toy"
profile = "toy"
time_zone = "Europe/Berlin"
{trigger}
[inputs]
source = "{words}"
"""
CRON = 'cron = "0 3 * * 1"'
RECURRENCE = """
[recurrence]
frequency = "week"
week_days = ["monday", "friday"]
hours = [3]
minutes = [30]
"""


@pytest.fixture
def toy(project):
    """The toy project, in a workspace with all that it needs, and a schedule."""
    project.furnish(run=False)
    write(project, CRON)
    return project


def write(project, trigger, name="weekly"):
    text = WEEKLY.format(trigger=trigger, words=project.words)
    if trigger.strip().startswith("["):  # a table comes last
        head, _, inputs = WEEKLY.format(trigger="", words=project.words).partition("[inputs]")
        text = f"{head}[inputs]{inputs}{trigger}"
    project.write(f"pipelines/schedules/{name}.toml", text)


@pytest.mark.parametrize("trigger", [CRON, RECURRENCE])
def test_schedule_is_made_once_and_shows_what_it_froze(toy, azure, trigger):
    write(toy, trigger)
    outcome = toy.main("schedule", "apply")
    assert outcome.status == 0, outcome.err
    first, *frozen = outcome.out.splitlines()
    assert first == "weekly: created"
    assert f"  data {toy.words.removeprefix('azureml:')}" in frozen
    assert [line.partition(":")[0].strip() for line in frozen if "component" in line] == [
        "component join",
        "component make",
    ]
    azure.recorder.clear()
    again = toy.main("schedule", "apply")
    assert again.out == outcome.out.replace("created", "up to date")
    assert {r.method for r in azure.recorder.requests} == {"GET"}
    made = azure.workspace.get("schedules/weekly")["properties"]
    assert made["trigger"]["timeZone"] == "W. Europe Standard Time"
    assert made["action"]["jobDefinition"]["tags"]["owner"] == "tester"


def test_edit_changes_the_schedule_and_a_new_version_of_a_step_too(toy, azure):
    toy.main("schedule", "apply")
    write(toy, CRON.replace("3", "4"))
    assert toy.main("schedule", "apply").out.startswith("weekly: changed")
    expression = azure.workspace.get("schedules/weekly")["properties"]["trigger"]["expression"]
    assert expression == "0 4 * * 1"
    profile = toy.read("pipelines/profiles/toy.toml")
    toy.write("pipelines/profiles/toy.toml", profile.replace("timeout_s = 60", "timeout_s = 90"))
    assert toy.main("schedule", "apply").out.startswith("weekly: changed")
    join = toy.read("components/join/component.py")
    toy.write("components/join/component.py", join + "# an edit")
    toy.publish()
    before = frozen(azure)
    assert toy.main("schedule", "apply").out.startswith("weekly: changed")
    assert frozen(azure) != before


def test_frozen_model_is_told_as_a_model(toy, azure, imported_encoder):
    toy.main("publish", "make", "--encoder", str(imported_encoder))
    [model] = azure.workspace.versions("models")
    name, version = model["id"].split("/")[-3::2]
    pipeline = toy.read("pipelines/toy.py").replace('type="uri_folder"', 'type="custom_model"')
    toy.write("pipelines/toy.py", pipeline)
    text = toy.read("pipelines/schedules/weekly.toml")
    toy.write(
        "pipelines/schedules/weekly.toml", text.replace(toy.words, f"azureml:{name}:{version}")
    )
    outcome = toy.main("schedule", "apply")
    assert f"  model {name}:{version}\n" in outcome.out, outcome.err


def test_schedule_of_withdrawn_data_is_listed_and_not_applied(toy, azure):
    assert toy.main("schedule", "apply").status == 0
    words = ("lineage", "--forward", toy.words, "--workspace")
    before = toy.main(*words, anew=False).out
    assert toy.main("withdraw", toy.words, "--reason", "Old", anew=False).status == 0
    assert toy.main(*words, anew=False).out == before
    assert "schedules in pipelines/schedules: weekly\n" in before
    assert "schedules in workspace loopback: weekly\n" in before
    outcome = toy.main("schedule", "apply")
    assert outcome.status == 2
    assert "withdrawn on" in outcome.err


def frozen(azure):
    job = azure.workspace.get("schedules/weekly")["properties"]["action"]["jobDefinition"]
    return {node["componentId"] for node in job["jobs"].values()}


def test_fired_job_runs_with_the_time_of_its_firing(toy, azure):
    toy_pipeline = toy.read("pipelines/toy.py").replace(
        '    text: Input(type="string"',
        '    trigger_time: Input(type="string", optional=True, description="When") = None,\n'
        '    text: Input(type="string"',
        1,
    )
    toy.write("pipelines/toy.py", toy_pipeline)
    toy.main("schedule", "apply")
    azure.run_jobs()
    when = datetime(2030, 1, 7, 2, tzinfo=UTC)
    name = azure.workspace.fire("weekly", when)
    azure.executor.wait()
    job = azure.workspace.get(f"jobs/{name}")["properties"]
    assert job["status"] == "Completed"
    assert job["inputs"]["trigger_time"]["value"] == when.isoformat()


def test_list_tells_of_missed_and_failed_firings(toy, azure):
    write(toy, 'cron = "0 * * * *"')
    toy.main("schedule", "apply")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    made = azure.workspace.get("schedules/weekly")["systemData"]
    made["createdAt"] = made["lastModifiedAt"] = (now - timedelta(hours=3)).isoformat()
    name = azure.workspace.fire("weekly", now - timedelta(hours=2))
    azure.workspace.get(f"jobs/{name}")["properties"]["status"] = "Failed"
    [found] = json.loads(toy.main("schedule", "list", "--json").out)
    states = {firing["time"]: firing["status"] for firing in found["firings"]}
    assert states[str(now - timedelta(hours=2))] == "Failed"
    assert states[str(now - timedelta(hours=1))] == "Missed"
    shown = toy.main("schedule", "list").out
    assert shown.startswith("weekly: fires\n")
    assert f"  {now - timedelta(hours=2):%Y-%m-%d %H:%M}Z  Failed       {name}\n" in shown
    assert f"  {now - timedelta(hours=1):%Y-%m-%d %H:%M}Z  Missed\n" in shown


def test_pause_resume_trigger_and_delete(toy, azure):
    toy.main("schedule", "apply")
    assert toy.main("schedule", "pause", "weekly").out == "weekly: paused\n"
    assert toy.main("schedule", "list").out.startswith("weekly: paused\n")
    assert toy.main("schedule", "resume", "weekly").out == "weekly: fires\n"
    name = toy.main("schedule", "trigger", "weekly").out.strip()
    assert azure.workspace.get(f"jobs/{name}")
    assert toy.main("schedule", "delete", "weekly").out == "weekly: deleted\n"
    assert azure.workspace.versions("schedules") == []
    assert toy.main("schedule", "delete", "weekly").out == "weekly: no such schedule\n"


@pytest.mark.parametrize(
    ("fault", "every"),
    [
        (Fault.LOST_ANSWER, False),
        *(pytest.param(fault, True, marks=pytest.mark.slow) for fault in Fault),
    ],
)
def test_any_request_may_fail_and_there_is_one_schedule_and_one_job(
    toy, azure, quick_retries, fault, every
):
    def repeated(*words):
        """Run a command as often as it has requests, each time with another one failing."""
        before = copy.deepcopy(azure.workspace.resources)
        azure.recorder.clear()
        assert toy.main(*words, anew=False).status == 0
        for index in azure.recorder.indexes(every):
            azure.workspace.resources = copy.deepcopy(before)
            azure.recorder.clear()
            azure.recorder.inject(fault, at=index)
            if toy.main(*words, anew=False).status != 0:
                assert toy.main(*words, anew=False).status == 0
            assert azure.recorder.faults == {}
            yield index

    for index in repeated("schedule", "apply"):
        assert len(azure.workspace.versions("schedules")) == 1, index
    toy.main("schedule", "apply")
    for index in repeated("schedule", "trigger", "weekly"):
        assert len(azure.workspace.versions("jobs")) == 1, index
    for index in repeated("schedule", "delete", "weekly"):
        assert azure.workspace.versions("schedules") == [], index


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ('cron = "0 3 1 * *"', "Azure ML ignores the day of the month and the month"),
        ('cron = "0 25 * * *"', "'25' in cron is not a valid hour. Expected 0 to 23"),
        ('cron = "0 3"', "has 2 fields"),
        (f"{CRON}\n{RECURRENCE}", "sets both cron and"),
        ("", "sets neither cron nor"),
        (RECURRENCE.replace("monday", "mondy"), "Did you mean 'monday'?"),
        (RECURRENCE.replace("[3]", "[24]"), "recurrence.hours] hours contains 24"),
        (RECURRENCE.replace('"week"', '"month"'), "recurrence.month_days] month_days is missing"),
    ],
)
def test_trigger_that_means_nothing_is_told_before_anything_is_sent(
    project, azure, trigger, message
):
    write(project, trigger if "[" not in trigger else RECURRENCE)
    if "cron" in trigger and "[" in trigger:
        text = project.read("pipelines/schedules/weekly.toml").replace(
            "time_zone", f"{CRON}\ntime_zone"
        )
        project.write("pipelines/schedules/weekly.toml", text)
    elif "[" in trigger:
        write(project, trigger)
    outcome = project.main("schedule", "apply")
    assert outcome.status == 2
    assert message in outcome.err
    assert azure.recorder.requests == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Europe/Berlin", "Europe/Berln", "Did you mean 'Europe/Berlin'?"),
        ("azureml:words", "src-or-azureml:words", "is not a version of a data asset"),
        ('"toy"\nprofile', '"tyo"\nprofile', "Did you mean 'toy'?"),
        ("time_zone", "timezone", "'time_zone'"),
    ],
)
def test_wrong_file_is_told(project, old, new, message):
    write(project, CRON)
    text = project.read("pipelines/schedules/weekly.toml")
    assert old in text
    project.write("pipelines/schedules/weekly.toml", text.replace(old, new, 1))
    outcome = project.main("schedule", "apply")
    assert outcome.status == 2
    assert message in outcome.err


@pytest.mark.parametrize("change", ["pause", "resume", "trigger"])
def test_schedule_that_is_not_there_is_told(toy, change):
    outcome = toy.main("schedule", change, "weekly")
    assert outcome.status == 2
    assert "has no schedule" in outcome.err
    assert "Did you mean 'weekly'?" in toy.main("schedule", "apply", "wekly").err
