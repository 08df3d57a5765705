"""Submitted jobs run, from what was uploaded."""

from pathlib import Path

import pytest
from azure.ai.ml import Output
from azure.ai.ml.exceptions import JobException
from toy_project import wait_for


@pytest.fixture
def running(toys):
    """The toys, whose jobs run."""
    toys.plane.run_jobs()
    return toys


def submit(running, job):
    made = running.client.jobs.create_or_update(job)
    running.plane.executor.wait()
    return running.client.jobs.get(made.name)


def test_job_runs_from_what_was_uploaded(running, tmp_path):
    job = running.job(maybe=0.5)
    made = running.client.jobs.create_or_update(job)
    (running.folder / "join" / "step.py").write_text("an edit after the upload")
    running.plane.executor.wait()
    assert running.client.jobs.get(made.name).status == "Completed"
    running.client.jobs.download(made.name, output_name="joined", download_path=tmp_path / "got")
    [file] = (p for p in (tmp_path / "got" / "named-outputs").rglob("*") if p.is_file())
    assert file.read_text() == "hello a 1 0.5|hello b 3 None|"


def test_stream_shows_what_happens(running, capsys):
    made = running.client.jobs.create_or_update(running.job(text="slow"))
    running.client.jobs.stream(made.name)
    shown = capsys.readouterr().out
    assert "joined: Completed" in shown
    assert "Execution Summary" in shown


def test_everything_is_downloaded(running, tmp_path):
    made = submit(running, running.job())
    running.client.jobs.download(made.name, download_path=tmp_path / "got", all=True)
    names = {p.relative_to(tmp_path / "got").parts[:3] for p in (tmp_path / "got").rglob("*.txt")}
    assert ("named-outputs", "left", "made.txt") in names
    assert any(name[0] == "artifacts" for name in names)


def test_steps_are_children_with_logs(running):
    made = submit(running, running.job())
    children = list(running.client.jobs.list(parent_job_name=made.name))
    assert {child.display_name for child in children} == {"left", "right", "joined"}
    assert {child.status for child in children} == {"Completed"}
    [left] = [child for child in children if child.display_name == "left"]
    store = "azureml://datastores/workspaceartifactstore"
    log = running.folder / "log.txt"
    running.plane.storage.download(
        f"{store}/ExperimentRun/dcid.{left.name}/user_logs/std_log.txt", log
    )
    assert "making 1 of hello" in log.read_text()


def test_step_is_fetched_and_downloaded_by_its_name(running, tmp_path):
    made = submit(running, running.job())
    [left] = (
        child
        for child in running.client.jobs.list(parent_job_name=made.name)
        if child.display_name == "left"
    )
    found = running.client.jobs.get(left.name)
    assert (found.display_name, found.status) == ("left", "Completed")
    running.client.jobs.download(left.name, download_path=tmp_path / "got", all=True)
    [log] = (tmp_path / "got").rglob("std_log.txt")
    assert "making 1 of hello" in log.read_text()
    [made] = (tmp_path / "got" / "named-outputs").rglob("made.txt")
    assert made.read_text() == "hello a 1 None|"


def test_failed_step_fails_the_job_and_stream_says_so(running):
    made = submit(running, running.job(text="fail"))
    assert made.status == "Failed"
    with pytest.raises(JobException):
        running.client.jobs.stream(made.name)


def test_cancelled_job_ends_its_steps(running):
    made = running.client.jobs.create_or_update(running.job(text="endless"))
    wait_for(lambda: running.client.jobs.get(made.name).status == "Running")
    running.client.jobs.begin_cancel(made.name).result()
    running.plane.executor.wait()
    assert not any(thread.is_alive() for thread in running.plane.executor.threads)
    assert running.client.jobs.get(made.name).status == "Canceled"


def wait_for_status(running, job, step, *wanted):
    def is_so():
        runs = {run["displayName"]: run for run in running.plane.workspace.child_runs(job)}
        return step in runs and runs[step]["status"] in wanted

    wait_for(is_so)


# What listens ends at once: it would take longer than a test may, were the grace waited for.
@pytest.mark.parametrize(("text", "grace_s"), [("lost", 3600), ("deaf", 0.3)])
def test_step_on_a_lost_node_begins_again_by_itself(running, tmp_path, text, grace_s):
    made = running.client.jobs.create_or_update(running.job(text=text))
    wait_for_status(running, made.name, "left", "Running")
    node = running.plane.executor.node(made.name, "left")
    wait_for(lambda: "making 1" in node.log.read_text())
    node.preempt(grace_s)
    wait_for_status(running, made.name, "left", "Queued")
    assert running.client.jobs.get(made.name).status == "Running"
    wait_for_status(running, made.name, "left", "Running", "Completed")
    running.plane.executor.wait()
    assert running.client.jobs.get(made.name).status == "Completed"
    running.client.jobs.download(made.name, output_name="left", download_path=tmp_path / "got")
    [starts] = (tmp_path / "got").rglob("starts")
    assert len(set(starts.read_text().split())) == 2


def test_job_whose_node_was_lost_can_be_cancelled(running):
    made = running.client.jobs.create_or_update(running.job(text="endless"))
    wait_for_status(running, made.name, "left", "Running")
    running.plane.executor.node(made.name, "left").preempt(1)
    running.client.jobs.begin_cancel(made.name).result()
    running.plane.executor.wait()
    assert running.client.jobs.get(made.name).status == "Canceled"


def test_variables_of_a_step_reach_it(running, tmp_path):
    job = running.job()
    job.jobs["left"].environment_variables = {"NOTE": "from the job"}
    made = submit(running, job)
    running.client.jobs.download(made.name, output_name="left", download_path=tmp_path / "got")
    [note] = (tmp_path / "got").rglob("variable")
    assert note.read_text() == "from the job"


def test_steps_are_reused_across_jobs(running):
    submit(running, running.job())
    made = submit(running, running.job(count=4))
    runs = {run["displayName"]: run for run in running.plane.workspace.child_runs(made.name)}
    reused = {name: "azureml.isreused" in run["properties"] for name, run in runs.items()}
    assert reused == {"left": True, "right": False, "joined": False}


def test_named_output_is_registered(running):
    job = running.job()
    job.outputs.joined = Output(type="uri_file", name="words-joined", version="7")
    submit(running, job)
    found = running.client.data.get("words-joined", "7")
    file = Path(running.folder / "joined")
    running.plane.storage.download(found.path, file)
    assert file.read_text() == "hello a 1 None|hello b 3 None|"


def test_schedule_fires_a_job_that_runs(running):
    from test_schedules import weekly

    running.client.schedules.begin_create_or_update(weekly(running.job())).result()
    name = running.client.schedules.trigger("weekly").job_name
    running.plane.executor.wait()
    assert running.client.jobs.get(name).status == "Completed"
