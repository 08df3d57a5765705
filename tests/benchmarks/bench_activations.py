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
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfhub_blocks.compute.heads import Head
from tfhub_blocks.compute.runtime import tf
from tfhub_blocks.compute.tuning.activations import CHUNK_BYTES, open_activations
from tfhub_blocks.compute.tuning.checkpoints import Preemption
from tfhub_blocks.compute.tuning.classifier import Classifier
from tfhub_blocks.compute.tuning.schedule import default_schedule
from tfhub_blocks.compute.tuning.training import Safety, train
from tfhub_blocks.records.shards import ShardWriter

SIZE, FEATURES, LABELS, MOST_MIB = 18_500, 16, ("a", "b"), 3 * 1024


def write(folder: Path, items: int) -> None:
    """Random activations of two classes."""
    kept = pa.list_(pa.float16(), SIZE)
    schema = pa.schema([("id", pa.string()), ("target", pa.int64()), ("vector", kept)])
    rows = CHUNK_BYTES // (2 * SIZE)
    flat = pa.array(np.random.default_rng(0).random(rows * SIZE).astype(np.float16))
    with ShardWriter(folder, schema) as writer:
        for start in range(0, items, rows):
            numbers = range(start, min(start + rows, items))
            columns = [
                pa.array([str(number) for number in numbers]),
                pa.array([number % 2 for number in numbers]),
                pa.FixedSizeListArray.from_arrays(flat.slice(0, len(numbers) * SIZE), SIZE),
            ]
            writer.write(pa.record_batch(columns, schema=schema))


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
        for split, items in (("train", options.items), ("validation", options.items // 10)):
            write(folder / split, items)
        data = {
            name: open_activations(folder / name, (SIZE,), "float16")
            for name in ("train", "validation")
        }
        schedule = default_schedule(options.items, 2, 1, epochs=1)
        safety = Safety(folder, "bench", 1e9, Preemption())
        begun = time.perf_counter()
        train(classifier, [1.0] * 3, data, schedule, False, 0, safety, lambda *_: None, "bench")
        seconds = time.perf_counter() - begun
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = f"{options.items:,} items in {seconds:.0f} s, at most {peak_mib:.0f} MiB resident"
    print(f"{told} (bound {MOST_MIB})")
    return 0 if peak_mib <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
