"""Items a second of score_batch and of extract_features with the same encoder, in one run.

Both run in this process, in turns, over the same JPEGs, alone, with TensorFlow and one thread an
operation, and write what they make. The model is the sample encoder with a head of ten classes. The
ratio is told by the clock and by processor time, each the median over the turns; scoring from a
folder, where each file is read and hashed, stands beside scoring from the snapshot. Exits with 1 if
the ratio by processor time of the snapshot is below what is asked for.

    python tests/benchmarks/bench_scoring.py [--turns 3] [--images 300] [--engine openvino]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench_extraction import PROVENANCE, made, write_jpegs

from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.compute.extraction.extraction import Extraction
from tfhub_blocks.compute.extraction.feature_output import write_extraction
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.models.model_writing import write_model
from tfhub_blocks.compute.models.served_model import load_served
from tfhub_blocks.compute.predictions.batch_scoring import Scoring
from tfhub_blocks.compute.predictions.prediction_output import write_predictions
from tfhub_blocks.compute.predictions.scorers import of_model
from tfhub_blocks.compute.predictions.scoring_rows import open_places
from tfhub_blocks.compute.tf.tensorflow_setup import use_one_thread_per_operation
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.formats import models, snapshots
from tfhub_blocks.records.formats.snapshots import open_snapshot
from tfhub_blocks.records.pins import pins
from tfhub_blocks.samples.image_encoder import write_sample_encoder

ASKED = 0.9
CLASSES = 10


def prepare(work: Path, images: int) -> None:
    """Write images, their snapshot, the encoder, and a model of it."""
    write_jpegs(work / "jpegs", images)
    write_sample_encoder(work / "source")
    request = ImportRequest(str(work / "source"), None, None, "accept", None)
    made(work / "encoder", pins.FORMAT, partial(import_saved_model, request))
    options = SnapshotOptions(modality="image")

    def fill(folder: Path) -> None:
        take_snapshot(work / "jpegs", folder, options, lambda *_: None)

    made(work / "snapshot", snapshots.SNAPSHOT, fill)
    encoder = load_encoder(work / "encoder", "bench")
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.02, (encoder.dimension, CLASSES)).astype(np.float32)
    labels = tuple(f"class{number}" for number in range(CLASSES))
    head = Head(weights, np.zeros(CLASSES, np.float32), labels, 1.0)
    facts = {"encoder_digest": encoder.digest, "snapshot_digest": "0" * 64}
    write_model(begin_folder(work / "model", PROVENANCE), encoder, head, facts)
    finish_folder(work / "model", "model", models.MODEL, PROVENANCE)


def measured(run: Callable[[Path], Any], images: int) -> tuple[float, float]:
    """Items a second of wall time, and of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        started, began = time.perf_counter(), time.process_time()
        run(Path(folder))
        return (
            images / (time.perf_counter() - started),
            images / (time.process_time() - began),
        )


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--engine", default="tensorflow", help="tensorflow or openvino")
    asked = parser.parse_args()
    use_one_thread_per_operation()
    options = InferenceOptions(asked.engine)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        prepare(work, asked.images)
        encoder = load_encoder(work / "encoder", "bench")
        model = of_model(load_served(work / "model", "bench"))

        def extract(folder: Path) -> None:
            extraction = Extraction(open_snapshot(work / "snapshot", "bench"), encoder, options)
            plan = extraction.compute(Share(folder / "work"), lambda *_: None)
            (folder / "out").mkdir()
            share = Share(folder / "work")
            write_extraction(extraction, plan, share, folder / "out", lambda *_: None)

        def score(data: str, folder: Path) -> None:
            places = open_places(work / data, model.modality, Limits(50_000_000, 600.0))
            scoring = Scoring(model, places, model.digest, options)
            plan = scoring.compute(Share(folder / "work"), lambda *_: None)
            (folder / "out").mkdir()
            share = Share(folder / "work")
            write_predictions(scoring, plan, share, folder / "out", lambda *_: None)

        runs = {
            "extract_features": extract,
            "score_batch, snapshot": partial(score, "snapshot"),
            "score_batch, folder": partial(score, "jpegs"),
        }
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(asked.turns):
            for name, run in runs.items():
                rates[name].append(measured(run, asked.images))
        of_wall, of_cpu = (
            {name: statistics.median(pair[kind] for pair in rates[name]) for name in runs}
            for kind in (0, 1)
        )
    base = "extract_features"
    for name in runs:
        print(
            f"{name} by {asked.engine}: {of_wall[name]:.0f} images/s, "
            f"{of_cpu[name]:.0f} a processor second; ratio {of_wall[name] / of_wall[base]:.2f}, "
            f"by processor time {of_cpu[name] / of_cpu[base]:.2f} (asked {ASKED})"
        )
    return 0 if of_cpu["score_batch, snapshot"] / of_cpu[base] >= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())
