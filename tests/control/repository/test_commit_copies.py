"""The private copy is the commit: nothing around the repository changes it, or runs a program."""

import hashlib
import os
import shutil
import stat
import subprocess
import zlib

import pytest
from release_project import STRICT, commit, edit, git, write_release_project

from tfhub_blocks.control.repository.commit_copies import commit_copy
from tfhub_blocks.control.repository.git_state import (
    authors_of,
    check_descends,
    clean_commit,
    is_edited,
    latest_day,
    open_objects,
)
from tfhub_blocks.records.base.errors import BlocksError

PROFILE, STEP = "pipelines/profiles/strict.toml", "components/make/component.py"


@pytest.fixture
def release(project):
    project.write(PROFILE, STRICT)
    write_release_project(project)
    return project


def copied(project):
    """Each file of the copy: its bytes and mode, or the target of a link."""
    found = {}
    with open_objects("lock") as objects, commit_copy(objects, project.folder) as copy:
        assert stat.S_IMODE(copy.root.stat().st_mode) == 0o700
        for path in copy.root.rglob("*"):
            name = path.relative_to(copy.root).as_posix()
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file():
                found[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    assert not copy.root.exists()
    return found


def committed(project):
    """The same as git itself shows it, without filters."""
    found = {}
    for line in git(project, "ls-tree", "-r", "-z", "HEAD").split("\0")[:-1]:
        facts, _, name = line.partition("\t")
        mode, _, digest = facts.split()
        content = subprocess.run(
            ["git", "cat-file", "blob", digest],
            cwd=project.folder,
            capture_output=True,
            check=True,
            env=os.environ | {"GIT_NO_REPLACE_OBJECTS": "1"},
        ).stdout
        is_link = mode == "120000"
        found[name] = f"-> {content.decode()}" if is_link else (content, mode == "100755")
    return found


def refusal(project):
    with pytest.raises(BlocksError) as caught:
        copied(project)
    return str(caught.value)


def test_copy_contains_exactly_the_files_of_the_commit(release):
    release.write("components/make/run.sh", "#!/bin/sh\n").chmod(0o755)
    (release.folder / "notes").symlink_to("components/make")
    commit(release)
    before = committed(release)
    release.write("untracked.py", "")
    edit(release, PROFILE, "timeout_s = 60", "timeout_s = 99")
    (release.folder / STEP).unlink()
    found = copied(release)
    assert found == before
    assert found["notes"] == "-> components/make"
    assert found["components/make/run.sh"][1]


def gone(project):
    git(project, "gc", "-q", "--prune=now")
    assert not (project.folder / ".git/refs/heads/main").exists()


def detached(project):
    git(project, "checkout", "-q", "--detach")


def sparse(project):
    git(project, "sparse-checkout", "set", "--no-cone", "src")
    assert not (project.folder / STEP).exists()


def hidden(project):
    git(project, "update-index", "--assume-unchanged", PROFILE)
    git(project, "update-index", "--skip-worktree", STEP)


def replaced(project):
    head = git(project, "rev-parse", "HEAD")
    edit(project, STEP, "# EFFECT", "print(1)")
    git(project, "commit", "-q", "--all", "-m", "other")
    other = git(project, "rev-parse", "HEAD")
    git(project, "reset", "-q", "--hard", head)
    git(project, "replace", head, other)


def replaced_blob(project):
    old = git(project, "rev-parse", f"HEAD:{STEP}")
    other = project.write("other", "print(1)\n")
    git(project, "replace", old, git(project, "hash-object", "-w", str(other)))


def attributes(project):
    project.write(
        ".git/info/attributes", "* text eol=crlf ident export-subst working-tree-encoding=UTF-16\n"
    )


def ignored(project):
    project.write(".git/info/exclude", "components\n")
    project.write("components/make/other.py", "")


@pytest.mark.parametrize(
    "change", [gone, detached, sparse, hidden, replaced, replaced_blob, attributes, ignored]
)
def test_state_of_the_repository_does_not_change_the_copy(release, change):
    before = committed(release)
    change(release)
    assert copied(release) == before


def test_attributes_of_the_commit_are_files_like_others(release):
    release.write(".gitattributes", "* eol=crlf ident export-subst\n")
    release.write("notes", "$Id$ $Format:%H$\nend\n")
    commit(release)
    assert copied(release)["notes"][0] == b"$Id$ $Format:%H$\nend\n"


VARIABLES = {
    "GIT_DIR": "/nowhere",
    "GIT_WORK_TREE": "/nowhere",
    "GIT_OBJECT_DIRECTORY": "/nowhere",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/nowhere",
    "GIT_INDEX_FILE": "/nowhere",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.bare",
    "GIT_CONFIG_VALUE_0": "maybe",
    "GIT_NAMESPACE": "other",
    "GIT_REPLACE_REF_BASE": "refs/other",
    "GIT_CEILING_DIRECTORIES": "/",
    "GIT_EXEC_PATH": "/nowhere",
    "GIT_SHALLOW_FILE": "/nowhere",
    "GIT_TRACE": "/dev/null",
    "GIT_DEFAULT_HASH": "sha256",
}


def test_variables_of_git_do_not_change_the_copy(release, monkeypatch):
    before = committed(release)
    for name, text in VARIABLES.items():
        monkeypatch.setenv(name, text)
    found = copied(release)
    assert clean_commit("lock")
    assert found == before


HOSTILE = """
[core]
    fsmonitor = "{program}"
    hooksPath = "{hooks}"
    pager = "{program}"
    editor = "{program}"
    sshCommand = "{program}"
    gitProxy = "{program}"
    askPass = "{program}"
    attributesFile = "{attributes}"
    worktree = "{folder}"
    alternateRefsCommand = "{program}"
[alias]
    cat-file = "!{program}"
    status = "!{program}"
    log = "!{program}"
[log]
    showSignature = true
    mailmap = true
[gpg]
    program = "{program}"
[filter "hide"]
    clean = "{program}"
    smudge = "{program}"
    process = "{program}"
    required = true
[diff "hide"]
    textconv = "{program}"
    command = "{program}"
[diff]
    external = "{program}"
[credential]
    helper = "!{program}"
[uploadpack]
    packObjectsHook = "{program}"
[protocol "ext"]
    allow = always
[remote "origin"]
    url = "ext::{program}"
    promisor = true
    partialclonefilter = blob:none
[extensions]
    partialClone = origin
[pager]
    log = "{program}"
"""


def make_hostile(project, file):
    """Settings that run a program wherever git knows a way to; returns what it would write."""
    marker = project.folder.parent / "ran"
    program = project.write("../program", f"#!/bin/sh\ntouch {marker}\nexit 0\n")
    hooks = project.folder.parent / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc"):
        shutil.copy(program, hooks / name)
    for path in (program, *hooks.iterdir()):
        path.chmod(0o755)
    attributes = project.write("../attributes", "* filter=hide diff=hide\n")
    project.write(".git/info/attributes", "* filter=hide diff=hide\n")
    elsewhere = project.folder.parent / "elsewhere"
    elsewhere.mkdir()
    file.write_text(
        file.read_text()
        + HOSTILE.format(
            program=program, hooks=hooks, attributes=attributes, folder=elsewhere.resolve()
        )
    )
    return marker


def use_every_question(project, head):
    assert clean_commit("lock") == head
    check_descends("submit", head, "lock")
    latest_day("submit")
    assert authors_of(project.folder / PROFILE) == ["tester@example.org"]
    assert not is_edited(project.folder / PROFILE)


@pytest.mark.parametrize("by_include", [False, True])
def test_settings_of_the_repository_run_nothing(release, by_include):
    before, head = committed(release), git(release, "rev-parse", "HEAD")
    file = release.folder / ".git/config"
    if by_include:
        file.write_text(f"{file.read_text()}[include]\n\tpath = more\n")
        file = release.write(".git/more", "")
    marker = make_hostile(release, file)
    os.utime(release.folder / STEP)  # git looks at the file again
    assert copied(release) == before
    use_every_question(release, head)
    assert not marker.exists()
    # Git itself runs the programs, and may fail because they do not behave.
    command = ["git", "--work-tree", str(release.folder), "status"]
    subprocess.run(command, cwd=release.folder, capture_output=True, check=False)
    assert marker.exists()


def test_settings_of_the_user_and_the_system_run_nothing(release, monkeypatch):
    before, head = committed(release), git(release, "rev-parse", "HEAD")
    file = release.write("../settings", "")
    marker = make_hostile(release, file)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(file))
    monkeypatch.setenv("HOME", str(release.folder.parent))
    shutil.copy(file, release.folder.parent / ".gitconfig")
    assert copied(release) == before
    use_every_question(release, head)
    assert not marker.exists()


def test_object_that_a_partial_clone_lacks_is_not_fetched(release):
    blob = git(release, "rev-parse", f"HEAD:{STEP}")
    marker = make_hostile(release, release.folder / ".git/config")
    (release.folder / f".git/objects/{blob[:2]}/{blob[2:]}").unlink()
    assert f"object {blob} of the repository cannot be used" in refusal(release)
    assert not marker.exists()


@pytest.mark.parametrize("entry", ["", ".", "bin", "PROJECT", "PROJECT/bin", "LINK"])
def test_program_named_git_in_the_working_folder_is_not_run(release, monkeypatch, entry):
    before = committed(release)
    marker = release.folder.parent / "ran"
    for name in ("git", "bin/git"):
        path = release.write(name, f'#!/bin/sh\ntouch {marker}\nexec /usr/bin/git "$@"\n')
        path.chmod(0o755)
    link = release.folder.parent / "link"
    link.symlink_to(release.folder / "bin")
    entry = entry.replace("PROJECT", str(release.folder)).replace("LINK", str(link))
    monkeypatch.setenv("PATH", f"{entry}{os.pathsep}{os.environ['PATH']}")
    assert copied(release) == before
    with pytest.raises(BlocksError, match="bin/git, git"):
        clean_commit("lock")
    assert not marker.exists()


def test_object_with_the_content_of_another_is_refused(release):
    blob = git(release, "rev-parse", f"HEAD:{STEP}")
    path = release.folder / f".git/objects/{blob[:2]}/{blob[2:]}"
    path.chmod(0o644)
    content = zlib.decompress(path.read_bytes()).replace(b"# EFFECT", b"print(1)")
    path.write_bytes(zlib.compress(content))
    assert f"object {blob} of the repository cannot be used" in refusal(release)


def test_tree_with_the_content_of_another_is_refused(release):
    head = git(release, "rev-parse", "HEAD^{tree}")
    edit(release, STEP, "# EFFECT", "print(1)")
    commit(release)
    other = git(release, "rev-parse", "HEAD^{tree}")
    git(release, "reset", "-q", "--hard", "HEAD~")
    paths = [release.folder / f".git/objects/{it[:2]}/{it[2:]}" for it in (head, other)]
    paths[0].chmod(0o644)
    paths[0].write_bytes(paths[1].read_bytes())
    assert f"object {head} of the repository cannot be used" in refusal(release)


def make_commit(project, *entries):
    """Commit a tree that git itself would not make; an entry is mode, name and content."""
    content = b""
    for mode, name, text in entries:
        kind = "tree" if mode == "40000" else "blob"
        path = project.write("../object", text)
        digest = git(project, "hash-object", "-w", "--literally", "-t", kind, str(path))
        content += f"{mode} {name}\0".encode() + bytes.fromhex(digest)
    path = project.folder.parent / "tree"
    path.write_bytes(content)
    tree = git(project, "hash-object", "-w", "--literally", "-t", "tree", str(path))
    made = git(project, "commit-tree", tree, "-m", "x")
    project.write(".git/refs/heads/main", f"{made}\n")


@pytest.mark.parametrize("name", ["..", ".git", ".GIT", ".", "a/b", "../out"])
def test_name_that_leads_out_of_the_copy_is_refused(release, name):
    make_commit(release, ("100644", name, "x"))
    assert "can lead outside of the folder" in refusal(release)


def test_name_that_occurs_twice_is_refused(release):
    make_commit(release, ("120000", "a", ".."), ("40000", "a", ""))
    assert "occurs twice" in refusal(release)


def test_unknown_mode_is_refused(release):
    make_commit(release, ("100000", "a", "x"))
    assert "a in commit" in refusal(release)


@pytest.mark.parametrize(
    "target",
    ["/etc/hostname", "..", "../../other", "nothing", "me", "out/x", ".git/HEAD", "src/../../x"],
)
def test_link_out_of_the_commit_is_refused(release, target):
    (release.folder / "out").symlink_to("..")
    (release.folder / "me").symlink_to(target)
    git(release, "add", "me")
    git(release, "commit", "-q", "-m", "x")
    assert "contains me, a link to" in refusal(release)


def test_link_inside_the_commit_is_kept(release):
    (release.folder / "first").symlink_to("second/component.py")
    (release.folder / "second").symlink_to("src/../components/make")
    commit(release)
    found = copied(release)
    assert (found["first"], found["second"]) == (
        "-> second/component.py",
        "-> src/../components/make",
    )
    assert clean_commit("lock")


def test_pointer_of_git_lfs_among_sources_is_refused(release):
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1\n"
    release.write("data.bin", text)
    commit(release)
    assert copied(release)["data.bin"][0] == text.encode()
    release.write("pipelines/prices.toml", text)
    commit(release)
    assert "pipelines/prices.toml in the commit is a pointer of Git LFS" in refusal(release)


def test_file_of_git_lfs_is_as_its_pointer_states(release):
    content = "0123"
    digest = hashlib.sha256(content.encode()).hexdigest()
    release.write(
        "data.bin", f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 4\n"
    )
    commit(release)
    release.write("data.bin", content)
    assert clean_commit("lock")
    release.write("data.bin", "4567")
    with pytest.raises(BlocksError, match=r"data\.bin"):
        clean_commit("lock")


def test_line_ends_of_the_working_folder_count_among_sources_alone(release):
    release.write(".gitattributes", "notes eol=crlf\n*.toml eol=crlf\n")
    release.write("notes", "a\n")
    commit(release)
    release.write("notes", "a\r\n")
    assert clean_commit("lock")
    text = release.read(PROFILE)
    (release.folder / PROFILE).write_bytes(text.replace("\n", "\r\n").encode())
    with pytest.raises(BlocksError, match=r"strict\.toml"):
        clean_commit("lock")


def test_sha256_repository_linked_worktree_and_shallow_clone(release, monkeypatch):
    edit(release, STEP, "# EFFECT", "print(1)")
    commit(release)
    before = committed(release)
    git(release, "worktree", "add", "-q", "../linked", "--detach")
    url = f"file://{release.folder}"
    git(release, "clone", "-q", "--depth", "1", url, "../shallow")
    git(release, "init", "-q", "--object-format=sha256", "../long")
    shutil.copytree(release.folder, release.folder.parent / "plain", dirs_exist_ok=True)
    for name in ("linked", "shallow", "long"):
        folder = release.folder.parent / name
        other = type(release)(folder, None)
        if name == "long":
            for entry in release.folder.iterdir():
                if entry.name not in (".git", ".runs"):
                    shutil.copytree(entry, folder / entry.name) if entry.is_dir() else shutil.copy(
                        entry, folder
                    )
            assert len(commit(other)) == 64
        monkeypatch.chdir(folder)
        assert copied(other) == before
        assert clean_commit("lock") == git(other, "rev-parse", "HEAD")
        check_descends("submit", git(other, "rev-parse", "HEAD"), "lock")
        latest_day("submit")


def test_project_below_the_top_of_its_repository(release):
    (release.folder / ".git").rename(release.folder.parent / ".git")
    release.write("../shared/values.toml", "x = 1\n")
    (release.folder / "shared").symlink_to("../shared")
    commit(release)
    with open_objects("lock") as objects, commit_copy(objects, release.folder) as copy:
        assert copy.project == copy.root / "project"
        assert (copy.project / PROFILE).read_text() == STRICT
        assert (copy.project / "shared/values.toml").read_text() == "x = 1\n"
