"""The same data in two fresh folders, with other names and in another order, gives the same model.

The files' names, the order in which they were made and their times differ; contents and labels are
the same.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_main_job import ROOT, run, write_images

from tfhub_blocks.records.base.lineage import read_lineage

SAMPLES = ROOT / ".samples"
FROZEN = '''"""frozen: a head on features of a frozen encoder, and no more."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import extract_features, snapshot_data, train_head


@dsl.pipeline(name="frozen")
def frozen(
    source: Input(type="uri_folder", description="Pictures"),
    encoder: Input(type="custom_model", description="An encoder"),
):
    snapshot = snapshot_data(source=source)
    features = extract_features(snapshot=snapshot.outputs.snapshot, encoder=encoder)
    head = train_head(features=features.outputs.features, encoder=encoder)
    return {"model": head.outputs.model}
'''


def other_folder(source: Path, target: Path) -> Path:
    """A copy whose files have other names, and were made in another order and at other times."""
    for label in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(label.iterdir(), reverse=True)
        (target / label.name).mkdir(parents=True)
        for number, path in enumerate(files):
            copy = target / label.name / f"z{number:04}{path.suffix}"
            shutil.copyfile(path, copy)
            os.utime(copy, (number, number))
    for path in source.iterdir():
        if path.is_file():  # who has to be named for the pictures
            shutil.copy(path, target)
    return target


def digests(record: dict) -> dict[str, str]:
    """The digest of each output of a run that a digest in another folder can be held against."""
    outputs = record["outputs"].items()
    return {name: read_lineage(Path(path)).digest for name, path in outputs if name == "model"}


@pytest.mark.slow
def test_toy_in_two_folders_gives_the_same_model(images_run, tmp_path, imported_encoder):
    """Also by another pipeline, which is given the encoder that the first one imported."""
    folder = tmp_path / "second of them"
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines/frozen.py").write_text(FROZEN)
    pictures = other_folder(write_images(tmp_path / "pictures"), folder / "elsewhere")
    shutil.rmtree(tmp_path / "pictures")
    record = run(folder, pictures, imported_encoder, pipeline="frozen")
    assert digests(record) == digests(images_run)
    assert digests(record).keys() == {"model"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    not (SAMPLES / "images").is_dir(), reason="The samples are missing. Run `make samples`"
)
@pytest.mark.parametrize("pipeline", ["transfer_learning", "fine_tuning"])
def test_sample_data_in_two_folders_give_the_same_model_and_so_does_reproduce(tmp_path, pipeline):
    found = []
    for name in ("first", "second of them"):
        folder = tmp_path / name
        folder.mkdir()
        pictures = SAMPLES / "images"
        if found:
            pictures = other_folder(pictures, folder / "pictures")
        record = run(folder, pictures, SAMPLES / "encoder", pipeline=pipeline)
        found.append(digests(record))
    assert found[0] == found[1]
    model = pipeline.replace("_", "-")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tfhub_blocks.cli", "reproduce", model, "--json"),
            *("--runs-dir", str(folder / "runs")),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["model_digest"] == found[0]["model"]
    assert told["begins"] == []
    assert all(output["equal"] for output in told["outputs"])
