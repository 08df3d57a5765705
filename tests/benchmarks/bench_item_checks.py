"""Time of the checks that an encoder is a function of one item: at import, and in an extraction.

    python tests/benchmarks/bench_item_checks.py [--encoder DIR] [--pictures 2000] [--rounds 3]

The encoder is a pinned one, or a MobileNetV2 of tf_keras.applications at 160 px with random
weights.
The extraction runs with and without the check of real items, alternately, and the medians are
printed. Exits with 1 if a limit is exceeded.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from tfhub_blocks.compute.encoders.encoder import Encoder, load_pinned
from tfhub_blocks.compute.encoders.item_check import item_fault
from tfhub_blocks.compute.encoders.pinning import pin_encoder
from tfhub_blocks.compute.inference import engine_selection
from tfhub_blocks.compute.inference.computations import Item, batched
from tfhub_blocks.compute.inference.engine_selection import select_engine, take_sample
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.pins.pins import Decisions

SAMPLE = 64
MOST_IMPORT_S, MOST_SLOWER = 5.0, 0.02


def pictures(count: int) -> list[Item]:
    random = np.random.default_rng(0)
    items = []
    for number in range(count):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC).save(file, "JPEG")
        items.append((f"{number:08d}", file.getvalue()))
    return items


@contextmanager
def without_check() -> Iterator[None]:
    with mock.patch.object(engine_selection, "_check_company"):
        yield


def extraction_s(encoder: Encoder, items: list[Item]) -> float:
    begun = time.perf_counter()
    computation = encoder.computation(8, "benchmark")
    sample = take_sample(computation, items[:SAMPLE])
    selected = select_engine("auto", "float32", 1e-4, sample)
    batches = ((number, batch) for number, batch in enumerate(batched(items, 8)))
    for _ in computation.vectors(batches, selected.forward):
        pass
    return time.perf_counter() - begun


def pinned_mobilenet(folder: Path) -> Path:
    import tf_keras

    net = tf_keras.applications.MobileNetV2(
        (160, 160, 3), include_top=False, weights=None, pooling="avg"
    )
    tf.saved_model.save(net, str(folder / "saved"))
    pin_encoder(str(folder / "saved"), folder / "pinned", Decisions())
    return folder / "pinned"


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        return measured(Path(temporary))


def measured(temporary: Path) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = options.encoder or pinned_mobilenet(temporary)
    encoder = load_pinned(folder, "benchmark")
    begun = time.perf_counter()
    item_fault(encoder.encode, encoder.input.samples(), encoder.input.edges())
    import_s = time.perf_counter() - begun
    print(f"import: the check takes {import_s:.2f} s (at most {MOST_IMPORT_S:g} s)")
    items = pictures(options.pictures)
    with_check, plain = [], []
    for _ in range(options.rounds):
        with_check.append(extraction_s(encoder, items))
        with without_check():
            plain.append(extraction_s(encoder, items))
    slow, fast = statistics.median(with_check), statistics.median(plain)
    print(f"extraction of {len(items)} pictures: {fast:.1f} s without, {slow:.1f} s with the check")
    print(f"slower by {slow / fast - 1:.2%} (at most {MOST_SLOWER:.0%})")
    return int(import_s > MOST_IMPORT_S or slow / fast - 1 > MOST_SLOWER)


if __name__ == "__main__":
    sys.exit(main())
