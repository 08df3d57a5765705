"""All Dockerfiles: each rule is met, and a Dockerfile that breaks it alone is found."""

import re
import subprocess
from pathlib import Path

import pytest

from tfhub_blocks.control.environments.dockerfile_checks import dockerfile_findings
from tfhub_blocks.records.environment.environment_definitions import (
    EnvironmentDefinition,
    read_definition,
)

ROOT = Path(__file__).parents[1]
LISTED = subprocess.run(
    ["git", "ls-files", "*Dockerfile*"], cwd=ROOT, capture_output=True, text=True, check=True
)
FILES = [ROOT / line for line in LISTED.stdout.split()]
PIP = "pip install --no-cache-dir --no-deps --require-hashes -r /opt/step/requirements.lock"
# What breaks a rule, and what the finding is about.
SPOILED = {
    "no other channels": (" --override-channels", "", "conda"),
    "no channel": (" -c conda-forge", "", "conda"),
    "default channel": ("-c conda-forge", "-c conda-forge -c defaults", "conda"),
    "second command": ("&& conda clean", "&& conda install -p /opt/step pip=25.3", "conda"),
    "python of a minor version": (r"python=3\.11\.\d+", "python=3.11", "python=3.11"),
    "any pip": (r"pip=[\d.]+", "pip", "pip"),
    "pip of a range": (r"pip=[\d.]+", "'pip>=25'", "pip>=25"),
    "no hashes": (" --require-hashes", "", "pip"),
    "dependencies": (" --no-deps", "", "pip"),
    "one package more": (r"-r /opt/step/requirements\.lock", r"\g<0> alpha", "pip"),
    "package beside the lock": (PIP, f"{PIP} && python -m pip install alpha==1.0", "pip"),
    "another file": (r"-r /opt/step/requirements\.lock", "-r /tmp/other.txt", "pip"),
    "base with CUDA": ("openmpi4.1.0-ubuntu", "openmpi5.0-cuda12.4-ubuntu", "FROM"),
    "no driver": (r"ENV NVIDIA\S+ \S+\n", "", "NVIDIA_DRIVER_CAPABILITIES"),
    "driver without compute": ("=compute,utility", "=utility", "NVIDIA_DRIVER_CAPABILITIES"),
}


def test_there_are_dockerfiles():
    assert {"cpu", "gpu", "serving"} <= {file.parent.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_each_dockerfile_meets_each_rule(file):
    definition = read_definition(file.parent)
    assert [str(finding) for finding in dockerfile_findings(definition)] == []
    # The rules look at commands: these are there.
    assert re.search(
        r"^RUN conda create .*python=\d+\.\d+\.\d+ ", definition.text("Dockerfile"), re.M
    )
    assert PIP in definition.text("Dockerfile")


@pytest.mark.parametrize("name", SPOILED)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_broken_rule_is_found_alone(file, name):
    old, new, about = SPOILED[name]
    definition = read_definition(file.parent)
    text = re.sub(old, new, definition.text("Dockerfile"))
    if text == definition.text("Dockerfile"):
        assert file.parent.name != "gpu"
        assert about == "NVIDIA_DRIVER_CAPABILITIES"
        return
    files = {**definition.files, "Dockerfile": text.encode()}
    spoiled = EnvironmentDefinition(definition.key, definition.where, files)
    assert [finding.what for finding in dockerfile_findings(spoiled)] == [about]
