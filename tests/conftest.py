"""What tests of several folders are given: small snapshots and small encoders."""

import base64
import hashlib
import importlib
import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made_once import Once, made_once  # noqa: F401
from PIL import Image
from toy_chain import chain, made_chain, place_of_sources, sources  # noqa: F401

from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.snapshots import (
    ITEM_SCHEMA,
    SNAPSHOT,
    ItemWriter,
    SnapshotManifest,
    open_snapshot,
)

# Read when MLflow is imported. That comes before TensorFlow: MLflow's set-up of logging closes the
# stream of TensorFlow's, which here is pytest's, and the run goes on without output.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
importlib.import_module("mlflow")

BRIGHTNESS = """
import io

import mlflow
import pandas as pd
from PIL import Image, ImageStat


class Brightness(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        rows = []
        for content in model_input.iloc[:, 0]:
            bright = ImageStat.Stat(Image.open(io.BytesIO(content)).convert("L")).mean[0] / 255
            rows.append([float("nan") if bright == 1 else 1 - bright, bright])
        return pd.DataFrame(rows, columns=["dark", "bright"])


mlflow.models.set_model(Brightness())
"""

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """``jpeg(seed, size=(50, 40))`` gives a JPEG of smooth colours."""

    def encode(seed: int, size: tuple[int, int] = (50, 40)) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG")
        return file.getvalue()

    return encode


@pytest.fixture(scope="session")
def write_wheel() -> Callable[..., Path]:
    """``write_wheel(folder, name, version, files={})`` gives a wheel that pip and uv install."""

    def write(
        folder: Path, name: str, version: str, files: Mapping[str, str] | None = None
    ) -> Path:
        stem = f"{name.replace('-', '_')}-{version}"
        info = f"{stem}.dist-info"
        texts = {
            **(files or {}),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = []
        for path, text in texts.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
            record.append(f"{path},sha256={digest.rstrip('=')},{len(text)}\n")
        texts[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"])
        folder.mkdir(exist_ok=True)
        wheel = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, text in texts.items():
                archive.writestr(zipfile.ZipInfo(path), text)
        return wheel

    return write


@pytest.fixture(scope="session")
def write_test_snapshot() -> Callable[..., Path]:
    """``write_test_snapshot(folder, contents, modality="image", rows=5)`` gives the folder."""

    def write(
        folder: Path, contents: Iterable[bytes], modality: str = "image", rows: int = 5
    ) -> Path:
        items = sorted((hashlib.sha256(c).hexdigest(), c) for c in contents)
        partial = begin_folder(folder, PROVENANCE)
        with ItemWriter(partial, shard_bytes=4096) as writer:
            for start in range(0, len(items), rows):
                part = items[start : start + rows]
                columns: list[list[Any]] = [
                    [item for item, _ in part],
                    [content for _, content in part],
                    ["ab"[int(item[0], 16) % 2] for item, _ in part],
                    ["train"] * len(part),
                ]
                arrays = [pa.array(c, f.type) for c, f in zip(columns, ITEM_SCHEMA, strict=True)]
                writer.write(pa.record_batch(arrays, schema=ITEM_SCHEMA))
        counts = Counter("ab"[int(item[0], 16) % 2] for item, _ in items)
        digest = hashlib.sha256("".join(item for item, _ in items).encode()).hexdigest()
        SnapshotManifest(
            digest=digest,
            modality=modality,
            items=len(items),
            labels=("a", "b"),
            counts={"train": dict(counts)},
            split_rule={},
            shards=tuple(writer.names),
            shard_rows=tuple(writer.shard_rows),
            duplicates=0,
            rejected=0,
            warnings=(),
        ).write(partial)
        finish_folder(folder, "snapshot", SNAPSHOT, PROVENANCE)
        return folder

    return write


@pytest.fixture(scope="session")
def saved_encoder(made_once: Once) -> Path:  # noqa: F811
    """A reusable SavedModel: images of 32 px, 24 features, batch normalization, dropout."""
    return made_once("small", _save_small_encoder)


def _save_small_encoder(folder: Path) -> None:
    from tfhub_blocks.compute.tf.tensorflow_setup import tf

    class SmallEncoder(tf.Module):
        # tf.Module's own are properties, which are not saved.
        variables = trainable_variables = ()

        def __init__(self) -> None:
            super().__init__()
            random = np.random.default_rng(0)
            self.kernel = tf.Variable(random.normal(0, 0.3, (5, 5, 3, 24)).astype(np.float32))
            self.gain = tf.Variable(random.uniform(0.5, 2, 24).astype(np.float32))
            self.mean = tf.Variable(random.normal(0, 1, 24).astype(np.float32), trainable=False)
            self.variables = [self.kernel, self.gain, self.mean]
            self.trainable_variables = [self.kernel, self.gain]

        @tf.function
        def __call__(self, inputs: Any, training: bool = False) -> Any:
            x = tf.nn.conv2d(inputs, self.kernel, 2, "SAME")
            x = tf.nn.batch_normalization(x, self.mean, 1.0, None, self.gain, 1e-3)
            x = tf.nn.dropout(x, 0.5) if training else x
            return tf.reduce_mean(tf.nn.relu6(x), [1, 2])

    encoder = SmallEncoder()
    spec = tf.TensorSpec([None, 32, 32, 3], tf.float32)
    for training in (True, False):
        encoder.__call__.get_concrete_function(spec, training=training)
    tf.saved_model.save(encoder, str(folder))


def _import_encoder(saved: Path, folder: Path) -> None:
    from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
    from tfhub_blocks.records.pins import pins

    partial = begin_folder(folder, PROVENANCE)
    import_saved_model(ImportRequest(str(saved), None, None, "accept"), partial)
    finish_folder(folder, "encoder", pins.FORMAT, PROVENANCE)


@pytest.fixture(scope="session")
def imported_encoder(saved_encoder: Path, made_once: Once) -> Path:  # noqa: F811
    """The small encoder as import_encoder makes it."""
    folder = made_once("imported", lambda to: _import_encoder(saved_encoder, to / "encoder"))
    return folder / "encoder"


@pytest.fixture(scope="session")
def coloured_snapshot(made_once: Once) -> Path:  # noqa: F811
    """240 noisy images of 20 px in the classes blue, green and red, as snapshot_data makes it."""
    return made_once("coloured", _snapshot_colours) / "snapshot"


def _snapshot_colours(folder: Path) -> None:
    from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot

    random = np.random.default_rng(5)
    for channel, label in enumerate(("red", "green", "blue")):
        (folder / "source" / label).mkdir(parents=True)
        for index in range(80):
            tint = 90 + random.normal(0, 30, 3) + 60 * (np.arange(3) == channel)
            pixels = np.clip(tint + random.normal(0, 40, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "source" / label / f"{index}.png")
    partial = begin_folder(folder / "snapshot", PROVENANCE)
    take_snapshot(folder / "source", partial, SnapshotOptions(), lambda *_: None)
    finish_folder(folder / "snapshot", "snapshot", SNAPSHOT, PROVENANCE)


@pytest.fixture(scope="session")
def write_test_model() -> Callable[..., Path]:
    """``write_test_model(folder, encoder, snapshot, strength=1.0)`` gives a model as train_head.

    With ``learned``, it states that it learned from these items.
    """

    def write(
        folder: Path,
        encoder: Path,
        snapshot: Path,
        strength: float = 1.0,
        learned: Iterable[str] = (),
    ) -> Path:
        from tfhub_blocks.compute.encoders.encoder import load_encoder
        from tfhub_blocks.compute.heads.linear_head import Split, fit_head
        from tfhub_blocks.compute.models.model_writing import write_model
        from tfhub_blocks.records.formats.models import MODEL, write_training_items

        loaded, items = load_encoder(encoder, "test"), open_snapshot(snapshot, "test")
        rows = [row for batch in items.batches() for row in batch.to_pylist()]
        splits = []
        for split in ("train", "validation"):
            chosen = [row for row in rows if row["split"] == split]
            targets = np.array([items.manifest.labels.index(row["label"]) for row in chosen])
            vectors = loaded.encode([row["content"] for row in chosen])
            splits.append(Split(vectors, targets, [row["id"] for row in chosen]))
        fit = fit_head(*splits, items.manifest.labels, [strength])
        facts = {
            "encoder_digest": loaded.digest,
            "snapshot_digest": items.manifest.digest,
            "preprocessing": dict(loaded.input.describe()),
        }
        partial = begin_folder(folder, PROVENANCE)
        write_model(partial, loaded, fit.head, facts)
        if learned:
            write_training_items(partial, learned)
        finish_folder(folder, "model", MODEL, replace(PROVENANCE, facts=fit.as_dict()))
        return folder

    return write


@pytest.fixture(scope="session")
def colours_model(
    write_test_model: Callable[..., Path],
    imported_encoder: Path,
    coloured_snapshot: Path,
    made_once: Once,  # noqa: F811
) -> Path:
    """A model of ``imported_encoder`` that tells the colours of ``coloured_snapshot``."""

    def make(folder: Path) -> None:
        write_test_model(folder / "model", imported_encoder, coloured_snapshot)

    return made_once("colours", make) / "model"


@pytest.fixture(scope="session")
def brightness_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's pyfunc of image files: bright or dark, and NaN for white ones."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    folder = tmp_path_factory.mktemp("brightness")
    (folder / "code.py").write_text(BRIGHTNESS)
    mlflow.pyfunc.save_model(
        folder / "model",
        python_model=str(folder / "code.py"),
        signature=ModelSignature(Schema([ColSpec(DataType.binary, "contents")])),
        pip_requirements=[],
    )
    return folder / "model"


@pytest.fixture(scope="session")
def keras_encoder(made_once: Once) -> Path:  # noqa: F811
    """A network of tf_keras as import_encoder makes it: images of 24 px, 12 features.

    A convolution, a separable one with a residual connection around it, and one more; each with
    batch normalization, dropout inside, and a penalty on the last kernel.
    """
    return made_once("keras", _import_keras_encoder) / "encoder"


def _import_keras_encoder(folder: Path) -> None:
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    image = layers.Input([24, 24, 3])

    def convolved(x: Any, name: str, width: int, **options: Any) -> Any:
        x = layers.Conv2D(width, padding="same", use_bias=False, name=name, **options)(x)
        return layers.ReLU(6.0)(layers.BatchNormalization(name=f"{name}_norm")(x))

    x = convolved(image, "first", 8, kernel_size=3, strides=2)
    within = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="deep")(x)
    within = convolved(
        layers.BatchNormalization(name="deep_norm")(within), "wide", 8, kernel_size=1
    )
    x = layers.Add(name="joined")([x, layers.Dropout(0.5)(within)])
    penalty = tf_keras.regularizers.L2(1e-3)
    x = convolved(x, "last", 12, kernel_size=3, strides=2, kernel_regularizer=penalty)
    model = tf_keras.Model(image, layers.GlobalAveragePooling2D()(x))
    random = np.random.default_rng(0)
    for variable in model.variables:
        if "norm" in variable.name:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    model.save(str(folder / "saved_model"), save_format="tf")
    _import_encoder(folder / "saved_model", folder / "encoder")


@pytest.fixture(scope="session")
def images_run(imported_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command line tells of a whole run of transfer_learning, by the small encoder."""
    from test_main_job import run, write_images

    folder = tmp_path_factory.mktemp("images")
    return run(folder, write_images(folder / "pictures"), imported_encoder)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Hold a text to ``goldens/NAME.txt`` beside the test; UPDATE_GOLDENS=1 writes it there."""
    folder = request.path.parent / "goldens"

    def check(name: str, text: str) -> None:
        path = folder / f"{name}.txt"
        if os.environ.get("UPDATE_GOLDENS") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture(autouse=True)
def _inspected_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect encoders in this process, as a start of TensorFlow for each takes seconds.

    Tests with the marker ``apart``, and all steps and commands in processes, inspect as users do.
    """
    if request.node.get_closest_marker("apart") is None:
        monkeypatch.setattr(
            "tfhub_blocks.compute.encoders.first_loading.inspect_apart", _inspect_here
        )


def _inspect_here(*arguments: Any) -> Any:
    from tfhub_blocks.compute.encoders.inspection import inspect_encoder

    return inspect_encoder(*arguments)
