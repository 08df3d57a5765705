"""train_head, evaluate and register_model, run as Azure would on what the earlier steps made."""

import io
import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, log_loss

from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance, read_lineage
from tfhub_blocks.records.formats.evidence import Threshold, read_evidence
from tfhub_blocks.records.formats.features import open_features
from tfhub_blocks.records.formats.models import MODEL, open_model, write_feature_twins
from tfhub_blocks.records.formats.snapshots import open_snapshot
from tfhub_blocks.records.pins.pins import read_pin

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
COLOURS = {"blue": (60, 90, 200), "green": (70, 180, 60), "red": (210, 60, 60)}


def write_images(folder: Path, each: int = 60) -> Path:
    """A folder of noisy plain images for each colour, hard enough to be got wrong at times."""
    random = np.random.default_rng(7)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for index in range(each):
            tint = np.array(colour) + random.normal(0, 55, 3)
            pixels = np.clip(tint + random.normal(0, 30, (24, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{index}.png")
    return folder


@dataclass(frozen=True)
class Chain:
    """The outputs of one run through all steps but the last."""

    folder: Path

    def __getattr__(self, port: str) -> Path:
        return self.folder / port


@pytest.fixture(scope="module", autouse=True)
def tracking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(folder / "artifacts"))
        yield folder / "mlflow.db"


@pytest.fixture(scope="module")
def chain(tmp_path_factory, execute_step, imported_encoder) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    made = Chain(folder)
    source = write_images(folder / "source")
    (source / "ATTRIBUTION.txt").write_text("Colours by nobody. CC0\n\nmore\n")
    with Image.open(source / "red/0.png") as image:
        image.save(source / "red/again.png", compress_level=0)
        image.putalpha(200)
        image.save(source / "red/transparent.png")
    for name, inputs, outputs in [
        ("snapshot_data", {"source": source}, ["snapshot"]),
        (
            "extract_features",
            {"snapshot": made.snapshot, "encoder": imported_encoder},
            ["features"],
        ),
        ("train_head", {"features": made.features, "encoder": imported_encoder}, ["model"]),
        (
            "evaluate",
            {"model": made.model, "snapshot": made.snapshot, "min_accuracy": 0.5},
            ["report", "evidence"],
        ),
    ]:
        run = execute_step(name, inputs, {port: folder / port for port in outputs})
        assert run.returncode == 0, run.stderr
    return made


@pytest.fixture(scope="module")
def champion(chain, write_test_model, imported_encoder) -> Path:
    return write_test_model(chain.folder / "champion", imported_encoder, chain.snapshot, 1e6)


@pytest.fixture(scope="module")
def compared(chain, champion, execute_step) -> Chain:
    """An evaluation with a champion, which misses what was asked of it."""
    folder = chain.folder / "compared"
    given = {"model": chain.model, "champion": champion, "snapshot": chain.snapshot}
    asked = {"max_log_loss": 0.0001, "min_accuracy_gain": -0.5}
    ports = {port: folder / port for port in ("report", "evidence")}
    run = execute_step("evaluate", given | asked, ports)
    assert run.returncode == 0, run.stderr
    assert "max_log_loss 0.0001" in run.stdout
    assert read_evidence(folder / "evidence", "test").comparison.told() in run.stdout
    return Chain(folder)


def test_model_carries_the_pin_of_its_encoder(chain, imported_encoder):
    assert read_pin(chain.model / "encoder.toml") == read_pin(imported_encoder / "encoder.toml")


def test_lineage_says_how_the_head_was_found(chain):
    facts = read_lineage(chain.model).provenance.facts
    assert facts["method"] == "held"
    assert facts["splits"] == open_snapshot(chain.snapshot, "test").manifest.split_rule
    assert "MiB are kept in memory" in facts["reason"]
    assert {record["strength"] for record in facts["sweep"]} > {facts["strength"]}


def items_of(chain: Chain, split: str) -> tuple[list[bytes], list[str], list[str]]:
    contents, labels, ids = [], [], []
    for batch in open_snapshot(chain.snapshot, "test").batches():
        for row in batch.to_pylist():
            if row["split"] == split:
                contents.append(row["content"])
                labels.append(row["label"])
                ids.append(row["id"])
    return contents, labels, ids


LOAD_ELSEWHERE = """
import sys
sys.modules["tfhub_blocks"] = sys.modules["tensorflow_hub"] = None  # as if not installed
import json, mlflow, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model("model")
contents = [open(path, "rb").read() for path in json.load(open("paths.json"))]
answers = model.predict(contents)
same = model.predict(pd.DataFrame({"contents": contents}))
assert (answers["label"] == same["label"]).all()
np.save("probabilities.npy", np.array(answers["probabilities"].tolist()))
print(json.dumps({"labels": answers["label"].tolist(), "order": model.metadata.metadata["labels"]}))
"""


def test_model_answers_alone_as_the_cached_features_do(chain, imported_encoder, tmp_path):
    """In a process and a folder that never saw the encoder, and to 1e-5 of the head's own."""
    contents, _, ids = items_of(chain, "test")
    shutil.copytree(chain.model, tmp_path / "model")
    paths = [str(tmp_path / f"{index}.png") for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        Path(path).write_bytes(content)
    (tmp_path / "paths.json").write_text(json.dumps(paths))
    hidden = imported_encoder.with_name("hidden")
    imported_encoder.rename(hidden)
    try:
        run = subprocess.run(
            [sys.executable, "-W", "error::UserWarning:mlflow", "-c", LOAD_ELSEWHERE],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    finally:
        hidden.rename(imported_encoder)
    assert run.returncode == 0, run.stderr
    answered = json.loads(run.stdout.splitlines()[-1])
    assert answered["order"] == sorted(COLOURS)

    from tfhub_blocks.compute.heads.feature_splits import Split
    from tfhub_blocks.compute.heads.linear_head import fit_head

    features = open_features(chain.features, "test")
    fit = fit_head(
        Split(*features.split("train")), Split(*features.split("validation")), sorted(COLOURS)
    )
    vectors, _, feature_ids = features.split("test")
    expected = dict(zip(feature_ids, fit.head.probabilities(np.asarray(vectors)), strict=True))
    served = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(served, [expected[item] for item in ids], atol=1e-5, rtol=0)
    assert answered["labels"] == [answered["order"][index] for index in served.argmax(axis=1)]


def test_model_is_the_same_bytes_wherever_and_whenever_it_is_made(
    chain, imported_encoder, execute_step, tmp_path
):
    moved = shutil.copytree(imported_encoder, tmp_path / "another" / "place")
    run = execute_step(
        "train_head", {"features": chain.features, "encoder": moved}, {"model": tmp_path / "m"}
    )
    assert run.returncode == 0, run.stderr
    assert read_lineage(tmp_path / "m").files == read_lineage(chain.model).files


def test_model_names_what_it_needs_and_no_path_of_this_machine(chain):
    requirements = (chain.model / "requirements.txt").read_text().split()
    names = {line.partition("==")[0] for line in requirements}
    assert {"mlflow", "numpy", "pandas", "tensorflow"} <= names
    assert all("==" in line for line in requirements)
    for path in chain.model.glob("*"):
        if path.is_file():
            assert str(chain.folder.parent).encode() not in path.read_bytes(), path


def test_evaluation_measures_the_test_split(chain):
    contents, labels, _ = items_of(chain, "test")
    import mlflow

    answers = mlflow.pyfunc.load_model(str(chain.model)).predict(contents)
    probabilities = np.array(answers["probabilities"].tolist())
    metrics = json.loads((chain.report / "metrics.json").read_text())
    assert metrics["items"] == len(labels)
    expected = {
        "accuracy": accuracy_score(labels, answers["label"]),
        "macro_f1": f1_score(labels, answers["label"], average="macro"),
        "log_loss": log_loss(labels, probabilities, labels=sorted(COLOURS)),
    }
    for name, value in expected.items():
        assert metrics[name]["value"] == pytest.approx(value, abs=1e-6)
        assert metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"]
    for name in ["confusion-matrix.png", "reliability.png", "precision-and-recall.png"]:
        with Image.open(chain.report / name) as image:
            assert min(image.size) > 300
    page = (chain.report / "report.html").read_text()
    assert "Colours by nobody. CC0" in page
    assert read_lineage(chain.model).digest in page


def test_evidence_names_digests_and_thresholds(chain, tracking):
    evidence = read_evidence(chain.evidence, "test")
    assert evidence.model_digest == read_lineage(chain.model).digest
    assert evidence.passed
    snapshot = open_snapshot(chain.snapshot, "test").manifest.digest
    assert evidence.digests["snapshot"] == evidence.digests["training_snapshot"] == snapshot
    assert (
        evidence.digests["encoder"] == open_features(chain.features, "test").manifest.encoder_digest
    )
    made = read_lineage(chain.report).provenance
    assert evidence.digests["code"] == made.code_digest
    assert evidence.digests["environment"] == made.environment_digest
    asked = {threshold.name: threshold for threshold in evidence.thresholds}
    assert asked["min_accuracy"] == Threshold(
        "min_accuracy", 0.5, evidence.metrics["accuracy"]["value"], True
    )
    with sqlite3.connect(tracking) as database:
        logged = dict(database.execute("select key, value from latest_metrics").fetchall())
    assert logged["accuracy"] == pytest.approx(evidence.metrics["accuracy"]["value"])
    (figure,) = tracking.parent.glob("artifacts/**/evaluate/confusion-matrix.png")
    assert figure.read_bytes() == (chain.report / "confusion-matrix.png").read_bytes()


def test_warnings_about_the_data_travel_to_evidence_and_report(chain):
    of_snapshot = open_snapshot(chain.snapshot, "test").manifest.warnings
    of_features = open_features(chain.features, "test").manifest.warnings
    assert [it for it in of_snapshot if "transparen" in it]
    assert of_features == (
        "2 items have the same features as another item with another content, in 1 group, so no "
        "model can distinguish them: look at red/0.png and red/again.png",
    ) or of_features[0].endswith("red/again.png and red/0.png")
    assert read_evidence(chain.evidence, "test").warnings == (*of_snapshot, *of_features)
    page = (chain.report / "report.html").read_text()
    assert "have the same features as another item" in page
    assert "transparen" in page


@pytest.mark.slow
def test_twins_by_features_do_not_count_in_the_gate(chain, execute_step, tmp_path):
    model = shutil.copytree(chain.model, tmp_path / "copy", ignore=shutil.ignore_patterns("line*"))
    lineage = read_lineage(chain.model)
    _, _, ids = items_of(chain, "test")
    write_feature_twins(model, ids[:10])
    shutil.copytree(model, begin_folder(tmp_path / "model", PROVENANCE), dirs_exist_ok=True)
    finish_folder(tmp_path / "model", "model", MODEL, lineage.provenance)
    outputs = {port: tmp_path / port for port in ("report", "evidence")}
    given = {"model": tmp_path / "model", "snapshot": chain.snapshot}
    run = execute_step("evaluate", given, outputs)
    assert run.returncode == 0, run.stderr
    warning = (
        f"10 of {len(ids)} test items have a near duplicate in training (0 by content, 10 by "
        "features): thresholds are checked without them"
    )
    evidence = read_evidence(tmp_path / "evidence", "test")
    assert warning in evidence.warnings
    judged = {threshold.name: threshold for threshold in evidence.thresholds}
    assert judged["min_test_items"].measured == len(ids) - 10
    assert not judged["min_test_items"].met or len(ids) - 10 >= 10
    accuracy = evidence.metrics["accuracy_without_twins"]
    assert judged["accuracy_low > majority_share"].measured == pytest.approx(accuracy["low"])
    page = (tmp_path / "report/report.html").read_text()
    assert "Accuracy without twins" in page
    assert "10 by features" in page


@pytest.mark.slow
def test_champion_is_asked_the_same_items(chain, champion, compared):
    contents, labels, _ = items_of(chain, "test")
    import mlflow

    right = [
        np.array(mlflow.pyfunc.load_model(str(path)).predict(contents)["label"]) == labels
        for path in (chain.model, champion)
    ]
    evidence = read_evidence(compared.evidence, "test")
    found = evidence.comparison
    assert found.champion == read_lineage(champion).digest
    assert found.champion == read_lineage(compared.report).material("champion").digest
    assert found.snapshot == evidence.digests["snapshot"] == found.training_snapshot
    assert found.may_have_seen == ()
    assert (found.only_model_right, found.only_champion_right) == (
        (right[0] & ~right[1]).sum(),
        (~right[0] & right[1]).sum(),
    )
    assert found.metrics["accuracy"]["value"] == pytest.approx(right[1].mean())
    gain = found.changes["accuracy"]
    assert gain["value"] == pytest.approx(right[0].mean() - right[1].mean())
    assert gain["low"] < gain["value"] < gain["high"]
    held = {threshold.name: threshold for threshold in evidence.thresholds}
    met = gain["low"] >= -0.5
    assert held["min_accuracy_gain"] == Threshold("min_accuracy_gain", -0.5, gain["low"], met)
    # What was measured of the model is what it is without a champion.
    assert evidence.metrics == read_evidence(chain.evidence, "test").metrics
    page = (compared.report / "report.html").read_text()
    assert "Comparison with the champion" in page
    assert found.champion in page
    assert f"{gain['low']:+.4f} to {gain['high']:+.4f}" in page


def test_same_model_is_registered_once(chain, execute_step, tmp_path):
    records = []
    for name in ("first", "second"):
        inputs = {
            "model": chain.model,
            "evidence": chain.evidence,
            "model_name": "colours",
            "owner": "ada",
        }
        run = execute_step("register_model", inputs, {"registration": tmp_path / name})
        assert run.returncode == 0, run.stderr
        records.append(json.loads((tmp_path / name).read_text()))
    assert records[0] == records[1]
    assert (records[0]["name"], records[0]["version"]) == ("colours", "1")

    import mlflow

    version = mlflow.MlflowClient().get_model_version("colours", "1")
    assert version.tags["tfhub_blocks.model_digest"] == read_lineage(chain.model).digest
    assert version.tags["tfhub_blocks.owner"] == "ada"
    told = json.loads(version.tags["tfhub_blocks.data_warnings"])
    assert told == list(read_evidence(chain.evidence, "test").warnings)
    assert len(mlflow.MlflowClient().search_model_versions("name = 'colours'")) == 1
    registered, _ = open_model(Path(version.source), "test")
    assert registered.digest == read_lineage(chain.model).digest
    # The version stores a copy of its own, whose size is recorded.
    stored = sum(it.stat().st_size for it in Path(version.source).rglob("*") if it.is_file())
    assert version.tags["tfhub_blocks.stored_bytes"] == records[0]["stored_bytes"] == str(stored)
    contents, _, _ = items_of(chain, "test")
    assert len(mlflow.pyfunc.load_model("models:/colours/1").predict(contents[:3])) == 3


def flipped(folder: Path, name: str, to: Path) -> Path:
    """A copy of an output folder with one byte of one file changed."""
    shutil.copytree(folder, to)
    content = bytearray((to / name).read_bytes())
    content[len(content) // 2] ^= 1
    (to / name).write_bytes(content)
    return to


@pytest.mark.parametrize(
    "mistake",
    [
        "strengths",
        *(pytest.param(it, marks=pytest.mark.slow) for it in ("strength", "flipped features")),
        *(pytest.param(it, marks=pytest.mark.slow) for it in ("a snapshot", "edited evidence")),
        "failed evidence",
        *(pytest.param(it, marks=pytest.mark.slow) for it in ("another model", "flipped model")),
    ],
)
def test_mistake_ends_a_step_with_one_line(
    mistake, chain, champion, compared, imported_encoder, execute_step, tmp_path
):
    edited = tmp_path / "edited.json"
    edited.write_text(chain.evidence.read_text().replace('"asked": 0.5', '"asked": 0.1'))
    training = {"encoder": imported_encoder, "features": chain.features}
    registration = {
        "model": chain.model,
        "evidence": chain.evidence,
        "model_name": "refused",
        "owner": "ada",
    }

    def features():
        return flipped(chain.features, "shards/00000.arrow", tmp_path / "f")

    def model():
        return flipped(chain.model, "program.zip", tmp_path / "m")

    changed, message = {
        "strengths": ({"strengths": "1,x"}, "'1,x' contains a val"),
        "strength": ({"strengths": "-1"}, "-1"),
        "flipped features": (
            {"features": features},
            "> shards/00000.arrow] file shards/00000.arrow has sha256",
        ),
        "a snapshot": (
            {"features": chain.snapshot},
            "the folder has format snapshot/2. Expected format features/2",
        ),
        "failed evidence": ({"evidence": compared.evidence}, "required 0.0001. Expected"),
        "edited evidence": ({"evidence": edited}, "is not valid evidence"),
        "another model": ({"model": champion}, "the evidence is about the model with"),
        "flipped model": ({"model": model}, "> program.zip] file program.zip has sha256"),
    }[mistake]
    is_training = {"features", "strengths"} & changed.keys()
    name, port = ("train_head", "model") if is_training else ("register_model", "registration")
    values = {key: value() if callable(value) else value for key, value in changed.items()}
    output = tmp_path / "output"
    run = execute_step(name, (training if is_training else registration) | values, {port: output})
    assert run.returncode == 1, run.stdout
    error = run.stderr.splitlines()[-1]
    assert error.startswith("error: [")
    assert message in error
    assert not (output / "lineage.json").exists()
    assert not output.is_file()


@pytest.mark.slow
def test_features_of_another_encoder_are_refused(chain, execute_step, tmp_path, saved_encoder):
    """Even where that encoder gives vectors of the same length."""
    import tensorflow as tf

    module = tf.saved_model.load(str(saved_encoder))
    module.gain.assign(module.gain * 2)
    tf.saved_model.save(module, str(tmp_path / "doubled"))
    run = execute_step(
        "import_encoder",
        {"source": tmp_path / "doubled", "unpinned": "accept"},
        {"encoder": tmp_path / "encoder"},
    )
    assert run.returncode == 0, run.stderr
    run = execute_step(
        "train_head",
        {"features": chain.features, "encoder": tmp_path / "encoder"},
        {"model": tmp_path / "model"},
    )
    assert run.returncode == 1
    assert "[train_head > features] the encoder with digest" in run.stderr
    assert "or extract the features again" in run.stderr


def test_text_and_png_bytes_fit_the_signature(chain):
    """The signature that Azure ML and `mlflow models serve` read: one binary column in."""
    import mlflow

    loaded = mlflow.pyfunc.load_model(str(chain.model))
    assert [str(it.type) for it in loaded.metadata.get_input_schema().inputs] == ["Any"]
    assert loaded.metadata.get_output_schema().input_names() == [
        "label",
        "probability",
        "probabilities",
    ]
    example = loaded.input_example
    assert example is not None
    assert len(loaded.predict(example)) == 1
    empty = io.BytesIO()
    Image.new("RGB", (9, 9)).save(empty, "GIF")
    assert len(loaded.predict([empty.getvalue()])) == 1


FULL_DISK = [
    # Each with so little room, in kilobytes, that it ends while the output is written.
    pytest.param("import_encoder", 12, id="import_encoder"),
    pytest.param("extract_features", 8, id="extract_features", marks=pytest.mark.slow),
    pytest.param("train_head", 40, id="train_head", marks=pytest.mark.slow),
    pytest.param("evaluate", 200, id="evaluate", marks=pytest.mark.slow),
    pytest.param("register_model", 600, id="register_model"),
]


@pytest.mark.parametrize(("name", "small_disk"), FULL_DISK, indirect=["small_disk"])
def test_full_disk_is_one_line_and_leaves_nothing_finished(
    name, small_disk, chain, saved_encoder, imported_encoder, execute_step, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk}/mlflow.db")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(small_disk / "artifacts"))
    inputs, ports = {
        "import_encoder": ({"source": saved_encoder, "unpinned": "accept"}, ["encoder"]),
        "extract_features": (
            {"snapshot": chain.snapshot, "encoder": imported_encoder},
            ["features"],
        ),
        "train_head": ({"features": chain.features, "encoder": imported_encoder}, ["model"]),
        "evaluate": ({"model": chain.model, "snapshot": chain.snapshot}, ["report", "evidence"]),
        "register_model": (
            {
                "model": chain.model,
                "evidence": chain.evidence,
                "model_name": "full",
                "owner": "ada",
            },
            ["registration"],
        ),
    }[name]
    run = execute_step(name, inputs, {port: small_disk / port for port in ports})
    assert run.returncode == 1, run.stdout
    assert run.stderr.splitlines()[-1] == (
        f"error: [{name} > output] the disk is full. Expected room for the outputs. Free some "
        "space and run the step again; finished parts are kept."
    )
    for port in ports:
        assert not (small_disk / port / "lineage.json").exists()
        assert not (small_disk / port).is_file()
