"""A toy project with two profiles, guardrails and written workflows, in a repository."""

from release_project import STRICT, commit, git, write_release_project

EXPERIMENT = """format_version = 1
description = "Experiments"
engine = "azureml"
environment_policy = "record"
encoder_policy = "experiment"
[job]
owner = "team"
cost_centre = "toys"
components = "inline"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 600
[roles.gpu]
compute = "gpu-cluster"
timeout_s = 600
[clusters.cpu-cluster]
size = "Standard_DS3_v2"
max_nodes = 2
[clusters.gpu-cluster]
size = "Standard_NC4as_T4_v3"
max_nodes = 1
[budget]
currency = "USD"
run = 9.0
month = 100.0
[review]
approvers = ["ada"]
cost_rise = "approve"
[promotion]
workspace = "loopback"
"""
GPU = """[roles.gpu]
compute = "gpu-cluster"
timeout_s = 600
[clusters.gpu-cluster]
size = "Standard_NC4as_T4_v3"
max_nodes = 1
"""
PRICES = """format_version = 1
currency = "USD"
region = "westeurope"
stale_days = 3000
[regions.westeurope]
date = "2026-12-01"
source = "a test"
[regions.westeurope.sizes]
Standard_DS3_v2 = { dedicated = 0.25 }
Standard_NC4as_T4_v3 = { dedicated = 0.5 }
"""
SETTINGS = """format_version = 1
install = ["tfhub-blocks --version"]
[merge.judged]
source = "azureml:words:WORDS"
owner = "team"
[night.judged]
source = "azureml:words:WORDS"
owner = "team"
count = "2"
"""
PROFILE = "pipelines/profiles/experiment.toml"


def write_ci_project(project, words="1"):
    """Write the project with its workflow files, and commit it."""
    project.write(PROFILE, EXPERIMENT)
    project.write("pipelines/profiles/production.toml", f"{STRICT}{GPU}")
    project.write("pipelines/prices.toml", PRICES)
    project.write("pipelines/ci.toml", SETTINGS.replace("WORDS", words))
    write_release_project(project)
    assert project.main("ci", "write", "github").status == 0
    project.write(".gitignore", ".runs/\n__pycache__/\nconfig.json\nreview/\nrecords/\n")
    commit(project, "base")
    git(project, "branch", "-M", "main")
