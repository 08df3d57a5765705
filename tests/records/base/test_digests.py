import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tfhub_blocks.records.base.digests import (
    CACHE_FOLDERS,
    file_sha256,
    files_sha256,
    is_safe_relative_path,
    record_digest,
    sources_sha256,
    tree_digest,
)
from tfhub_blocks.records.base.errors import BlocksError

# What the documentation of tree_digest tells a reader to type; names with spaces need xargs.
SHELL = "find . -type f | cut -c3- | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0r sha256sum --"
PLAIN_SHELL = "sha256sum $(find . -type f | cut -c3- | LC_ALL=C sort) | sha256sum"


def write_tree(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[0]


def test_digest_is_what_the_documented_shell_command_gives(tmp_path):
    folder = write_tree(tmp_path, ["b", "a/b", "a-b", "a.b", "B", "sub/deep/er"])
    assert tree_digest(files_sha256(folder)) == shell(PLAIN_SHELL, folder)


def test_digest_of_odd_names_is_what_a_shell_gives(tmp_path):
    names = ["with space", "ü/ß.txt", "日本", "-dash", "a'b", 'q"q', "$x", "\U0001f600", "﹅"]
    folder = write_tree(tmp_path, names)
    assert tree_digest(files_sha256(folder)) == shell(f"{SHELL} | sha256sum", folder)


def test_digest_does_not_depend_on_order_or_time(tmp_path):
    names = [f"d{number % 3}/f{number}" for number in range(12)]
    one = write_tree(tmp_path / "one", names)
    other = write_tree(tmp_path / "other", names[::-1])
    os.utime(other / names[0], (1, 1))
    assert tree_digest(files_sha256(one)) == tree_digest(files_sha256(other))
    digests = files_sha256(one)
    assert tree_digest(dict(reversed(digests.items()))) == tree_digest(digests)


@pytest.mark.parametrize("change", ["content", "name", "added", "removed"])
def test_digest_changes_with(change, tmp_path):
    folder = write_tree(tmp_path, ["a", "b"])
    before = tree_digest(files_sha256(folder))
    match change:
        case "content":
            (folder / "a").write_text("else")
        case "name":
            (folder / "a").rename(folder / "c")
        case "added":
            (folder / "c").touch()
        case "removed":
            (folder / "a").unlink()
    assert tree_digest(files_sha256(folder)) != before


def test_link_to_a_file_counts_as_the_file(tmp_path):
    linked, plain = tmp_path / "linked", tmp_path / "plain"
    write_tree(tmp_path / "elsewhere", ["a"])
    linked.mkdir()
    plain.mkdir()
    (linked / "a").symlink_to(tmp_path / "elsewhere" / "a")
    shutil.copy(tmp_path / "elsewhere" / "a", plain / "a")
    assert sources_sha256(linked) == files_sha256(plain)


def test_nothing_is_left_out_unless_it_is_named(tmp_path):
    names = [".hidden", ".partial/a", ".work/b", "__pycache__/a.pyc", "a.py", "sub/c.pyc"]
    write_tree(tmp_path, names)
    assert list(files_sha256(tmp_path)) == list(sources_sha256(tmp_path)) == names
    kept = sources_sha256(tmp_path, omit=CACHE_FOLDERS)
    assert list(kept) == [name for name in names if "__pycache__" not in name]


@pytest.mark.parametrize(
    ("make", "problem", "more"),
    [
        (lambda path: path.symlink_to(path.parent), "a link", True),
        (lambda path: path.symlink_to(path.parent / "a"), "a link", True),
        (lambda path: path.symlink_to("nowhere"), "a link", True),
        (os.mkfifo, "neither a file nor a folder", False),
        (Path.mkdir, "an empty folder", False),
        (lambda path: (path / "deep/er").mkdir(parents=True), "an empty folder", False),
    ],
    ids=["folder link", "file link", "broken link", "pipe", "empty folder", "empty folders"],
)
def test_entry_that_no_statement_lists_is_refused(make, problem, more, tmp_path):
    write_tree(tmp_path, ["a"])
    make(tmp_path / "x")
    with pytest.raises(BlocksError) as refusal:
        files_sha256(tmp_path)
    name = repr(
        next(
            iter(
                sorted(
                    path
                    for path in ("x", "x/deep/er")
                    if (tmp_path / path).is_dir() and not any((tmp_path / path).iterdir())
                )
            ),
            "x",
        )
    )
    assert str(refusal.value) == (
        f"[{tmp_path} > {name}] {name} is {problem}. Expected only files, and folders that contain "
        f"files. Delete {name}"
        + (", or replace the link by a copy of its target." if more else ".")
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: (folder / "x").symlink_to(folder.parent),
        lambda folder: (folder / "x").symlink_to("nowhere"),
        lambda folder: os.mkfifo(folder / "x"),
    ],
    ids=["link to a folder", "broken link", "pipe"],
)
def test_what_is_no_plain_file_is_refused_in_a_source(make, tmp_path):
    make(tmp_path)
    with pytest.raises(BlocksError) as refusal:
        sources_sha256(tmp_path)
    assert str(refusal.value) == (
        f"[{tmp_path} > 'x'] 'x' is a link to a folder, a broken link or a device. Expected plain "
        "files and folders only. Remove 'x', or replace the link by a copy of its target."
    )


@pytest.mark.parametrize("name", [b"a\nb", b"a\\b", b"a\rb", b"\xff.png"])
def test_name_that_a_manifest_cannot_carry_is_refused(name, tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    with pytest.raises(BlocksError, match=r"or bytes that are not UTF-8\. Rename the file\."):
        files_sha256(tmp_path)


def test_folder_that_cannot_be_listed_is_no_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        files_sha256(tmp_path / "absent")


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_record_digest_ignores_key_order_and_nothing_else():
    assert record_digest({"a": 1, "b": [1, 2]}) == record_digest({"b": [1, 2], "a": 1})
    assert record_digest({"a": [1, 2]}) != record_digest({"a": [2, 1]})
    assert record_digest({"a": 1}) != record_digest({"a": "1"})


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/a", "a/../b", "../a", "./a", "a//b", "a/", "a\\b", "a\nb", "a\0b", "\udcff"],
)
def test_unsafe_path(name):
    assert not is_safe_relative_path(name)


@pytest.mark.parametrize("name", ["a", "a/b", "..a", "a..", "a b", "ü", ".hidden", "a:b"])
def test_safe_path(name):
    assert is_safe_relative_path(name)
