import errno
import json
import os
import signal
from pathlib import Path

import pytest
from toy_project import wait_for

from tfhub_blocks.records.base import shards
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import PARTIAL_NAME
from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.formats.snapshots import open_snapshot


def write_rows(folder: Path, rows: int, filler: str = "") -> Path:
    folder.mkdir()
    with (folder / "rows.jsonl").open("w") as file:
        for row in range(rows):
            file.write(json.dumps({"text": f"row {row} {filler}", "label": row % 2}) + "\n")
    return folder


def test_step_writes_a_snapshot_and_says_what_is_in_it(tmp_path, execute_step):
    source = write_rows(tmp_path / "source", 200)
    with (source / "rows.jsonl").open("a") as file:
        file.write('{"text": "row 0 ", "label": 0}\n{"text": "", "label": 1}\n')
    run = execute_step(
        "snapshot_data",
        {"source": source, "max_rejected_fraction": "0.1", "test_fraction": "0"},
        {"snapshot": tmp_path / "out"},
    )
    assert (run.returncode, run.stderr) == (0, "")
    snapshot = open_snapshot(tmp_path / "out", "test")
    snapshot.folder.check()
    manifest = snapshot.manifest
    sizes = {split: sum(counts.values()) for split, counts in manifest.counts.items()}
    assert (
        f"200 text items of 2 classes: train {sizes['train']}, validation {sizes['validation']}, "
        f"test 0; 1 duplicates, 1 rejected; digest {manifest.digest}" in run.stdout
    )
    assert "progress: 202/202 items" in run.stdout
    facts = dict(snapshot.folder.lineage.provenance.facts)
    environment = facts.pop("environment")
    assert environment["environment"].startswith("tfhub-blocks-cpu:")
    assert "tensorflow" not in environment
    assert facts.pop("machine")["cores"] >= 1
    assert facts == {"snapshot_digest": manifest.digest, "items": 200}


def test_warnings_are_printed_for_the_engine(tmp_path, execute_step):
    source = tmp_path / "source"
    source.mkdir()
    labels = ["cat"] * 50 + ["Cat"] * 50
    rows = [f"text {row},{label}" for row, label in enumerate(labels)]
    (source / "rows.csv").write_text("\n".join(["text,label", *rows]))
    run = execute_step("snapshot_data", {"source": source}, {"snapshot": tmp_path / "out"})
    assert run.returncode == 0
    assert (
        "warning: the labels 'Cat', 'cat' differ only in case or white space: use one label if "
        "they mean one class\n" in run.stderr
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"modality": "video"},
            "[snapshot_data > modality] 'video' is not allowed. Expected one of auto, image, "
            "text, audio, bytes. Set modality to one of these.",
        ),
        (
            {"validation_fraction": "0.5", "test_fraction": "0.5"},
            "[snapshot_data > validation_fraction] 0.5 and test_fraction 0.5 leave no items "
            "for training. Expected a sum below 1. Set smaller values for validation_fraction and "
            "test_fraction.",
        ),
        (
            {"modality": "image"},
            "[snapshot_data > source] the table rows.jsonl has no column path; its columns are "
            "text, label. Expected the columns path or text, and label. Add the column path, or "
            "rename a column.",
        ),
    ],
)
def test_mistake_is_one_line_and_no_traceback(tmp_path, execute_step, inputs, message):
    source = write_rows(tmp_path / "source", 10)
    run = execute_step("snapshot_data", {"source": source} | inputs, {"snapshot": tmp_path / "out"})
    assert (run.returncode, run.stderr) == (1, f"error: {message}\n")
    with pytest.raises(BlocksError):
        open_snapshot(tmp_path / "out", "test")


STANDS_STILL = """

def stand_still(*_):
    import time

    time.sleep(600)

ShardWriter.close = stand_still
"""


def test_killed_step_leaves_nothing_finished_and_runs_again(tmp_path, start_step, execute_step):
    source = write_rows(tmp_path / "source", 12_000, "x" * 1000)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start_step(
        "snapshot_data", {"source": source}, {"snapshot": killed}, (shards, STANDS_STILL)
    )
    # Killed while it writes shards, the last thing that it does before it finishes.
    wait_for(lambda: list((killed / PARTIAL_NAME).glob("content/shards/*")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert (killed / PARTIAL_NAME / "content/shards").is_dir()
    with pytest.raises(BlocksError, match=r"the folder has no lineage\.json"):
        open_snapshot(killed, "test")
    for folder in (killed, whole):
        run = execute_step("snapshot_data", {"source": source}, {"snapshot": folder})
        assert run.returncode == 0, run.stderr
        open_snapshot(folder, "test").folder.check()
    assert not (killed / PARTIAL_NAME).exists()
    assert read_lineage(killed).files == read_lineage(whole).files


@pytest.mark.parametrize("room", ["for nothing", "for the spilled contents only"])
def test_full_disk_is_one_line_and_leaves_nothing_finished(
    tmp_path, execute_step, small_disk, room
):
    rows = 12_000 if room == "for nothing" else 5_000
    source = write_rows(tmp_path / "source", rows, "x" * 1000)
    run = execute_step("snapshot_data", {"source": source}, {"snapshot": small_disk / "out"})
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].endswith(
        "the disk is full. Expected room for the outputs. Free some space and run the step again; "
        "finished parts are kept."
    )
    assert os.strerror(errno.ENOSPC) in run.stderr
    with pytest.raises(BlocksError):
        open_snapshot(small_disk / "out", "test")
