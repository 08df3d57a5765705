"""monitor_drift: looks at new items, as Azure runs them, and mistakes, in one process."""

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tfhub_blocks.compute.monitoring import monitoring_run
from tfhub_blocks.compute.monitoring.monitoring_run import MonitoringOptions, run_monitoring
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance, read_lineage
from tfhub_blocks.records.base.shards import ShardWriter
from tfhub_blocks.records.formats.drift_records import DriftRecord, read_drift
from tfhub_blocks.records.formats.features import (
    FEATURES,
    features_schema,
    open_features,
    vector_column,
)

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "2026-11-30T10:00:00.000Z")


def paint(folder: Path, count: int, seed: int, light: float = 1.0) -> Path:
    """Write pictures like those of ``coloured_snapshot``, and darker ones."""
    random = np.random.default_rng(seed)
    for index in range(count):
        channel = index % 3
        tint = 90 + random.normal(0, 30, 3) + 60 * (np.arange(3) == channel)
        pixels = light * (tint + random.normal(0, 40, (20, 20, 3)))
        place = folder / ("east", "west")[index % 2] / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(place)
    return folder


@pytest.fixture(scope="session")
def trained(
    coloured_snapshot: Path, imported_encoder: Path, execute_step, tmp_path_factory
) -> dict[str, Path]:
    """The model and the features of a training run."""
    folder = tmp_path_factory.mktemp("trained")
    given = {"snapshot": coloured_snapshot, "encoder": imported_encoder, "engine": "tensorflow"}
    done = execute_step("extract_features", given, {"features": folder / "features"})
    assert done.returncode == 0, done.stderr
    given = {"features": folder / "features", "encoder": imported_encoder, "strengths": "1"}
    done = execute_step("train_head", given, {"model": folder / "model"})
    assert done.returncode == 0, done.stderr
    return {"model": folder / "model", "features": folder / "features"}


@pytest.mark.slow
def test_predictions_with_features_are_compared_and_a_change_raises_the_alarm(
    trained: dict[str, Path], coloured_snapshot: Path, execute_step, tmp_path: Path
) -> None:
    records = []
    for number, light in enumerate((1.0, 0.6)):
        data = paint(tmp_path / f"data{number}", 60, number, light)
        given = {"data": data, "model": trained["model"], "keep_features": True}
        out = tmp_path / f"predictions{number}"
        done = execute_step("score_batch", {**given, "engine": "tensorflow"}, {"predictions": out})
        assert done.returncode == 0, done.stderr
        given = {**trained, "current": out, "snapshot": coloured_snapshot, "data": data}
        if records:
            given["earlier"] = tmp_path / "look0"
        done = execute_step("monitor_drift", given, {"monitoring": tmp_path / f"look{number}"})
        assert done.returncode == 0, done.stderr
        records.append(read_drift(tmp_path / f"look{number}/drift.json", "test"))
        assert f"{records[-1].verdict}: look {number + 1}, 60 new items" in done.stdout

    still, moved = records
    assert still.verdict != "alarm"
    assert moved.looks[0] == still.looks[0]
    assert moved.verdict == "alarm"
    assert moved.shift["p"] <= 0.001
    assert moved.slices["folder east"] <= 0.05
    assert moved.shift["reference_items"] == still.shift["reference_items"] + 60
    statement = json.loads((tmp_path / "look1/drift.json").read_text())
    digest = read_lineage(trained["model"]).digest
    assert statement["subject"][0]["digest"]["dirHash"] == digest
    assert statement["predicate"]["result"] == "FAILED"
    lineage = read_lineage(tmp_path / "look1")
    assert lineage.material("current").digest == read_lineage(tmp_path / "predictions1").digest
    assert lineage.provenance.facts["verdict"] == "alarm"
    page = (tmp_path / "look1/report.html").read_text()
    assert "✗ Alarm" in page
    assert page.count("data:image/png") >= 2 + 2 * 16, "each item beside its neighbour"
    assert "http://" not in page


@pytest.fixture
def look(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., DriftRecord]:
    """``look(current, name, **inputs)`` runs the step's body in this process."""
    monkeypatch.setattr(monitoring_run, "track", lambda *_: None)

    def run(
        current: Path,
        name: str = "look",
        earlier: Path | None = None,
        labels: Path | None = None,
        options: MonitoringOptions = MonitoringOptions(labels_wanted=12),  # noqa: B008
        **others: Path,
    ) -> DriftRecord:
        paths = {**trained, "current": current, "monitoring": tmp_path / name, **others}
        step_run = StepRun("monitor_drift", paths, PROVENANCE)
        run_monitoring(step_run, earlier, labels, None, None, options)
        step_run.finish()
        return read_drift(tmp_path / name / "drift.json", "test")

    return run


@pytest.fixture
def write_items(trained: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """``write_items(name, change, time, count)`` writes changed features of training items.

    Their ids are new, unless ``is_new`` is false, or ``like`` names items with the same ids.
    """
    features = open_features(trained["features"])
    vectors, _, ids = features.split("train")

    def write(
        name: str,
        change: Callable[[np.ndarray], np.ndarray] = lambda it: it * 1.001,
        time: str = "2026-11-30T10:00:00.000Z",
        count: int = 60,
        is_new: bool = True,
        like: str = "",
        **manifest: Any,
    ) -> Path:
        made = [hashlib.sha256(f"{like or name} {n}".encode()).hexdigest() for n in range(count)]
        found = sorted(made) if is_new else list(ids)[:count]
        folder = begin_folder(tmp_path / name, PROVENANCE)
        schema = features_schema(features.manifest.dimension, "float32")
        with ShardWriter(folder, schema) as writer:
            columns = [
                pa.array(found),
                pa.array(["red"] * count),
                pa.array(["train"] * count),
                vector_column(change(np.asarray(vectors, np.float32)[:count])),
            ]
            writer.write(pa.record_batch(columns, schema=schema))
        changed = {"items": count, "shards": tuple(writer.names), "dtype": "float32", **manifest}
        replace(features.manifest, **changed).write(folder)
        finish_folder(tmp_path / name, "features", FEATURES, replace(PROVENANCE, finished=time))
        return tmp_path / name

    return write


def test_items_of_a_look_count_once_and_earlier_looks_join_the_pool(look, write_items, tmp_path):
    first = write_items("first")
    one = look(first, "one")
    two = look(write_items("second"), "two", earlier=tmp_path / "one")
    assert [it.items for it in two.looks] == [60, 60]
    again = look(tmp_path / "second", "again", earlier=tmp_path / "two")
    assert again == two, "a look at the same items is the same look"
    repeated = look(first, "repeated", earlier=tmp_path / "one")
    assert repeated == one
    later = write_items("later", time="2026-11-30T11:00:00.000Z", like="first")
    assert look(later, "later_look", earlier=tmp_path / "one").looks == one.looks, (
        "the items were scored again, and keep the time of their first look"
    )
    with pytest.raises(BlocksError, match="0 of 60 items are new"):
        look(first, "third", earlier=tmp_path / "two")


def test_labels_from_the_top_of_the_list_measure_the_accuracy(look, write_items, tmp_path):
    items = write_items("items")
    options = MonitoringOptions(labels_wanted=12, least_accuracy=0.999)
    look(items, "asked", options=options)
    rows = list(csv.DictReader((tmp_path / "asked/to_label.csv").open()))
    assert len(rows) == 12

    def measured(name, fill):
        path = tmp_path / f"{name}.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "label": fill(n)} for n, row in enumerate(rows))
        return look(items, f"look_{name}", labels=path, options=options)

    some = measured("some", lambda n: rows[n]["answer"] if n < 8 else "")
    assert some.measured["labels"] == 8
    assert some.measured["low"] < some.measured["value"]
    wrong = measured("wrong", lambda _: "nothing of the kind")
    # The chances depend on the machine's arithmetic; the bound of 0 right answers on them alone.
    weights = np.array([1 / float(row["chance"]) for row in rows])
    labels = weights.sum() ** 2 / (weights**2).sum()
    bound = max(wrong.measured["value"], 1 - 0.025 ** (1 / labels))
    assert wrong.measured["low"] == 0
    assert wrong.measured["high"] == pytest.approx(bound, abs=1e-3)
    assert any("The accuracy is too low" in reason for reason in wrong.reasons)
    assert measured("none", lambda _: "").measured is None
    with pytest.raises(BlocksError, match="number 3 of the list, has no label"):
        measured("hole", lambda n: "" if n == 2 else "red")
    other = tmp_path / "other.csv"
    other.write_text("id,label\nabc,red\n")
    with pytest.raises(BlocksError, match="item abc was not asked for"):
        look(items, "other", labels=other)
    other.write_text("name\nabc\n")
    with pytest.raises(BlocksError, match="lacks the column id"):
        look(items, "table", labels=other)


def test_mistakes_are_one_line_and_leave_nothing(
    look, write_items, trained, coloured_snapshot, colours_model, tmp_path
):
    fine = write_items("fine", time="2026-11-30T12:00:00.000Z")
    look(fine, "before")
    cases = {
        "another encoder": ({"encoder_digest": "f" * 64}, {}, "the encoder with digest ffff"),
        "another decoder": ({"preprocessing": {"decoder": 9}}, {}, "decoded or resized"),
        "too few": ({"count": 9}, {}, "9 of 9 items are new"),
        "not finite": ({"change": lambda it: it * np.nan}, {}, "NaN or infinite"),
        "training items": ({"is_new": False}, {}, "0 of 60 items are new"),
        "clock": (
            {"time": "2026-11-30T11:00:00.000Z"},
            {"earlier": tmp_path / "before"},
            "before those of the last look",
        ),
        "no lineage": ({}, {"model": colours_model}, "names no features"),
        "no features": ({}, {"current": coloured_snapshot}, "the folder has format snapshot/"),
    }
    for name, (changes, inputs, problem) in cases.items():
        current = write_items(name.replace(" ", "_"), **changes)
        inputs = {"current": current, **inputs}
        with pytest.raises(BlocksError) as error:
            look(inputs.pop("current"), "output", **inputs)
        assert problem in str(error.value), name
        assert "\n" not in str(error.value)
        assert not (tmp_path / "output").exists(), name


def test_features_of_another_training_are_refused(look, write_items, tmp_path):
    items = write_items("items")
    with pytest.raises(BlocksError, match="the model was trained on the features with digest"):
        look(items, features=items)


def test_edited_record_is_not_read(look, write_items, tmp_path):
    look(write_items("items"))
    path = tmp_path / "look/drift.json"
    path.write_text(path.read_text().replace('"PASSED"', '"FAILED"'))
    with pytest.raises(BlocksError, match="is not a valid drift record"):
        read_drift(path, "test")
