"""Seconds of partial fine-tuning here and through hub.KerasLayer, side by side, and equal losses.

The peers, as one writes them without this: ``hub.KerasLayer`` in a ``tf.function``, AdamW of
tf_keras, images decoded once and kept in memory by ``tf.data``; one trains the same variables with
``training=False``, the other all of them with ``training=True``. Ours is the step's own function,
with caching, probe, validation and comparison. Each runs in a process of its own, in turns. A peer
runs a few epochs, and its first and its others are extrapolated.

Two networks: EfficientNet-Lite0 (the sample encoder) and MobileNetV2 of tf_keras with random
weights. Exits with 1 if a bound is missed: 2.5 and 7 times faster end to end over 10 epochs, 3.5
and 10 an epoch after the first, and losses of 50 steps equal to 1e-4. Other work on the machine
disturbs all of them; how many cores it took is told.

    python tests/benchmarks/bench_fine_tuning.py [--items 2000] [--epochs 10] [--network NAME]
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from PIL import Image

from tfhub_blocks.records.base.folders import Format, begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.snapshots import (
    ITEM_SCHEMA,
    SNAPSHOT,
    ItemWriter,
    SnapshotManifest,
    open_snapshot,
)
from tfhub_blocks.records.pins import pins

PROVENANCE = Provenance("bench", {}, (), "0" * 64, "0" * 64, "", "")
NETWORKS = ("efficientnet_lite0", "mobilenet_v2")
CLASSES, SIZE_PX, BATCH_SIZE, RATE = 4, 224, 32, 1e-4
TRAINABLE = "0.3334"
VALIDATION_ITEMS = 64
STEPS_COMPARED, MOST_DIFFERENCE = 50, 1e-4
# End to end, and an epoch after the first: against the same variables, and against all.
BOUNDS = {"partial": (2.5, 3.5), "full": (7.0, 10.0)}


def prepare(work: Path, network: str, items: int) -> None:
    """Write the encoder, and a snapshot of smooth JPEGs whose class is a tint."""
    from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model

    if not (work / network / "encoder").exists():
        saved_model = work / network / "saved_model"
        _write_network(network, saved_model)
        request = ImportRequest(str(saved_model), None, None, "accept", None)
        _made(work / network / "encoder", pins.FORMAT, lambda f: import_saved_model(request, f))
    if not (work / "snapshot").exists():
        contents = {}
        for index in range(items + VALIDATION_ITEMS):
            content = _jpeg(index)
            contents[hashlib.sha256(content).hexdigest()] = (content, "abcd"[index % CLASSES])
        _made(work / "snapshot", SNAPSHOT, lambda folder: _write_snapshot(folder, contents))


def _write_network(network: str, folder: Path) -> None:
    if network == "efficientnet_lite0":
        from tfhub_blocks.samples.image_encoder import write_sample_encoder

        write_sample_encoder(folder)
        return
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    shape = (SIZE_PX, SIZE_PX, 3)
    tf_keras.applications.MobileNetV2(
        input_shape=shape, include_top=False, pooling="avg", weights=None
    ).save(str(folder), save_format="tf")


def _jpeg(index: int) -> bytes:
    random = np.random.default_rng(index)
    blocks = random.integers(0, 156, (12, 16, 3)) + 33 * (np.arange(3) == index % CLASSES)
    image = Image.fromarray(blocks.astype(np.uint8)).resize((320, 240), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def _write_snapshot(folder: Path, contents: dict[str, tuple[bytes, str]]) -> None:
    items = sorted(contents.items())
    splits = ["validation"] * VALIDATION_ITEMS + ["train"] * (len(items) - VALIDATION_ITEMS)
    with ItemWriter(folder) as writer:
        for start in range(0, len(items), 256):
            part = items[start : start + 256]
            columns = [
                [item for item, _ in part],
                [content for _, (content, _) in part],
                [label for _, (_, label) in part],
                splits[start : start + 256],
            ]
            writer.write(pa.record_batch(list(map(pa.array, columns)), schema=ITEM_SCHEMA))
    SnapshotManifest(
        digest=hashlib.sha256("".join(contents).encode()).hexdigest(),
        modality="image",
        items=len(items),
        labels=("a", "b", "c", "d"),
        counts={"train": {"a": len(items) - VALIDATION_ITEMS}, "validation": {"a": 64}},
        split_rule={},
        shards=tuple(writer.names),
        shard_rows=tuple(writer.shard_rows),
        duplicates=0,
        rejected=0,
        warnings=(),
    ).write(folder)


def _made(folder: Path, folder_format: Format, fill: Callable[[Path], Any]) -> None:
    fill(begin_folder(folder, PROVENANCE))
    finish_folder(folder, folder.name, folder_format, PROVENANCE)


def train_rows(work: Path) -> tuple[list[bytes], np.ndarray]:
    """Contents and targets of the training items."""
    snapshot = open_snapshot(work / "snapshot", "bench")
    rows = [row for batch in snapshot.batches() for row in batch.to_pylist()]
    rows = [row for row in rows if row["split"] == "train"]
    targets = [snapshot.manifest.labels.index(row["label"]) for row in rows]
    return [row["content"] for row in rows], np.array(targets, np.int32)


def run_ours(work: Path, network: str, epochs: int) -> dict[str, float]:
    """As the step does it."""
    from tfhub_blocks.compute.cutting.encoder_cuts import chosen_cut, cut_encoder
    from tfhub_blocks.compute.encoders.encoder import load_encoder
    from tfhub_blocks.compute.tf.tensorflow_setup import use_threads
    from tfhub_blocks.compute.tuning.tuning_run import TuningOptions, fine_tune
    from tfhub_blocks.records.base.cores import core_count

    use_threads(core_count())
    cut = cut_encoder(load_encoder(work / network / "encoder", "bench"), "bench")
    chosen = chosen_cut(cut, TRAINABLE, "bench")
    marks: list[tuple[str, float, float]] = []

    def progress(unit: str) -> Callable[[int, int], None]:
        return lambda *_: marks.append((unit, time.perf_counter(), time.process_time()))

    options = TuningOptions(
        epochs=epochs, batch_size=BATCH_SIZE, learning_rate=RATE, checkpoint_every_s=1e9
    )
    snapshot = open_snapshot(work / "snapshot", "bench")
    begun, begun_cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir=work) as kept:
        tuned = fine_tune(snapshot, cut, chosen, None, options, Path(kept), progress)
    ended = (time.perf_counter() - begun, time.process_time() - begun_cpu)
    steps = [mark[1:] for mark in marks if mark[0] == "steps"]
    per_epoch = tuned.schedule.steps_per_epoch
    done = len(steps) // per_epoch
    epoch = [(b - a) / (done - 1) for a, b in zip(steps[per_epoch - 1], steps[-1], strict=True)]
    # Had it not ended early.
    whole = [a + (epochs - done) * b for a, b in zip(ended, epoch, strict=True)]
    caching_s = max(mark[1] for mark in marks if mark[0] == "items") - begun
    return {
        "whole_s": whole[0],
        "epoch_s": epoch[0],
        "whole_cpu_s": whole[1],
        "epoch_cpu_s": epoch[1],
        "caching_s": caching_s,
    }


def run_peer(work: Path, network: str, epochs: int, whole: bool) -> dict[str, float]:
    """As its users write it."""
    import tensorflow as tf
    import tensorflow_hub as hub
    import tf_keras

    layer, variables, weights, bias = _layer(work, network, hub, tf)
    trained = [*(layer.trainable_variables if whole else variables), weights, bias]
    optimizer = tf_keras.optimizers.AdamW(RATE)

    @tf.function
    def step(images: Any, targets: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            logits = layer(images, training=whole) @ weights + bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses)
        optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))
        return loss

    def decoded(content: Any, target: Any) -> Any:
        image = tf.io.decode_jpeg(content, 3)
        return tf.image.resize(image, (SIZE_PX, SIZE_PX), antialias=True) / 255, target

    begun, begun_cpu = time.perf_counter(), time.process_time()
    data = tf.data.Dataset.from_tensor_slices(train_rows(work))
    data = data.map(decoded, tf.data.AUTOTUNE).cache().shuffle(256, seed=0)
    data = data.batch(BATCH_SIZE, drop_remainder=True).prefetch(2)
    marks = []
    for _ in range(epochs):
        for images, targets in data:
            step(images, targets)
        marks.append((time.perf_counter(), time.process_time()))
    epoch = [(b - a) / (len(marks) - 1) for a, b in zip(marks[0], marks[-1], strict=True)]
    return {
        "first_s": marks[0][0] - begun,
        "epoch_s": epoch[0],
        "first_cpu_s": marks[0][1] - begun_cpu,
        "epoch_cpu_s": epoch[1],
    }


def _layer(work: Path, network: str, hub: Any, tf: Any) -> tuple[Any, list[Any], Any, Any]:
    from tfhub_blocks.compute.cutting.encoder_cuts import chosen_cut, cut_encoder
    from tfhub_blocks.compute.encoders.encoder import load_encoder

    cut = cut_encoder(load_encoder(work / network / "encoder", "bench"), "bench")
    names = set(chosen_cut(cut, TRAINABLE, "bench").above)
    layer = hub.KerasLayer(str(work / network / "encoder/saved_model"), trainable=True)
    layer(tf.zeros([1, SIZE_PX, SIZE_PX, 3]))
    variables = [v for v in layer.trainable_variables if v.name.removesuffix(":0") in names]
    assert len(variables) == len(names)
    weights = tf.Variable(tf.zeros([cut.encoder.pin.output.dimension, CLASSES]))
    return layer, variables, weights, tf.Variable(tf.zeros([CLASSES]))


def run_equal(work: Path, network: str, epochs: int) -> dict[str, float]:
    """The greatest relative difference of the losses of both ways, by the same batches and AdamW.

    One goes from activations through the part above the cut, the other from images through
    hub.KerasLayer. Beside it, how far the other way is from itself when each batch has its items in
    reverse order: what rounding alone does.
    """
    import tensorflow as tf
    import tensorflow_hub as hub

    from tfhub_blocks.compute.cutting.encoder_cuts import chosen_cut, cut_encoder
    from tfhub_blocks.compute.encoders.encoder import load_encoder
    from tfhub_blocks.compute.heads.linear_head import Head
    from tfhub_blocks.compute.tuning.classifier import Classifier
    from tfhub_blocks.compute.tuning.optimizer import AdamW
    from tfhub_blocks.compute.tuning.replicas import ALONE

    cut = cut_encoder(load_encoder(work / network / "encoder", "bench"), "bench")
    chosen = chosen_cut(cut, TRAINABLE, "bench")
    random = np.random.default_rng(0)
    start = random.normal(0, 0.01, (cut.encoder.pin.output.dimension, CLASSES)).astype(np.float32)
    head = Head(start, np.zeros(CLASSES, np.float32), ("a", "b", "c", "d"), 1.0)
    images = tf.TensorSpec([None, SIZE_PX, SIZE_PX, 3])
    one = np.float32(1)

    layers = []  # functions refer to their variables weakly

    def theirs() -> Classifier:
        layer, variables, *_ = _layer(work, network, hub, tf)
        layers.append(layer)
        whole = tf.function(lambda x: layer(x, training=False)).get_concrete_function(images)
        return Classifier(whole, sorted(variables, key=_order(chosen.above)), head, one)

    mine = Classifier(cut.trainable_upper(chosen), cut.variables_above(chosen), head, one)
    ours, other, backwards = (
        AdamW([each], [1.0] * len(each.variables), 0.01, 0.9, ALONE)
        for each in (mine, theirs(), theirs())
    )
    lower = cut.lower(chosen)
    contents, targets = train_rows(work)
    most, most_reversed = 0.0, 0.0
    for number in range(STEPS_COMPARED):
        drawn = random.permutation(len(contents))[:BATCH_SIZE]
        given = tf.constant(cut.encoder.prepare([contents[i] for i in drawn]))
        soft = np.eye(CLASSES, dtype=np.float32)[targets[drawn]]
        rest = (np.ones(BATCH_SIZE, np.float32), RATE, number + 1)
        loss = other.step(given, soft, *rest)[0]
        most = max(most, abs(ours.step(lower(given), soft, *rest)[0] - loss) / loss)
        reversed_loss = backwards.step(given[::-1], soft[::-1], *rest)[0]
        most_reversed = max(most_reversed, abs(reversed_loss - loss) / loss)
    return {"difference": most, "reversed_difference": most_reversed, "last_loss": loss}


def _order(names: tuple[str, ...]) -> Callable[[Any], int]:
    return lambda variable: names.index(variable.name.removesuffix(":0"))


def run_floor(work: Path, network: str, epochs: int) -> dict[str, float]:
    """Seconds that an epoch takes at least: the arithmetic of the part that is trained.

    A forward pass and two products as large backward, at the rate of this machine's largest matrix
    products, and nothing besides: no image read, no activation function, no optimiser.
    """
    import tensorflow as tf

    from tfhub_blocks.compute.cutting.encoder_cuts import chosen_cut, cut_encoder
    from tfhub_blocks.compute.cutting.graph_halves import upper_function
    from tfhub_blocks.compute.encoders.encoder import load_encoder
    from tfhub_blocks.compute.tf.flops import flops_of

    cut = cut_encoder(load_encoder(work / network / "encoder", "bench"), "bench")
    chosen = chosen_cut(cut, TRAINABLE, "bench")
    upper = upper_function(cut.flat, chosen.tensor, tf.TensorSpec([1, *chosen.shape]))
    products = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
    operations = upper.graph.get_operations()
    flops = sum(flops_of(each) or 0 for each in operations if each.type in products)
    size = 2048
    a, b = tf.random.normal([size, size]), tf.random.normal([size, size])
    product = tf.function(tf.matmul)
    fastest = float("inf")
    for _ in range(20):
        begun = time.perf_counter()
        product(a, b).numpy()
        fastest = min(fastest, time.perf_counter() - begun)
    items = len(train_rows(work)[0])
    return {"epoch_s": 3 * flops * items * fastest / (2 * size**3)}


RUNS: dict[str, Callable[[Path, str, int], dict[str, float]]] = {
    "ours": run_ours,
    "partial": lambda *given: run_peer(*given, whole=False),
    "full": lambda *given: run_peer(*given, whole=True),
    "equal": run_equal,
    "floor": run_floor,
}


def measured(who: str, work: Path, network: str, epochs: int) -> dict[str, float]:
    """What one run in a process of its own says, and how many cores others took meanwhile."""
    environment = dict(os.environ) | ({} if who == "ours" else {"TF_USE_LEGACY_KERAS": "1"})
    command = [sys.executable, __file__, "--work", str(work), "--run", who, network, str(epochs)]
    begun, busy_s = time.perf_counter(), _busy_s()
    answer = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    all_s = time.perf_counter() - begun
    result["cores_of_others"] = (_busy_s() - busy_s - result.pop("cpu_s")) / all_s
    told = ", ".join(f"{name} {value:.3g}" for name, value in result.items())
    print(f"  {network:20}{who:9}{told}", flush=True)
    return result


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def compare(work: Path, network: str, epochs: int, peer_epochs: int) -> bool:
    """Print both ratios to each peer; whether all bounds are met."""
    ours = measured("ours", work, network, epochs)
    is_met = True
    for who, (least_whole, least_epoch) in BOUNDS.items():
        peer = measured(who, work, network, peer_epochs)
        whole, whole_cpu = (
            (peer[f"first_{unit}"] + (epochs - 1) * peer[f"epoch_{unit}"]) / ours[f"whole_{unit}"]
            for unit in ("s", "cpu_s")
        )
        epoch, epoch_cpu = (
            peer[f"epoch_{unit}"] / ours[f"epoch_{unit}"] for unit in ("s", "cpu_s")
        )
        is_met &= whole >= least_whole and epoch >= least_epoch
        print(
            f"{network}: {who} takes {whole:.2f} times as long end to end (at least "
            f"{least_whole}), {epoch:.2f} times an epoch (at least {least_epoch}); by processor "
            f"time {whole_cpu:.2f} and {epoch_cpu:.2f}",
            flush=True,
        )
        if who == "partial":
            floor = measured("floor", work, network, 1)["epoch_s"]
            print(
                f"{network}: by this machine's rate of products an epoch takes {floor:.2f} s at "
                f"least, so {peer['epoch_s'] / floor:.2f} times is the most that is possible",
                flush=True,
            )
    equal = measured("equal", work, network, 1)
    difference, by_rounding = equal["difference"], equal["reversed_difference"]
    print(
        f"{network}: losses differ by {difference:.1e} (at most {MOST_DIFFERENCE}); those of the "
        f"peer by {by_rounding:.1e} from its own, with each batch in reverse order",
        flush=True,
    )
    return is_met and difference <= MOST_DIFFERENCE


def main() -> int:
    """Run the benchmark, or one run of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--peer-epochs", type=int, default=3, help="at least 2; extrapolated")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="else both")
    parser.add_argument("--work", type=Path, help="a folder to keep encoders and images in")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        who, network, epochs = options.run
        result = RUNS[who](options.work, network, int(epochs))
        times = psutil.Process().cpu_times()
        print(json.dumps(result | {"cpu_s": times.user + times.system}), flush=True)
        return 0
    is_met = True
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        for network in options.network or NETWORKS:
            prepare(work, network, options.items)
            is_met &= compare(work, network, options.epochs, options.peer_epochs)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
