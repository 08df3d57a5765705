"""Ways by git: what it is told to overlook, to show otherwise, or to look for elsewhere."""

import os
import shutil

from lock_ways import LOCK
from release_project import commit, edit, git
from ways import surface

way = surface("The repository", "release")
PROFILE = "pipelines/profiles/strict.toml"


def edit_profile(project):
    """What no digest in the lock covers: only that it is committed."""
    edit(project, PROFILE, "timeout_s = 60", "timeout_s = 99")


@way("leave a file that is not committed, anywhere in the repository")
def tree_untracked(project):
    project.write("note", "x")


@way("edit the profile, and not commit it")
def tree_dirty_profile(project):
    edit_profile(project)


@way("edit and stage, and not commit")
def tree_staged(project):
    edit_profile(project)
    git(project, "add", "--all")


@way("let git assume that the edited file is unchanged")
def tree_assume_unchanged(project):
    git(project, "update-index", "--assume-unchanged", PROFILE)
    edit_profile(project)


@way("let git skip the edited file (skip-worktree)")
def tree_skip_worktree(project):
    git(project, "update-index", "--skip-worktree", PROFILE)
    edit_profile(project)


@way("edit it behind a filter of .git/info/attributes that shows git the committed text")
def tree_clean_filter(project):
    git(project, "config", "filter.hide.clean", "git show HEAD:%f")
    project.write(".git/info/attributes", f"{PROFILE} filter=hide\n")
    edit_profile(project)


@way("edit it without a new size or time, with git told not to look closer (core.checkStat)")
def tree_same_stat(project):
    git(project, "config", "core.checkStat", "minimal")
    git(project, "config", "core.trustctime", "false")
    path = project.folder / PROFILE
    os.utime(path, (1e9, 1e9))
    git(project, "update-index", "--refresh", "-q")
    edit(project, PROFILE, "timeout_s = 60", "timeout_s = 99")
    os.utime(path, (1e9, 1e9))


@way("edit it while a monitor of files tells git that nothing changed (core.fsmonitor)")
def tree_fsmonitor(project):
    hook = project.write(".git/quiet", "#!/bin/sh\nprintf 'token\\0'\n")
    hook.chmod(0o755)
    git(project, "config", "core.fsmonitor", str(hook))
    git(project, "config", "core.fsmonitorHookVersion", "2")
    git(project, "update-index", "--fsmonitor")
    git(project, "status")
    edit_profile(project)


@way("let another commit stand in for HEAD (git replace)")
def tree_replaced_commit(project):
    head = git(project, "rev-parse", "HEAD")
    edit_profile(project)
    git(project, "commit", "-q", "--all", "--amend", "-m", "other")
    other = git(project, "rev-parse", "HEAD")
    git(project, "reset", "-q", "--soft", head)
    git(project, "replace", head, other)


@way("graft the history that the lock is of under another one")
def tree_graft(project):
    locked = git(project, "rev-parse", "HEAD~")
    git(project, "checkout", "-q", "--orphan", "other")
    head = commit(project)
    project.write(".git/info/grafts", f"{head} {locked}\n")


@way("take the lock into another history")
def tree_other_history(project):
    git(project, "checkout", "-q", "--orphan", "other")
    commit(project)


@way("amend away the commit that the lock names")
def tree_amended(project):
    git(project, "reset", "-q", "--soft", "HEAD~")
    git(project, "commit", "-q", "--amend", "-m", "all in one")


@way("check out an older commit, and lay the lock beside it")
def tree_older_commit(project):
    text = project.read(LOCK)
    git(project, "checkout", "-q", "HEAD~")
    project.write(LOCK, text)


@way("let GIT_INDEX_FILE and GIT_WORK_TREE lead git to a clean copy")
def tree_git_variables(project):
    copy = project.folder.parent / "copy"
    shutil.copytree(project.folder, copy)
    edit_profile(project)
    for name, path in (
        ("GIT_DIR", ".git"),
        ("GIT_WORK_TREE", ""),
        ("GIT_INDEX_FILE", ".git/index"),
    ):
        project.monkeypatch.setenv(name, str(copy / path))


@way("let core.worktree lead git to a clean copy")
def tree_core_worktree(project):
    copy = project.folder.parent / "copy"
    shutil.copytree(project.folder, copy)
    edit_profile(project)
    git(project, "config", "core.worktree", str(copy))


@way("let GIT_CONFIG_COUNT lead git to a clean copy")
def tree_config_variables(project):
    copy = project.folder.parent / "copy"
    shutil.copytree(project.folder, copy)
    edit_profile(project)
    for name, text in (("COUNT", "1"), ("KEY_0", "core.worktree"), ("VALUE_0", str(copy))):
        project.monkeypatch.setenv(f"GIT_CONFIG_{name}", text)


@way("put a file that git ignores beside a step's code")
def tree_ignored_beside_step(project):
    project.write(".git/info/exclude", "*.json\n")
    project.write("components/make/settings.json", "{}")


@way("put a module that git ignores beside the pipelines")
def tree_ignored_module(project):
    project.write(".git/info/exclude", "pipelines/toy.py\n*.orig.py\n")
    project.write("pipelines/judged.orig.py", "")


@way("edit files of a submodule, with git told to overlook that")
def tree_submodule(project):
    inner = project.folder / "more"
    shutil.copytree(project.folder / "src", inner)
    for words in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "x"]):
        git(project, "-C", str(inner), *words)
    git(project, "-c", "advice.addEmbeddedRepo=false", "add", "more")
    project.write(
        ".gitmodules", '[submodule "more"]\n\tpath = more\n\turl = ./more\n\tignore = all\n'
    )
    commit(project)
    (inner / "word").write_text("other")


@way("move .git away, so that nothing tells what is committed")
def tree_no_repository(project):
    (project.folder / ".git").rename(project.folder.parent / "git")
