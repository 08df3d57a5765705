import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tfhub_blocks.records.base import node_disk
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import (
    PARTIAL_NAME,
    PENDING_NAME,
    WORK_NAME,
    Format,
    begin_folder,
    finish_folder,
    open_folder,
    stage_content,
    work_folder,
    write_file,
)
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Material, Provenance
from tfhub_blocks.records.base.node_disk import scratch_folder

ROOT = Path(__file__).parents[3]
TOY = Format("toy", 2)
PROVENANCE = Provenance("make", {"n": 1}, (Material("x", "0" * 64),), "1" * 64, "2" * 64, "", "")

OTHERS = [
    replace(PROVENANCE, step="other"),
    replace(PROVENANCE, parameters={"n": 2}),
    replace(PROVENANCE, materials=(Material("x", "f" * 64),)),
    replace(PROVENANCE, code_digest="f" * 64),
    replace(PROVENANCE, environment_digest="f" * 64),
]

# Makes a folder in a process of its own that kills itself at the N-th change of the file system.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from tests_folder import make

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
count = 0

def counted(change):
    def wrapper(*args, **kwargs):
        global count
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*args, **kwargs)
    return wrapper

for owner, name in [(Path, "rename"), (Path, "replace"), (Path, "unlink"), (Path, "rmdir"),
                    (Path, "write_text"),
                    (Path, "mkdir"), (os, "unlink"), (os, "rmdir"), (shutil, "rmtree")]:
    setattr(owner, name, counted(getattr(owner, name)))
make(folder)
print(count)
"""
MAKE = """
from tfhub_blocks.records.base.folders import Format, begin_folder, finish_folder, work_folder
from tfhub_blocks.records.base.lineage import Material, Provenance

MADE = Provenance("make", {"n": 1}, (Material("x", "0" * 64),), "1" * 64, "2" * 64, "", "")

def make(folder):
    work = work_folder(folder, MADE)
    for name in ("1", "2"):
        if not (work / name).exists():
            (work / name).write_text(name)
    partial = begin_folder(folder, MADE)
    assert [(work / name).read_text() for name in ("1", "2")] == ["1", "2"]
    (partial / "shards").mkdir()
    (partial / "hollow").mkdir()
    for name in ("a", "z", "shards/0", "shards/1"):
        open(partial / name, "w").write(name)
    finish_folder(folder, "made", Format("toy", 2), MADE)
"""


def make(folder: Path, text: str = "text") -> Path:
    partial = begin_folder(folder, PROVENANCE)
    (partial / "sub").mkdir()
    (partial / "a").write_text(text)
    (partial / "sub" / "b").write_text("b")
    finish_folder(folder, "made", TOY, PROVENANCE)
    return folder


def listing(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


@pytest.fixture
def killed_make(tmp_path):
    """Make a folder, killed at the N-th change; whether it lived to the end."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "tests_folder.py").write_text(MAKE)
    (code / "killed.py").write_text(KILLED)

    def run(folder: Path, limit: int) -> bool:
        done = subprocess.run(
            [sys.executable, "-S", str(code / "killed.py"), str(folder), str(limit)],
            env={"PYTHONPATH": f"{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, -9), done.stderr
        return done.returncode == 0

    return run


def check_after_kill(folder: Path) -> None:
    if not is_unfinished(folder):
        open_folder(folder, TOY, "test").check()
        assert listing(folder)["shards/1"] == "shards/1"


def is_unfinished(folder: Path) -> bool:
    try:
        open_folder(folder, TOY, "test")
    except BlocksError as refusal:
        # A folder in which a new attempt has begun its work is no finished output any more.
        return refusal.what == STATEMENT_NAME or refusal.what.strip("'").startswith(WORK_NAME)
    return False


@pytest.mark.parametrize(
    "existing",
    [
        pytest.param(False, id="absent"),
        pytest.param(True, id="mounted empty folder", marks=pytest.mark.slow),
    ],
)
def test_folder_killed_at_any_moment_is_complete_or_absent(existing, killed_make, tmp_path):
    limit, lived = 0, False
    while not lived:
        limit += 1
        folder = tmp_path / f"out-{limit}"
        if existing:
            folder.mkdir()
        lived = killed_make(folder, limit)
        check_after_kill(folder)
        assert killed_make(folder, 10**9)
        check_made_again(folder)
    assert limit > 7  # or nothing was counted


def test_making_a_finished_folder_again_may_be_killed_at_any_moment(killed_make, tmp_path):
    whole = tmp_path / "whole"
    assert killed_make(whole, 10**9)
    limit, lived = 0, False
    while not lived:
        limit += 1
        folder = tmp_path / f"out-{limit}"
        shutil.copytree(whole, folder)
        lived = killed_make(folder, limit)
        check_after_kill(folder)
        assert killed_make(folder, 10**9)
        check_made_again(folder)
    assert limit > 10


def check_made_again(folder: Path) -> None:
    opened = open_folder(folder, TOY, "test").check()
    assert set(opened.lineage.files) == {"a", "z", "shards/0", "shards/1"}
    entries = {path.name for path in folder.iterdir()}
    assert entries == {"a", "z", "shards", STATEMENT_NAME}


def test_finished_folder_opens_and_holds_what_was_written(tmp_path):
    folder = open_folder(make(tmp_path / "x"), TOY, "test").check()
    assert folder.file("sub/b").read_text() == "b"
    assert folder.digest == folder.lineage.digest


def test_unfinished_folder_does_not_open(tmp_path):
    (begin_folder(tmp_path / "x", PROVENANCE) / "a").write_text("a")
    with pytest.raises(BlocksError, match=r"the folder has no lineage\.json"):
        open_folder(tmp_path / "x", TOY, "test")


def damage_message(folder: Path, name: str, problem: str, expected: str) -> str:
    return (
        f"[toy/2 {folder} > {name}] {problem}. Expected {expected}. The folder was changed or "
        "damaged after its step wrote it: run the step again, or restore the folder from a copy."
    )


def test_work_outlives_an_attempt_and_goes_when_the_output_is_complete(tmp_path):
    folder = tmp_path / "x"
    (work_folder(folder, PROVENANCE) / "part").write_text("done")
    (begin_folder(folder, PROVENANCE) / "half").write_text("written")
    begin_folder(folder, PROVENANCE)
    assert (work_folder(folder, PROVENANCE) / "part").read_text() == "done"
    make(folder)
    assert not (folder / WORK_NAME).exists()
    assert list(work_folder(folder, PROVENANCE).iterdir()) == []


@pytest.mark.parametrize("other", OTHERS)
def test_other_work_finds_nothing_and_clears_what_was_kept(other, tmp_path):
    folder = tmp_path / "x"
    (work_folder(folder, PROVENANCE) / "part").write_text("done")
    assert list(work_folder(folder, other).iterdir()) == []
    begin_folder(folder, other)
    assert list((folder / WORK_NAME).iterdir()) == [work_folder(folder, other)]
    assert list(work_folder(folder, PROVENANCE).iterdir()) == []


def test_time_and_facts_of_an_attempt_make_no_other_work(tmp_path):
    later = replace(PROVENANCE, started="later", finished="later still", facts={"x": 1})
    assert work_folder(tmp_path, later) == work_folder(tmp_path, PROVENANCE)


def test_finished_folder_with_work_is_refused_and_made_anew(tmp_path):
    folder = make(tmp_path / "x")
    (work_folder(folder, PROVENANCE) / "part").write_text("done")
    with pytest.raises(BlocksError, match=r"the lineage does not list \.work/"):
        open_folder(folder, TOY, "test")
    make(folder)
    assert not (folder / WORK_NAME).exists()
    open_folder(folder, TOY, "test").check()


def test_strangers_folder_with_work_in_it_is_left_alone(tmp_path):
    (work_folder(tmp_path, PROVENANCE) / "part").write_text("done")
    (tmp_path / "thesis.txt").write_text("years")
    before = listing(tmp_path)
    assert "contains other files already" in refusal_of(tmp_path)
    assert listing(tmp_path) == before


A_SHA = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"


def test_flipped_byte_is_found(tmp_path):
    from tfhub_blocks.records.base.digests import file_sha256

    folder = make(tmp_path / "x")
    (folder / "a").write_text("tExt")
    opened = open_folder(folder, TOY, "test")
    actual = file_sha256(folder / "a")
    problem = f"file a has sha256 {actual}"
    expected = damage_message(folder, "a", problem, f"{A_SHA}, as its step wrote it")
    for read in (opened.check, lambda: opened.file("a")):
        with pytest.raises(BlocksError) as refusal:
            read()
        assert str(refusal.value) == expected
    assert opened.file("sub/b").read_text() == "b"


def test_missing_file_is_found(tmp_path):
    folder = make(tmp_path / "x")
    (folder / "a").unlink()
    with pytest.raises(BlocksError) as refusal:
        open_folder(folder, TOY, "test")
    assert str(refusal.value) == damage_message(
        folder, "a", "file a is missing", f"sha256 {A_SHA}, as its step wrote it"
    )


def test_file_that_goes_missing_later_is_found(tmp_path):
    folder = make(tmp_path / "x")
    opened = open_folder(folder, TOY, "test")
    (folder / "a").unlink()
    with pytest.raises(BlocksError) as refusal:
        opened.file("a")
    assert str(refusal.value) == damage_message(folder, "a", "file a is missing", f"sha256 {A_SHA}")


def test_added_file_is_found(tmp_path):
    folder = make(tmp_path / "x")
    (folder / "new").write_text("text")
    with pytest.raises(BlocksError) as refusal:
        open_folder(folder, TOY, "test")
    assert str(refusal.value) == (
        f"[toy/2 {folder} > new] the lineage does not list new, which someone added after the step "
        "ended. Expected only the files that the lineage lists. Delete "
        f"{folder / 'new'}."
    )


def test_file_that_the_lineage_does_not_name_is_not_given(tmp_path):
    folder = make(tmp_path / "x")
    with pytest.raises(BlocksError) as refusal:
        open_folder(folder, TOY, "test").file("../x/a")
    assert str(refusal.value) == damage_message(
        folder, "../x/a", "the lineage does not list ../x/a", "a file in the lineage"
    )


@pytest.mark.parametrize(
    ("wanted", "remedy"),
    [
        (Format("snapshot", 2), "Pass an output folder of format snapshot/2."),
        (Format("toy", 1), "Update tfhub-blocks, which is older than this folder."),
        (Format("toy", 3), "Pass an output folder of format toy/3."),
    ],
    ids=["other kind", "newer", "older"],
)
def test_other_format_is_refused(wanted, remedy, tmp_path):
    folder = make(tmp_path / "x")
    with pytest.raises(BlocksError) as refusal:
        open_folder(folder, wanted, "evaluate")
    assert str(refusal.value) == (
        f"[evaluate > {folder}] the folder has format toy/2. Expected format {wanted}. {remedy}"
    )


def refusal_of(folder: Path, provenance: Provenance = PROVENANCE) -> str:
    with pytest.raises(BlocksError) as refusal:
        begin_folder(folder, provenance)
    return str(refusal.value)


def test_strangers_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / PARTIAL_NAME).mkdir()
    (tmp_path / PARTIAL_NAME / "mine").write_text("mine")
    (tmp_path / "thesis.txt").write_text("years")
    before = listing(tmp_path)
    assert refusal_of(tmp_path) == (
        f"[{tmp_path} > output] {tmp_path} contains other files already, such as thesis.txt. "
        "Expected a folder that is absent or empty. Choose another folder for the output, or "
        "delete this one."
    )
    assert listing(tmp_path) == before


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "x").write_text("x")
    assert "contains other files already" in refusal_of(tmp_path / "x")
    assert (tmp_path / "x").read_text() == "x"


@pytest.mark.parametrize("other", OTHERS)
def test_finished_output_of_other_work_is_refused_and_left_alone(other, tmp_path):
    folder = make(tmp_path / "x")
    # As if killed at the very last moment of finishing, where a rename is a copy and a delete.
    shutil.copy(folder / STATEMENT_NAME, folder / PENDING_NAME)
    before = listing(folder)
    assert "contains other files already" in refusal_of(folder, other)
    assert listing(folder) == before


def test_finished_output_of_the_same_work_is_made_anew(tmp_path):
    folder = make(tmp_path / "x", "one")
    make(folder, "two")
    assert open_folder(folder, TOY, "test").check().file("a").read_text() == "two"


def test_finished_output_that_someone_added_to_is_left_alone(tmp_path):
    folder = make(tmp_path / "x")
    (folder / "thesis.txt").write_text("years")
    before = listing(folder)
    assert "contains other files already" in refusal_of(folder)
    assert listing(folder) == before


@pytest.mark.parametrize("names", ["", "..", "../precious", "/", "."])
def test_list_of_remains_never_leads_outside(names, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("x")
    folder = tmp_path / "x"
    folder.mkdir()
    Lineage("made", str(TOY), {names: "0" * 64}, PROVENANCE).write(folder)
    (folder / STATEMENT_NAME).rename(folder / PENDING_NAME)
    begin_folder(folder, PROVENANCE)
    assert precious.read_text() == "x"


def test_remains_of_an_attempt_are_cleared(tmp_path):
    (begin_folder(tmp_path / "x", PROVENANCE) / "old").write_text("old")
    folder = make(tmp_path / "x")
    assert set(listing(folder)) == {"a", "sub/b", STATEMENT_NAME}


def test_existing_empty_folder_keeps_its_identity(tmp_path):
    """A mount cannot be renamed or replaced."""
    inode = tmp_path.stat().st_ino
    make(tmp_path)
    make(tmp_path)
    assert tmp_path.stat().st_ino == inode
    open_folder(tmp_path, TOY, "test").check()


def test_written_file_is_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / "sub" / "x"
    write_file(path, b"one")

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk"):
        write_file(path, b"two")
    assert path.read_bytes() == b"one"


def test_scratch_beside_the_files_of_a_killed_attempt_is_cleared(tmp_path):
    """A library's temporary folder, in the parent of the folder that it was given."""
    content = begin_folder(tmp_path, PROVENANCE)
    scratch = content.parent / "tmp1234"
    (scratch / "saved_model").mkdir(parents=True)
    (scratch / "saved_model" / "half").write_text("half")
    make(tmp_path)
    assert set(listing(tmp_path)) == {"a", "sub/b", STATEMENT_NAME}


def test_link_that_a_step_writes_is_refused(tmp_path):
    content = begin_folder(tmp_path / "x", PROVENANCE)
    (content / "a").symlink_to(__file__)
    with pytest.raises(BlocksError, match="'a' is a link"):
        finish_folder(tmp_path / "x", "made", TOY, PROVENANCE)


def test_staged_copy_is_the_statements_list(tmp_path):
    folder = make(tmp_path / "x")
    digests = stage_content(folder, tmp_path / "copy")
    assert set(digests) == {"a", "sub/b", STATEMENT_NAME}
    assert listing(tmp_path / "copy") == listing(folder)


def test_file_that_changes_while_it_is_staged_is_refused(tmp_path):
    folder = make(tmp_path / "x")
    opened = open_folder(folder, TOY, "test").check()
    (folder / "a").write_text("tExt")
    with pytest.raises(BlocksError, match="file a has sha256"):
        opened.stage(tmp_path / "copy")


def test_folder_without_a_statement_is_staged_as_it_is(tmp_path):
    folder = tmp_path / "x"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_text("a")
    (folder / "b").symlink_to("sub/a")
    stage_content(folder, tmp_path / "copy")
    assert listing(tmp_path / "copy") == {"sub/a": "a", "b": "a"}
    assert not (tmp_path / "copy" / "b").is_symlink()


def test_file_is_staged(tmp_path):
    (tmp_path / "a").write_text("a")
    assert list(stage_content(tmp_path / "a", tmp_path / "copy")) == ["a"]
    assert (tmp_path / "copy").read_text() == "a"


def test_output_on_a_mount_is_built_on_the_nodes_disk_and_leaves_nothing_there(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(node_disk, "is_mounted", lambda _: True)
    monkeypatch.setattr(node_disk.tempfile, "tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    folder = tmp_path / "mounted"
    content = begin_folder(folder, PROVENANCE)
    (content / "a").write_text("a")
    # As fine_tune keeps the activations of one worker.
    activations = scratch_folder(work_folder(folder, PROVENANCE)) / "activations"
    activations.mkdir(parents=True)
    assert [path.name for path in folder.iterdir()] == [WORK_NAME]

    finish_folder(folder, "toy", TOY, PROVENANCE)

    assert open_folder(folder, TOY).file("a").read_text() == "a"
    assert sorted(path.name for path in folder.iterdir()) == ["a", STATEMENT_NAME]
    assert list((tmp_path / "node").iterdir()) == []
