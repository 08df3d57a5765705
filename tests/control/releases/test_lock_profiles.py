"""Which profiles take release locks alone."""

import re

import pytest
from release_project import STRICT, commit, write_release_project

from tfhub_blocks.control.project.profiles import load_profile


def test_shipped_production_profile_takes_locks_alone(project, monkeypatch, golden):
    monkeypatch.setenv("BLOCKS_OWNER", "us")
    monkeypatch.setenv("BLOCKS_COST_CENTRE", "ours")
    assert load_profile("production").takes == "locks"
    assert load_profile("experiment").takes == "pipelines"
    outcome = project.main("submit", "toy", "--set", "source=src", "--profile", "production")
    assert outcome.status == 2
    golden("production_takes_locks", outcome.err)


def test_release_is_submitted_with_a_committed_profile_alone(project, tmp_path, golden):
    write_release_project(project)
    words = ("--set", "source=src", "--set", "owner=us", "--name", "first")
    assert project.main("lock", "judged", *words).status == 0
    commit(project)
    project.write("../strict.toml", STRICT)
    outcome = project.main("submit", "first", "--profile", "../strict.toml")
    assert outcome.status == 2
    (project.folder / "pipelines/profiles").mkdir()
    (project.folder / "pipelines/profiles/strict.toml").symlink_to("../../../strict.toml")
    commit(project)
    linked = project.main("submit", "first", "--profile", "strict")
    assert linked.status == 2
    golden("production_profile", _without_commit(project.normal(outcome.err + linked.err)))


def _without_commit(text):
    return re.sub(r"commit [0-9a-f]{12}", "commit DIGEST", text)


@pytest.mark.parametrize("command", ["run", "submit"])
def test_profile_of_this_machine_cannot_take_locks(project, command):
    project.limit()
    path = project.folder / "pipelines/profiles/limited.toml"
    path.write_text(path.read_text().replace("[roles", 'takes = "locks"\n[roles', 1))
    outcome = project.main(command, "toy", "--set", "source=src", "--profile", "limited")
    assert outcome.status == 2
    assert (
        'engine] engine is "local". Expected "azureml", because the profile sets takes'
        in outcome.err
    )
