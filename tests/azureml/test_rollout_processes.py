"""A rollout between real processes: each runs the program of its deployment on its model."""

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import mlflow
import numpy as np
import pytest
from deployment_process import DeploymentProcess
from measured_models import RUNTIME, day, state
from PIL import Image
from test_rollouts import LIMITS
from toy_project import ROOT

from tfhub_blocks.records.formats.models import PYFUNC
from tfhub_blocks.records.formats.runtimes import Speeds

pytestmark = pytest.mark.slow
# The edit of the model that a version is: none, or one that changes its answers.
EDITS = {
    "1": None,
    "2": ("mean[0] / 255", "mean[0] / 255.0"),
    "3": ("1 - bright, bright", "bright, 1 - bright"),
}


@pytest.fixture
def runs(brightness_model, tmp_path):
    """A registry with three versions of a small model: two that agree, and another one."""
    folder = tmp_path / "runs"
    folder.mkdir()
    client = mlflow.MlflowClient(*[f"sqlite:///{folder}/mlflow.db"] * 2)
    client.create_registered_model("light")
    for version, edit in EDITS.items():
        model = folder / f"light{version}"
        shutil.copytree(brightness_model, model)
        if edit:
            [code] = model.rglob("code.py")
            assert edit[0] in code.read_text()
            code.write_text(code.read_text().replace(*edit))
        budget = Speeds(p99_ms=2000.0, items_per_s=1.0, cold_start_s=60.0)
        replace(RUNTIME, engine="own", budget=budget).write(model)
        tags = {"model_digest": state(model, PYFUNC), "latency_digest": "1" * 64}
        named = {f"tfhub_blocks.{key}": value for key, value in tags.items()}
        client.create_model_version("light", str(model), tags=named)
    return folder


def picture(level):
    data = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def test_processes_take_over_go_back_and_survive_a_kill(served, azure, project, runs, tmp_path):
    profile = project.read("pipelines/profiles/toy.toml")
    # All three deployments count in the ceiling.
    profile = profile.replace("endpoints = 60.0", "endpoints = 200.0")
    project.write("pipelines/profiles/toy.toml", profile + LIMITS.replace("= 4", "= 8"))
    lines = [json.dumps({"inputs": [picture(10 + 25 * n)]}) for n in range(9)]
    lines.append(json.dumps({"inputs": ["aGVsbG8="]}))  # both refuse it
    (tmp_path / "requests").write_text("\n".join(lines))
    common = ("--name", "shared", "--runs-dir", str(runs), "--trust-code")
    processes = azure.workspace.surroundings.serving

    def deploy(version, *words):
        outcome = served(f"light:{version}", *common, *words)
        for it in azure.workspace.deployments("onlineEndpoints", "shared"):
            if it["name"] not in processes:
                folder = tmp_path / it["name"]
                processes[it["name"]] = DeploymentProcess(azure, "shared", it["name"], folder)
        return outcome

    def roll(version):
        return deploy(version, "--requests", str(tmp_path / "requests"))

    def shares():
        [endpoint] = azure.workspace.endpoints("onlineEndpoints")
        return endpoint["properties"]["traffic"]

    try:
        assert deploy("1").status == 0
        [first] = processes
        assert deploy("2").status == 0
        [second] = set(processes) - {first}
        assert shares() == {first: 100}
        # A real kill of the command while a step is in progress: its wait never ends.
        text = project.read("pipelines/profiles/toy.toml")
        project.write("pipelines/profiles/toy.toml", text.replace("step_s = 0", "step_s = 600"))
        words = ("--profile", "toy", "--until", day(3), "--requests", str(tmp_path / "requests"))
        command = [sys.executable, "-m", "tfhub_blocks.cli", "deploy", "online", "light:2"]
        killed = subprocess.Popen(
            [*command, *common, *words],
            cwd=project.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        while f"traffic: {second} 50 % mirrored" not in (line := killed.stdout.readline()):
            assert line
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert shares() == {first: 100}
        project.write("pipelines/profiles/toy.toml", text)
        outcome = roll("2")
        assert outcome.status == 0, outcome.err
        assert "10 requests, 0 errors (0 before), 100.0% agreement" in outcome.out
        assert shares() == {second: 100}
        # A model that answers otherwise goes back, and so does one whose process dies.
        assert deploy("3").status == 0
        assert len(processes) == 3
        outcome = roll("3")
        assert outcome.status == 2
        assert "0.0% of the predictions agree" in outcome.err
        assert shares() == {second: 100}
        processes[first].kill()
        outcome = roll("1")
        assert outcome.status == 2
        assert "10 of 10 requests failed (100.0%)" in outcome.err
        assert shares() == {second: 100}
    finally:
        for process in processes.values():
            process.kill()
