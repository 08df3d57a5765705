"""What people write themselves: in a notebook, with published components, in a registry."""

import contextlib
import subprocess
import sys
import threading
import time

from loopback import cluster
from loopback.contract import ROOT

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
    """The node of the step ``left``, once its process runs."""
    while True:
        with contextlib.suppress(KeyError, FileNotFoundError):
            node = executor.node(job, "left")
            if "User Logs" in node.log.read_text():
                return node
        time.sleep(0.1)


def test_step_whose_node_is_taken_away_starts_again_and_the_watching_goes_on(
    project, azure, monkeypatch
):
    monkeypatch.setattr(cluster, "QUEUE_S", 3)
    make = project.read("components/make/component.py")
    project.write("components/make/component.py", make.replace("# EFFECT", "time.sleep(5)"))
    project.furnish()
    name = project.submit().out.partition("\n")[0]
    node = started(azure.executor, name)
    taken = threading.Thread(target=node.preempt, args=(1,))
    taken.start()
    outcome = project.main("status", name, "--wait")
    taken.join()
    assert outcome.status == 0, outcome.out
    states = [line.split()[1] for line in outcome.out.splitlines() if line.startswith("left ")]
    assert states[-1] == "Completed"
    assert "Queued" in states
