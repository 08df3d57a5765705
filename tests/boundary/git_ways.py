"""Ways by git: what it is told to overlook, to show otherwise, or to look for elsewhere."""

import os
import shutil
import sys
import zlib
from types import ModuleType

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


@way("commit a submodule, whose files are in another repository")
def tree_committed_submodule(project):
    head = git(project, "rev-parse", "HEAD")
    git(project, "update-index", "--add", "--cacheinfo", f"160000,{head},components/more")
    git(project, "commit", "-q", "-m", "x")
    (project.folder / "components/more").mkdir()


@way("commit a pointer of Git LFS in place of the prices, whose content is elsewhere")
def tree_lfs_pointer(project):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    project.write("pipelines/prices.toml", pointer)
    commit(project)


@way("put other bytes under the name of an object of git")
def tree_forged_object(project):
    name = git(project, "rev-parse", f"HEAD:{PROFILE}")
    path = project.folder / f".git/objects/{name[:2]}/{name[2:]}"
    path.chmod(0o644)
    content = zlib.decompress(path.read_bytes()).replace(b"timeout_s = 60", b"timeout_s = 99")
    path.write_bytes(zlib.compress(content))
    edit(project, PROFILE, "timeout_s = 60", "timeout_s = 99")


@way("commit a file whose name leads out of the folder, which git itself would not check out")
def tree_climbing_entry(project):
    tree = git(project, "rev-parse", "HEAD^{tree}")
    content = b"40000 ..\0" + bytes.fromhex(tree)
    (project.folder.parent / "tree").write_bytes(content)
    words = ("hash-object", "-w", "--literally", "-t", "tree", "../tree")
    made = git(project, "commit-tree", git(project, *words), "-p", "HEAD", "-m", "x")
    project.write(".git/refs/heads/main", f"{made}\n")


@way("edit the profile, and let the repository's settings run programs that hide it")
def tree_hostile_settings(project):
    program = project.write("../program", "#!/bin/sh\ntouch ran\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "filter.hide.clean", "filter.hide.process", "gpg.program"):
        git(project, "config", name, str(program))
    git(project, "config", "log.showSignature", "true")
    git(project, "config", "core.hooksPath", str(program.parent))
    project.write(".git/info/attributes", "* filter=hide\n")
    edit_profile(project)


@way("put another program called git where the search path finds it first")
def tree_other_git(project):
    program = project.write("bin/git", "#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    project.monkeypatch.setenv("PATH", f"bin{os.pathsep}{os.environ['PATH']}")
    edit_profile(project)


@way("leave the edited profile out of a sparse checkout")
def tree_sparse(project):
    git(project, "sparse-checkout", "set", "--no-cone", "/*", f"!{PROFILE}")
    project.write(PROFILE, "")


@way("let a module that Python finds by PYTHONPATH change tfhub-blocks before it starts")
def tree_customized_python(project):
    module = ModuleType("usercustomize")
    module.__file__ = "/elsewhere/usercustomize.py"
    project.monkeypatch.setitem(sys.modules, "usercustomize", module)
    project.monkeypatch.setenv("PYTHONPATH", "/elsewhere")


@way("move .git away, so that nothing tells what is committed")
def tree_no_repository(project):
    (project.folder / ".git").rename(project.folder.parent / "git")
