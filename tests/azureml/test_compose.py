"""What people write themselves: in a notebook, with published components, in a registry."""

import contextlib
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from loopback import cluster
from loopback.contract import ROOT
from toy_project import PATIENCE_S, wait_for

from tfhub_blocks.control.jobs import submitted_jobs

NOTEBOOK = """
from azure.ai.ml import Input, MLClient, dsl
from azure.identity import DefaultAzureCredential
from tfhub_blocks.components import make

client = MLClient.from_config(DefaultAzureCredential())
join = client.components.get("join", "{join}")


@dsl.pipeline(default_compute="cpu-cluster")
def mine(source: Input(type="uri_folder")):
    left = make(source=source)
    right = make(source=source, text="b")
    joined = join(left=left.outputs.made, right=right.outputs.made)
    return {{"joined": joined.outputs.joined}}


job = client.jobs.create_or_update(mine(source=Input(type="uri_folder", path="{words}")))
print(job.name)
"""


def version(project, name):
    [found] = project.plane.workspace.versions("components", name)
    return found["name"]


def test_own_pipeline_mixes_published_steps_with_ours(project, azure):
    project.furnish()
    program = NOTEBOOK.format(join=version(project, "join"), words=project.words)
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", **azure.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    azure.executor.wait()
    name = ran.stdout.strip()
    assert azure.workspace.get(f"jobs/{name}")["properties"]["status"] == "Completed"
    assert project.main("status", name).status == 0


def test_registry_is_published_to_once_and_jobs_take_steps_from_it(project, azure):
    azure.add_registry("blocks")
    outcome = project.publish("--registry", "blocks")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("registry blocks\n")
    again = project.publish("--registry", "blocks")
    assert again.out.count("already exists") == 4
    client = azure.registry_client("blocks")
    [make] = [c for c in client.components.list() if c.name == "make"]
    found = client.components.get("make", make.latest_version)
    assert "/registries/blocks/environments/toy/" in found.environment


def started(executor, job):
    """The node of the step ``left``, if its process runs."""
    with contextlib.suppress(KeyError, FileNotFoundError):
        node = executor.node(job, "left")
        return node if "User Logs" in node.log.read_text() else None


@pytest.fixture
def queued_until_seen(monkeypatch):
    """A step whose node was lost stays in the queue until somebody has seen it there."""
    seen, record = threading.Event(), submitted_jobs.Job._record

    def noted(job, runs):
        found = record(job, runs)
        if found.steps["left"].status == "Queued":
            seen.set()
        return found

    def sleep(seconds):
        seen.wait(PATIENCE_S) if seconds == cluster.QUEUE_S else time.sleep(seconds)

    monkeypatch.setattr(submitted_jobs.Job, "_record", noted)
    monkeypatch.setattr(cluster, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))


def test_step_whose_node_is_taken_away_starts_again_and_the_watching_goes_on(
    project, azure, queued_until_seen
):
    make, go = project.read("components/make/component.py"), project.folder / "go"
    waits = f"while not Path({str(go)!r}).exists():\n            time.sleep(0.02)"
    project.write("components/make/component.py", make.replace("# EFFECT", waits))
    project.furnish()
    name = project.submit().out.partition("\n")[0]
    node = wait_for(lambda: started(azure.executor, name))

    def take():
        node.preempt(1)
        go.touch()

    taken = threading.Thread(target=take)
    taken.start()
    outcome = project.main("status", name, "--wait")
    taken.join()
    assert outcome.status == 0, outcome.out
    states = [line.split()[1] for line in outcome.out.splitlines() if line.startswith("left ")]
    assert states[-1] == "Completed"
    assert "Queued" in states
