"""Pipelines are submitted, watched, fetched and compared: by the commands, against real jobs."""

import json
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from loopback import server
from loopback.requests import Fault
from toy_project import PATIENCE_S, wait_for

from tfhub_blocks.control.project.output_store import content_digest


@pytest.fixture
def toy(project):
    """The toy project in a workspace with everything that its pipeline needs; jobs run."""
    project.furnish()
    return project


@pytest.fixture
def idle_toy(project):
    """The same, but jobs only wait."""
    project.furnish(run=False)
    return project


def test_submitted_job_has_what_the_profile_says(idle_toy):
    assert idle_toy.submit().status == 0
    [job] = idle_toy.jobs()
    it = job["properties"]
    assert it["experimentName"] == "toy"
    assert it["tags"]["owner"] == "tester"
    assert it["tags"]["cost_centre"] == "toys"
    assert it["tags"]["tfhub_blocks.profile"] == "toy"
    assert it["settings"]["continue_on_step_failure"] is False
    for node in it["jobs"].values():
        assert node["limits"]["timeout"] == "PT1M"
        assert node["computeId"].endswith("/computes/cpu-cluster")
        assert node["environment_variables"] == {
            "TFHUB_BLOCKS_ENVIRONMENT_POLICY": "record",
            "TFHUB_BLOCKS_ENCODER_POLICY": "experiment",
        }
        assert "/components/" in node["componentId"]
        assert "anonymous" not in node["componentId"]


def test_serverless_steps_have_a_size_a_tier_and_an_identity(idle_toy):
    profile = idle_toy.read("pipelines/profiles/toy.toml")
    profile = profile.replace('compute = "cpu-cluster"', 'compute = "serverless"\nsize = "S_D2"')
    job = ['tier = "spot"', 'identity = "managed"', 'client_id = "0a1b2c3d-0000-4000-8000-0"']
    profile = profile.replace("[job]", "\n".join(["[job]", *job]))
    idle_toy.write("pipelines/profiles/toy.toml", profile)
    assert idle_toy.submit().status == 0
    [job] = idle_toy.jobs()
    for node in job["properties"]["jobs"].values():
        assert node["computeId"].endswith("/computes/serverless")
        assert node["resources"] == {"instance_count": 1, "instance_type": "S_D2"}
        assert node["queue_settings"] == {"job_tier": "Spot"}
        assert "managed" in str(node["identity"]).lower()


def test_submit_sends_no_more_than_it_needs(idle_toy, azure):
    for _ in range(2):
        azure.recorder.clear()
        idle_toy.submit()
        assert azure.recorder.uploaded_bytes == 0
        asked = [(r.method, r.path.split("/")[-4:][0]) for r in azure.recorder.requests]
        # One asks whether the workspace takes release locks alone; the last but one is the SDK's:
        # where Studio is.
        assert len(asked) == 7, asked
        assert [method for method, _ in asked] == ["GET"] * 6 + ["PUT"]


def test_code_that_is_not_published_travels_once(idle_toy, azure):
    join = idle_toy.read("components/join/component.py")
    idle_toy.write("components/join/component.py", join + "# an edit")
    outcome = idle_toy.submit()
    assert outcome.status == 2
    assert "[submit > component join:1.0.0-" in outcome.err
    assert "tfhub-blocks publish" in outcome.err
    profile = idle_toy.read("pipelines/profiles/toy.toml")
    inline = profile.replace("[job]", '[job]\ncomponents = "inline"')
    idle_toy.write("pipelines/profiles/toy.toml", inline)
    azure.recorder.clear()
    assert idle_toy.submit().status == 0
    assert azure.recorder.uploaded_bytes > 0
    azure.recorder.clear()
    assert idle_toy.submit().status == 0
    assert azure.recorder.uploaded_bytes == 0


def test_local_data_is_sent_once_and_kept_by_its_content(idle_toy, azure, tmp_path):
    idle_toy.write("more/word", "bye")
    words = ("submit", "toy", "--profile", "toy", "--set", "source=more")
    assert idle_toy.main(*words).status == 0
    assert azure.recorder.uploaded_bytes == len("bye")
    azure.recorder.clear()
    assert idle_toy.main(*words).status == 0
    assert azure.recorder.uploaded_bytes == 0


def test_wait_shows_the_steps_and_ends_with_the_job(toy, golden):
    outcome = toy.submit("--wait")
    assert outcome.status == 0
    steps = sorted(line for line in outcome.out.splitlines() if line.startswith(("left", "right")))
    assert len(steps) >= 2
    lines = toy.normal(outcome.out).splitlines(keepends=True)
    lines[2:4] = sorted(lines[2:4])  # which of the two ends first is chance
    golden("submit_wait", "".join(lines))


def test_failed_step_is_told_with_its_reason(toy, golden):
    make = toy.read("components/make/component.py")
    broken = make.replace("# EFFECT", 'raise BlocksError("make", "it", "bad", "good", "mend it")')
    broken = broken.replace(
        "from tfhub_blocks.records.base.folders",
        "from tfhub_blocks.records.base.errors import BlocksError\n"
        "from tfhub_blocks.records.base.folders",
    )
    toy.write("components/make/component.py", broken)
    toy.publish()
    outcome = toy.submit("--wait")
    assert outcome.status == 1
    assert "): [make > it] bad. Expected good. mend it" in outcome.out


def test_status_logs_and_download_speak_of_the_job(toy):
    job = toy.submitted()
    status = json.loads(toy.main("status", job, "--json").out)
    assert status["status"] == "Completed"
    assert {step["status"] for step in status["steps"].values()} == {"Completed"}
    assert "make: done in" in toy.main("logs", job, "left").out
    assert "Did you mean 'left'?" in toy.main("logs", job, "lefft").err
    outcome = toy.main("download", job)
    assert outcome.out == f".runs/downloads/{job}/joined\n"
    assert toy.read(outcome.out.strip()) == "hello a 1 True None|hello b 3 False None|"
    assert "Did you mean 'joined'?" in toy.main("download", job, "--output", "joind").err


def test_interrupted_download_leaves_nothing_that_looks_finished(toy, azure):
    job = toy.submitted()
    azure.recorder.inject(Fault.FORBIDDEN, at=10)
    outcome = toy.main("download", job)
    assert outcome.status == 2
    assert not (toy.folder / ".runs" / "downloads" / job / "joined").exists()
    assert toy.main("download", job).status == 0


def test_job_is_compared_with_a_run_on_this_machine(toy):
    job = toy.submitted()
    toy.main("run", "toy", "--set", "source=src")
    outcome = toy.main("compare", job, "latest")
    assert outcome.status == 0
    assert "same     output   joined" in outcome.out
    toy.main("run", "toy", "--set", "source=src", "--set", "count=4")
    outcome = toy.main("compare", job, "latest")
    assert "differs  output   joined" in outcome.out
    assert "differs  input    count" in outcome.out


def test_registered_output_carries_the_digest_of_its_content(toy, azure):
    job = toy.submitted("--register", "joined=words-joined")
    [asset] = azure.workspace.versions("data", "words-joined")
    toy.main("download", job)
    digest = content_digest(toy.folder / ".runs" / "downloads" / job / "joined")
    assert asset["properties"]["tags"]["tfhub_blocks.digest"] == digest
    assert asset["name"] == job.removeprefix("toy-")
    assert "Did you mean 'joined'?" in toy.submit("--register", "joind=x").err


def test_cancelled_job_ends(toy):
    make = toy.read("components/make/component.py")
    toy.write("components/make/component.py", make.replace("# EFFECT", "time.sleep(600)"))
    toy.publish()
    job = toy.submit().out.partition("\n")[0]
    wait_for(lambda: json.loads(toy.main("status", job, "--json").out)["status"] == "Running")
    assert toy.main("cancel", job).status == 0
    assert toy.main("status", job, "--wait").status == 130


def test_interrupt_ends_the_watching_and_not_the_job(toy):
    make, go = toy.read("components/make/component.py"), toy.folder / "go"
    waits = f"while not Path({str(go)!r}).exists():\n            time.sleep(0.02)"
    toy.write("components/make/component.py", make.replace("# EFFECT", waits))
    toy.publish()
    process = toy.start(
        *("submit", "toy", "--wait", "--profile", "toy", "--set", f"source={toy.words}")
    )
    assert process.stdout is not None
    job = process.stdout.readline().strip()
    for line in process.stdout:
        if "Running" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    go.touch()
    assert process.returncode == 130
    assert f"To cancel it, run: tfhub-blocks cancel {job}" in err
    assert toy.main("status", job, "--wait").status == 0


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_submission_of_which_nobody_knows_whether_it_arrived_is_taken_up(
    idle_toy, azure, quick_retries, every
):
    idle_toy.submit()
    indexes = azure.recorder.indexes(every)
    for fault in (Fault.LOST_ANSWER, Fault.FORBIDDEN):
        for index in indexes:
            before = len(idle_toy.jobs())
            azure.recorder.inject(fault, at=index)
            if idle_toy.submit(anew=False).status != 0:
                assert idle_toy.submit(anew=False).status == 0
            assert azure.recorder.faults == {}
            assert len(idle_toy.jobs()) == before + 1, (fault, index)


def test_killed_submission_is_taken_up(idle_toy, azure, monkeypatch):
    is_there, is_killed = threading.Event(), threading.Event()

    def held_up(_):
        is_there.set()
        is_killed.wait(PATIENCE_S)

    monkeypatch.setattr(server, "time", SimpleNamespace(time=time.time, sleep=held_up))
    azure.recorder.inject(Fault.SLOW, at=6)
    process = idle_toy.start(
        *("submit", "toy", "--profile", "toy", "--set", f"source={idle_toy.words}")
    )
    assert is_there.wait(PATIENCE_S)  # the job is there, its answer is not
    process.kill()
    process.wait()
    is_killed.set()
    assert idle_toy.submit().status == 0
    assert len(idle_toy.jobs()) == 1
    assert idle_toy.submit().status == 0
    assert len(idle_toy.jobs()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "source=azureml:words@latest"], "can mean another version later"),
        (["--set", "source=azureml:words"], "does not name a version"),
        (["--set", "source=azureml:wrods:1"], "has no azureml:wrods:1"),
        (["--set", "source=https://x.blob.core.windows.net/a?sig=SECRET"], "contains a credential"),
        (["--set", "count=10"], "at most 9"),
        (["--profile", "local"], "has engine local"),
        (["--profile", "production"], "job.owner"),
    ],
)
def test_wrong_request_is_told_and_makes_no_job(idle_toy, words, message):
    outcome = idle_toy.submit(*words)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert idle_toy.jobs() == []


def test_model_asset_is_looked_for_among_models(idle_toy, tmp_path, imported_encoder):
    idle_toy.main("publish", "make", "--encoder", str(imported_encoder))
    [model] = idle_toy.plane.workspace.versions("models")
    reference = "azureml:" + ":".join(model["id"].split("/")[-3::2])
    pipeline = idle_toy.read("pipelines/toy.py").replace('type="uri_folder"', 'type="custom_model"')
    idle_toy.write("pipelines/toy.py", pipeline)
    assert idle_toy.submit("--set", f"source={reference}").status == 0
    outcome = idle_toy.submit("--set", f"source={idle_toy.words}")
    assert f"has no {idle_toy.words}" in outcome.err


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("a = make(source=source)\n    return {'x': a.outputs.made, 'y': a.outputs.made}",
         "returns an output of a step twice, and Azure ML writes it under the last name only"),
        ("a = part(source=source)", "a of pipeline drawn is a pipeline itself"),
    ],
)  # fmt: skip
def test_pipeline_that_azure_ml_would_not_run_so_is_refused(body, problem, project):
    project.furnish(run=False)
    folder = "source: Input(type='uri_folder')"
    project.write(
        "pipelines/drawn.py",
        "from azure.ai.ml import Input, dsl\nfrom tfhub_blocks.components import make\n"
        f"@dsl.pipeline\ndef part({folder}):\n    make(source=source)\n"
        f"@dsl.pipeline\ndef drawn({folder}):\n    {body}\n",
    )
    done = project.main("submit", "drawn", "--profile", "toy", "--set", f"source={project.words}")
    assert done.status == 2
    assert problem in done.err
    assert project.jobs() == []
