"""The champion: what is refused as one, what it may have seen, and itself against itself."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tfhub_blocks.compute.evaluation.champion import (
    Model,
    check_min_gain,
    check_unseen,
    compare,
    open_champion,
)
from tfhub_blocks.compute.evaluation.classification_metrics import measure
from tfhub_blocks.compute.evaluation.evaluation_run import answer_split, hold_thresholds
from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Provenance, read_lineage
from tfhub_blocks.records.formats.evidence import Evidence, Threshold, read_evidence
from tfhub_blocks.records.formats.models import MODEL, PYFUNC, open_model, write_training_items
from tfhub_blocks.records.formats.snapshots import open_snapshot

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
RULE = {
    "kind": "salted-sha256",
    "salt": "splits-1",
    "validation_fraction": 0.15,
    "test_fraction": 0.15,
}


def model(folder, labels=("a", "b"), snapshot="s", splits=None, kind=MODEL, training=None):
    partial = begin_folder(folder, PROVENANCE)
    metadata = {"labels": list(labels), "encoder_digest": "e", "snapshot_digest": snapshot}
    (partial / "MLmodel").write_text(json.dumps({"metadata": metadata}))
    if training:
        write_training_items(partial, training)
    facts = {"splits": splits} if splits else {}
    finish_folder(folder, "model", kind, replace(PROVENANCE, facts=facts))
    return folder


def opened(folder):
    return Model(*open_model(folder, "test"))


def test_what_cannot_be_a_champion_is_told_in_a_line(tmp_path, golden):
    ours = opened(model(tmp_path / "model"))
    changed = model(tmp_path / "changed")
    (changed / "MLmodel").write_text("{}")
    (tmp_path / "empty").mkdir()
    told = []
    for folder in (
        tmp_path / "empty",
        changed,
        model(tmp_path / "somebodys", kind=PYFUNC),
        model(tmp_path / "others", labels=("b", "c", "d")),
        model(tmp_path / "fewer", labels=("a",)),
    ):
        with pytest.raises(BlocksError) as refused:
            open_champion(folder, ours)
        told.append(str(refused.value))
    with pytest.raises(BlocksError) as refused:
        check_min_gain(0.01, None)
    told.append(str(refused.value))
    sha256 = files_sha256(changed)["MLmodel"]
    made = read_lineage(changed).files["MLmodel"]
    text = "\n".join(told).replace(str(tmp_path), "FOLDER")
    golden("champions", text.replace(sha256, "FOUND").replace(made, "MADE") + "\n")


@pytest.mark.parametrize(
    ("snapshot", "splits", "seen"),
    [
        ("same", None, False),
        ("other", None, True),
        ("other", RULE, False),
        ("other", RULE | {"salt": "splits-2"}, True),
        ("other", RULE | {"test_fraction": 0.2}, False),
        ("other", RULE | {"test_fraction": 0.1}, True),
        ("other", {"kind": "given"}, True),
    ],
)
def test_test_items_may_have_been_seen_unless_the_splits_rule_it_out(
    snapshot, splits, seen, tmp_path, coloured_snapshot
):
    data = open_snapshot(coloured_snapshot, "test")
    data = replace(data, manifest=replace(data.manifest, split_rule=RULE))
    digest = data.manifest.digest if snapshot == "same" else "another"
    champion = opened(model(tmp_path / "model", snapshot=digest, splits=splits))
    assert champion.may_have_seen(data) is seen


def test_test_items_that_a_model_learned_from_are_refused(tmp_path, coloured_snapshot):
    data = open_snapshot(coloured_snapshot, "test")
    index = data.index().to_pylist()
    learned = [row["id"] for row in index if row["split"] != "test"]
    tested = [row["id"] for row in index if row["split"] == "test"]
    honest = opened(model(tmp_path / "honest", training=learned))
    check_unseen(honest, tested)
    assert not honest.may_have_seen(data)
    leaking = opened(model(tmp_path / "leaking", training=[*learned, tested[4]]))
    with pytest.raises(BlocksError, match=f"learned from 1 of the {len(tested)} .*{tested[4]}"):
        check_unseen(leaking, tested)
    assert leaking.may_have_seen(data)
    check_unseen(opened(model(tmp_path / "old")), tested)  # release 0.1 recorded no items


def test_splits_that_a_source_gives_rule_nothing_out(tmp_path, coloured_snapshot):
    data = open_snapshot(coloured_snapshot, "test")
    given = replace(data, manifest=replace(data.manifest, split_rule={"kind": "given"}))
    champion = opened(model(tmp_path / "model", splits={"kind": "given"}))
    assert champion.may_have_seen(given)


def test_model_with_a_runtime_is_compared_with_itself_as_equal(
    colours_model, coloured_snapshot, tmp_path
):
    data, ours = open_snapshot(coloured_snapshot, "test"), opened(colours_model)
    served = shutil.copytree(colours_model, tmp_path / "served")
    (served / "runtime.toml").write_text("")
    files = files_sha256(served)
    del files[STATEMENT_NAME]
    Lineage("served_model", str(MODEL), files, ours.folder.lineage.provenance).write(served)
    champion = open_champion(served, ours)
    answers = answer_split(colours_model, ours.metadata["labels"], data, "test", lambda *_: None)
    found = compare(ours, champion, answers, data, 100, lambda *_: pytest.fail("it is asked again"))
    assert (found.champion, found.may_have_seen) == (champion.digest, ())
    assert (found.only_model_right, found.only_champion_right) == (0, 0)
    assert all(set(change.values()) == {0} for change in found.changes.values())
    assert found.verdict == "the difference between model and champion is within its error"

    metrics = measure(answers.probabilities, answers.targets, answers.labels, 100)
    assert found.metrics == metrics.summary()
    held = hold_thresholds(metrics, {}, found, 0.0)
    assert held[3:] == (Threshold("min_accuracy_gain", 0.0, 0.0, True),)
    assert [each.name for each in held[:2]] == ["min_test_items", "min_class_test_items"]
    assert not hold_thresholds(metrics, {}, found, 0.01)[3].met
    assert not hold_thresholds(metrics, {}, min_test_items=1000)[0].met
    assert not hold_thresholds(metrics, {}, min_class_test_items=1000)[1].met
    assert [each.met for each in hold_thresholds(None, {}, min_test_items=0)] == [False]
    proof = Evidence("m", {"snapshot": data.manifest.digest}, {}, held, comparison=found)
    proof.write(tmp_path / "evidence.json")
    assert read_evidence(tmp_path / "evidence.json", "test") == proof
    assert list(proof.contradictions()) == []
    assert np.isfinite([it["value"] for it in found.metrics.values()]).all()
