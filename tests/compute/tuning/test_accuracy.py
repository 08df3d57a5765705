"""On real tasks with a real encoder, tuning loses nothing, and gains where there is a gain.

Test accuracy of what comes out is held to that of the linear probe minus its 95 % interval.
"""

import gzip
import hashlib
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfhub_blocks.compute.cutting.encoder_cuts import chosen_cut, cut_encoder
from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot
from tfhub_blocks.compute.encoders.encoder import Encoder, load_pinned
from tfhub_blocks.compute.heads.linear_head import Head, Split, fit_head
from tfhub_blocks.compute.tuning.tuning_run import TuningOptions, fine_tune
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.snapshots import SNAPSHOT, SPLITS, Snapshot, open_snapshot

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
SAMPLES = Path(".samples")
FASHION = SAMPLES / "fashion-mnist"
# SHA-256, and the bytes of the IDX header.
FASHION_FILES = {
    "t10k-images-idx3-ubyte.gz": (
        "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        16,
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
        8,
    ),
}
BATCH = 64


def digits(folder: Path) -> Path:
    """800 handwritten digits of scikit-learn, 8 x 8 pixels made 64 x 64."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for index in range(800):
        image = Image.fromarray((data.images[index] * 15.9).astype(np.uint8))
        path = folder / str(data.target[index]) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return folder


def fashion(folder: Path) -> Path:
    """2,000 pictures of clothes, 28 x 28 pixels made 64 x 64."""
    contents = []
    for name, (digest, header) in FASHION_FILES.items():
        compressed = (FASHION / name).read_bytes()
        assert hashlib.sha256(compressed).hexdigest() == digest, f"{name} is another file"
        contents.append(np.frombuffer(gzip.decompress(compressed), np.uint8)[header:])
    images, labels = contents[0].reshape(-1, 28, 28), contents[1]
    for index in range(2000):
        path = folder / str(labels[index]) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[index]).resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return folder


def split_of(encoder: Encoder, snapshot: Snapshot, name: str) -> Split:
    rows = [row for batch in snapshot.batches() for row in batch.to_pylist()]
    rows = [row for row in rows if row["split"] == name]
    contents = [row["content"] for row in rows]
    starts = range(0, len(rows), BATCH)
    vectors = np.concatenate([encoder.encode(contents[s : s + BATCH]) for s in starts])
    targets = np.array([snapshot.manifest.labels.index(row["label"]) for row in rows])
    return Split(vectors, targets, [row["id"] for row in rows])


def accuracy(head: Head, split: Split) -> float:
    return float((head.logits(split.features).argmax(axis=1) == split.targets).mean())


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLES.exists(), reason="The samples are missing. Run `make samples`")
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("task", ["sample images", "digits", "fashion"])
def test_what_comes_out_is_no_worse_than_the_probe(task: str, tmp_path: Path) -> None:
    if task == "fashion" and not FASHION.exists():
        pytest.skip("Fashion-MNIST is missing. Run `make test-all` where there is apt-get")
    made = {"digits": digits, "fashion": fashion}
    source = made[task](tmp_path / task) if task in made else SAMPLES / "images"
    partial = begin_folder(tmp_path / "snapshot", PROVENANCE)
    take_snapshot(source, partial, SnapshotOptions(), lambda *_: None)
    finish_folder(tmp_path / "snapshot", "snapshot", SNAPSHOT, PROVENANCE)
    snapshot = open_snapshot(tmp_path / "snapshot", "test")
    encoder = load_pinned(SAMPLES / "encoder", "test")
    cut = cut_encoder(encoder, "test")
    chosen = chosen_cut(cut, "0.33", "test")
    train, validation, test = (split_of(encoder, snapshot, name) for name in SPLITS)
    probe = fit_head(train, validation, snapshot.manifest.labels).head
    before = accuracy(probe, test)

    work, options = tmp_path / "work", TuningOptions(epochs=12)
    tuned = fine_tune(snapshot, cut, chosen, probe, options, work, lambda _: lambda *_: None)

    after, items = accuracy(tuned.head, split_of(encoder, snapshot, "test")), len(test.targets)
    told = tuned.comparison.told()
    print(f"{task}: {before:.3f} -> {after:.3f} on {items} test items; {told}")
    assert after >= before - 1.96 * sqrt(before * (1 - before) / items)
    assert tuned.comparison.chosen.log_loss <= tuned.comparison.candidates[0].log_loss
