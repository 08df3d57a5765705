"""Whether a file is as it was committed, also where git was told to overlook it."""

import pytest
from release_project import STRICT, edit, git, write_release_project

from tfhub_blocks.control.repository.git_state import is_edited

PROFILE = "pipelines/profiles/strict.toml"


def assume_unchanged(project):
    git(project, "update-index", "--assume-unchanged", PROFILE)


def filtered(project):
    git(project, "config", "filter.hide.clean", "git show HEAD:%f")
    project.write(".git/info/attributes", f"{PROFILE} filter=hide\n")


@pytest.mark.parametrize("hide", [assume_unchanged, filtered])
def test_edit_that_git_overlooks_is_seen(project, hide):
    path = project.write(PROFILE, STRICT)
    assert not is_edited(path)  # no repository yet
    write_release_project(project)
    assert not is_edited(path)
    hide(project)
    edit(project, PROFILE, "timeout_s = 60", "timeout_s = 99")
    assert git(project, "status", "--porcelain") == ""
    assert is_edited(path)


def test_file_that_git_ignores_is_not_as_it_was_committed(project):
    write_release_project(project)
    project.write(".git/info/exclude", "*.toml\n")
    assert is_edited(project.write(PROFILE, STRICT))
