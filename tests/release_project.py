"""A toy project in a git repository, whose pipeline ends in evidence, for release locks."""

import subprocess
from pathlib import Path

from toy_project import JOIN, MAKE, TOY

from tfhub_blocks.records.environment.installed_packages import (
    definition_version,
    installed_packages,
)

JUDGE = '''"""judge: measures what was made."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.formats.evidence import Evidence, Threshold
from tfhub_blocks.records.base.lineage import read_lineage


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def judge(
    made: Input(type="uri_folder", description="What is judged"),
    evidence: Output(type="uri_file", description="What was found"),
    at_least: Input(type="number", min=0.0, description="A bound") = 0.5,
):
    """Doc."""
    with step(judge, locals()) as run:
        digest = read_lineage(Path(made)).digest
        thresholds = (Threshold("accuracy", at_least, 0.75, at_least <= 0.75),)
        metrics = {"accuracy": {"value": 0.75, "low": 0.7, "high": 0.8}}
        Evidence(digest, {}, metrics, thresholds).write(Path(evidence))
'''
JUDGED = '''"""judged: makes something and judges it."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import judge, make


@dsl.pipeline(name="judged")
def judged(
    source: Input(type="uri_folder", description="A folder"),
    owner: Input(type="string", description="Who answers for it"),
    count: Input(type="integer", min=1, max=9, description="How many") = 3,
    rate: Input(type="number", min=0.0, max=1.0, description="A bound") = 0.5,
    maybe: Input(type="number", optional=True, description="Or nothing") = None,
):
    first = make(source=source, count=count, flag=True, maybe=maybe)
    verdict = judge(made=first.outputs.made, at_least=rate)
    return {"made": first.outputs.made, "evidence": verdict.outputs.evidence}
'''
# Takes locks alone.
STRICT = """
format_version = 1
description = "x"
engine = "azureml"
environment_policy = "refuse"
encoder_policy = "production"
takes = "locks"
[job]
owner = "tester"
cost_centre = "toys"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 60
[clusters.cpu-cluster]
size = "Standard_DS3_v2"
max_nodes = 2
[rules]
cost-budget = "off" # prices get old
"""


def write_release_project(project, own_lock=False):
    """Let a toy project define the environment of its steps, and be a repository.

    ``own_lock``: the environment is what is installed here, so that steps may refuse any other.
    """
    environment = "components/environments/toy"
    lines = ""
    if own_lock:
        installed = {k: v for k, v in installed_packages().items() if k not in ("pip", "wheel")}
        lines = "".join(
            f"{name}=={version} --hash=sha256:{'0' * 64}\n" for name, version in installed.items()
        )
    project.write(f"{environment}/Dockerfile", "FROM example.org/base:1@sha256:" + "1" * 64 + "\n")
    project.write(f"{environment}/requirements.in", "")
    python = ".".join(map(str, __import__("sys").version_info[:2]))
    project.write(f"{environment}/requirements.lock", f"# python: {python}\n{lines}")
    project.write(f"{environment}/environment.yaml", "name: toy\nowner: us\npurpose: a toy\n")
    pin(project)
    project.write("pipelines/toy.py", TOY)
    project.write("pipelines/judged.py", JUDGED)
    project.write("src/word", "hello")
    project.write(".gitignore", ".runs/\n__pycache__/\nconfig.json\n")
    git(project, "init", "-q", "-b", "main")
    commit(project)


def pin(project):
    """Write the toy's steps, pinned to the environment as it is."""
    version = definition_version(project.folder / "components/environments/toy")
    for name, text in (("make", MAKE), ("join", JOIN), ("judge", JUDGE)):
        project.write(
            f"components/{name}/component.py", text.replace("azureml:x:1", f"azureml:toy:{version}")
        )


def git(project, *words):
    who = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    done = subprocess.run(
        ["git", *who, *words], cwd=project.folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(project, message="a state"):
    git(project, "add", "--all")
    git(project, "commit", "-q", "-m", message)
    return git(project, "rev-parse", "HEAD")


def edit(project, name, old, new):
    text = project.read(name)
    assert old in text
    project.write(name, text.replace(old, new))


def lock_file(name="first"):
    return Path("pipelines/releases") / f"{name}.lock.toml"
