"""Memory of a training on activations that do not fit into it.

100,000 items of 37 kB, 3.7 GB in half precision, through one epoch of training and a validation, in
this process. Exits with 1 if more than 3 GiB were resident at any time.

    python tests/benchmarks/bench_activations.py [--items 100000]
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.inference.parts import Parts
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.compute.tuning.activations import Activations, open_activations
from tfhub_blocks.compute.tuning.caching import Examples
from tfhub_blocks.compute.tuning.checkpoints import Preemption
from tfhub_blocks.compute.tuning.classifier import Classifier
from tfhub_blocks.compute.tuning.learning_schedule import default_schedule
from tfhub_blocks.compute.tuning.replicas import ALONE
from tfhub_blocks.compute.tuning.training import Safety, train

ROWS, PART_ROWS = 16, 4096
SIZE, FEATURES, LABELS, MOST_MIB = 18_500, 16, ("a", "b"), 3 * 1024


def written(folder: Path, items: int) -> Activations:
    """Random activations of two classes, in parts as an extraction makes them."""
    parts = Parts(folder, SIZE, "float16")
    flat = np.random.default_rng(0).random((ROWS, SIZE)).astype(np.float16)
    numbers = range(-(-items // PART_ROWS))
    for number in numbers:
        rows = range(number * PART_ROWS, min((number + 1) * PART_ROWS, items))
        parts.write(number, _batches(rows, flat))
    paths = [path for number in numbers if (path := parts.find(number))]
    return open_activations(paths, (SIZE,), "float16", np.arange(items) % 2, np.ones(items, bool))


def _batches(rows: range, flat: np.ndarray) -> Iterator[tuple[list[str], np.ndarray]]:
    for start in range(rows.start, rows.stop, ROWS):
        some = range(start, min(start + ROWS, rows.stop))
        yield [str(row) for row in some], flat[: len(some)]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    options = parser.parse_args()
    kernel = tf.Variable(tf.fill([SIZE, FEATURES], 0.01))
    spec = tf.TensorSpec([None, SIZE], tf.float32)
    upper = tf.function(lambda x: tf.matmul(x, kernel)).get_concrete_function(spec)
    head = Head(np.zeros((FEATURES, 2), np.float32), np.zeros(2, np.float32), LABELS, 1.0)
    classifier = Classifier(upper, [kernel], head, np.float32(1))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sizes = {"train": options.items, "validation": options.items // 10}
        train_items, validation = (written(folder / s, items) for s, items in sizes.items())
        examples = Examples((train_items,), validation)
        schedule = default_schedule(options.items, 2, 1, epochs=1)
        safety = Safety(folder, "bench", 1e9, Preemption())
        begun = time.perf_counter()
        given = ([classifier], [1.0] * 3, examples, schedule, False, 0, safety, ALONE)
        train(*given, lambda *_: None, "bench")
        seconds = time.perf_counter() - begun
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = f"{options.items:,} items in {seconds:.0f} s, at most {peak_mib:.0f} MiB resident"
    print(f"{told} (bound {MOST_MIB})")
    return 0 if peak_mib <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
