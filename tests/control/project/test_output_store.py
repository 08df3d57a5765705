import json
import shutil
from pathlib import Path

import pytest

from tfhub_blocks.control.project.output_store import Store, content_digest
from tfhub_blocks.records.base.digests import file_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Lineage, Provenance

TYPES = {"made": "uri_folder", "note": "uri_file"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def write(attempt: Path) -> None:
    (attempt / "made" / "f").write_text("content")
    state(attempt / "made")
    (attempt / "note").write_text("note")


def state(folder: Path, finished: str = "") -> None:
    """Write the statement of a folder, of the time that it was finished."""
    made = Provenance("make", {}, (), "0" * 64, "0" * 64, "", finished)
    Lineage("made", "toy/1", {"f": file_sha256(folder / "f")}, made).write(folder)


def keep(store):
    with store.locked("key"):
        attempt = store.begin("key", TYPES)
        write(attempt)
        return store.finish("key", attempt, "step", TYPES, 1.5)


def test_output_folders_exist_beforehand_and_files_do_not(store):
    attempt = store.begin("key", TYPES)
    assert [path.name for path in attempt.iterdir()] == ["made"]


def test_what_was_kept_is_found(store):
    kept = keep(store)
    found = store.find("key")
    assert found == kept
    assert found.seconds == 1.5
    assert found.outputs["note"].read_text() == "note"
    assert store.find("other") is None


def test_digest_of_content_leaves_out_the_lineage_which_has_times(store):
    made = keep(store).outputs["made"]
    before = content_digest(made)
    state(made, "another time")
    assert content_digest(made) == before
    (made / "f").write_text("other")
    assert content_digest(made) != before


DAMAGES = {
    "content": lambda key: (key / "made" / "f").write_text("contenT"),
    "lineage": lambda key: (key / "made" / "lineage.json").write_text("lineagE"),
    "gone file": lambda key: (key / "made" / "f").unlink(),
    "gone output": lambda key: shutil.rmtree(key / "made"),
    "added file": lambda key: (key / "made" / "new").touch(),
    "added link": lambda key: (key / "made" / "new").symlink_to(key),
    "no record": lambda key: (key / "step.json").unlink(),
    "cut record": lambda key: (key / "step.json").write_text("{"),
    "other record": lambda key: (key / "step.json").write_text("[3]"),
    "old record": lambda key: (key / "step.json").write_text(json.dumps({"digests": {"made": 1}})),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_outputs_are_told_and_removed(damage, store):
    keep(store)
    DAMAGES[damage](store.folder / "key")
    told = []
    assert store.find("key", told.append) is None
    assert len(told) == 1
    assert told[0].endswith("was changed after the step wrote it; the step runs again")
    assert not (store.folder / "key").exists()


def test_absent_key_is_no_damage(store):
    told = []
    assert store.find("key", told.append) is None
    assert told == []


def test_what_a_killed_attempt_left_is_not_taken_and_cleared(store):
    left = store.begin("key", TYPES)
    write(left)
    assert store.find("key") is None
    keep(store)
    assert not left.exists()
    assert store.find("key") is not None


def test_output_that_is_absent_or_unfinished_is_not_kept(store):
    attempt = store.begin("key", TYPES)
    with pytest.raises(BlocksError, match="the step did not write output note"):
        store.finish("key", attempt, "step", TYPES, 1.0)
    write(attempt)
    (attempt / "made" / ".partial").mkdir()
    with pytest.raises(BlocksError, match="before output made was complete"):
        store.finish("key", attempt, "step", TYPES, 1.0)
    assert store.find("key") is None


def test_key_is_held_by_one_and_waiting_can_be_given_up(store):
    def give_up():
        raise InterruptedError

    def take():
        with store.locked("key", give_up):
            pass

    with store.locked("key"), pytest.raises(InterruptedError):
        take()
    take()


def keep_part(attempt, key="k" * 40):
    part = attempt / "made" / ".work" / key / "part"
    part.parent.mkdir(parents=True)
    part.write_text("done")


def test_work_of_a_failed_attempt_is_in_the_next_one_and_nothing_else(store):
    attempt = store.begin("key", TYPES)
    write(attempt)
    keep_part(attempt)
    (attempt / "made" / ".work" / "workers" / "r").mkdir(parents=True)
    store.discard(attempt, keep_work=True)
    following = store.begin("key", TYPES)
    kept = [path.relative_to(following).as_posix() for path in following.rglob("*")]
    assert sorted(kept) == sorted(
        ["made", "made/.work", f"made/.work/{'k' * 40}", f"made/.work/{'k' * 40}/part"]
    )
    assert list(store.folder.glob("key.attempt-*")) == [following]
    assert list(store.begin("other", TYPES).rglob("part")) == []


def test_work_is_not_kept_where_nobody_takes_it_up(store):
    attempt = store.begin("key", TYPES)
    (attempt / "made" / ".work" / "workers" / "r").mkdir(parents=True)
    store.discard(attempt, keep_work=True)
    assert not attempt.exists()
    attempt = store.begin("key", TYPES)
    keep_part(attempt)
    store.discard(attempt, keep_work=False)
    assert not attempt.exists()


def test_work_is_not_taken_up_where_all_is_made_again(store):
    keep_part(store.begin("key", TYPES))
    assert list(store.begin("key", TYPES, take_up=False).rglob("part")) == []


def test_work_that_outlived_its_output_is_removed_from_what_is_kept(store):
    with store.locked("key"):
        attempt = store.begin("key", TYPES)
        write(attempt)
        before = content_digest(attempt / "made")
        keep_part(attempt)
        with pytest.raises(BlocksError, match=r"the lineage does not list \.work/"):
            content_digest(attempt / "made")
        made = store.finish("key", attempt, "step", TYPES, 1.5)
    assert made.digests["made"] == before
    assert not (made.outputs["made"] / ".work").exists()
    (made.outputs["made"] / "lineage.json").unlink()
    keep_part(made.outputs["made"].parent)
    assert content_digest(made.outputs["made"]) != before  # of a folder of somebody else's, all
