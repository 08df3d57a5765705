"""The items whose answer differs between two runs, with the intervals of paired differences."""

import numpy as np

from tfhub_blocks.compute.evaluation.answer_changes import answer_changes, evaluated_run
from tfhub_blocks.compute.evaluation.evaluation_report import FORMAT
from tfhub_blocks.compute.evaluation.stored_answers import write_answers
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.snapshots import open_snapshot

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


def report(folder, ids, probabilities):
    written = begin_folder(folder, PROVENANCE)
    write_answers(written, ids, np.array(probabilities, np.float32))
    finish_folder(folder, "report", FORMAT, PROVENANCE)
    return folder


def test_changed_answers_of_two_runs(tmp_path, colours_model, coloured_snapshot):
    labels = open_model(colours_model, "test")[1]["labels"]
    index = open_snapshot(coloured_snapshot).index().slice(0, 30).to_pylist()
    right = np.eye(3)[[labels.index(row["label"]) for row in index]] * 0.7 + 0.1
    wrong = np.roll(right, 1, axis=1)
    ids = [row["id"] for row in index]
    first = report(tmp_path / "first", ids, np.concatenate([wrong[:6], right[6:]]))
    # The second run lacks an item, breaks one and fixes five.
    second = report(
        tmp_path / "second", ids[:-1], np.concatenate([wrong[:1], right[1:-2], wrong[-2:-1]])
    )
    outputs = {"model": colours_model, "data": coloured_snapshot}
    runs = [
        evaluated_run(path.name, {**outputs, "report": path, "other": tmp_path})
        for path in (first, second)
    ]
    found = answer_changes(*runs)
    assert (found.items, len(found.changed)) == (29, 6)
    assert [it.verdict for it in found.changed] == ["broken"] + ["fixed"] * 5
    accuracy = found.estimates["accuracy"]
    assert abs(accuracy.value - 4 / 29) < 1e-9
    assert accuracy.low < 0 < accuracy.value < accuracy.high  # 5 against 1 decide nothing
    lines = list(found.lines())
    assert lines[0] == "29 test items in both runs; 6 answers changed: 5 fixed, 1 broken, 0 other"
    assert lines[1].startswith("  accuracy                     +0.1379 [-")
    page = found.page([("metric", "<b>accuracy</b>", "0.8", "0.93")])
    assert page.count("data:image/png;base64,") == 6
    assert "<b>accuracy" not in page
    assert "<script" not in page


def test_runs_without_common_items_or_labels_have_no_changes(
    tmp_path, colours_model, coloured_snapshot
):
    outputs = {"model": colours_model, "data": coloured_snapshot}
    one = report(tmp_path / "one", ["0" * 64], [[1.0, 0.0, 0.0]])
    run = evaluated_run("one", {**outputs, "report": one})
    assert answer_changes(run, run) is None
    assert evaluated_run("none", outputs) is None
