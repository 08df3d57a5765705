"""The gradient of depthwise convolutions, against TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from tfhub_blocks.compute.cutting.depthwise import GRADIENT
from tfhub_blocks.compute.cutting.graph_halves import trainable_upper_function
from tfhub_blocks.compute.tf.flat_graph import flat_graph

EXPLICIT = [[0, 0], [2, 1], [3, 0], [0, 0]]


def gradients(images, filters, override, **options):
    """Of a fixed weighting of the outputs, by images and filters."""
    names = {"DepthwiseConv2dNative": GRADIENT} if override else {}

    @tf.function
    def of(images, filters):
        with tf.compat.v1.get_default_graph().gradient_override_map(names):
            given = tf.nn.depthwise_conv2d(images, filters, **options)
        return tf.gradients(given * tf.sin(given), [images, filters])

    return [each.numpy() for each in of(images, filters)]


@pytest.mark.parametrize("padding", ["SAME", "VALID", EXPLICIT])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(5, 5), (3, 7), (7, 4), (3, 3)])
def test_gradients_are_those_of_tensorflow(size, stride, padding):
    random = tf.random.Generator.from_seed(0)
    images, filters = random.normal([2, 9, 10, 6]), random.normal([*size, 6, 2])
    options = {"strides": [1, stride, stride, 1], "padding": padding}

    ours, theirs = (gradients(images, filters, each, **options) for each in (True, False))

    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_dilated_filters_are_left_to_tensorflow():
    random = tf.random.Generator.from_seed(0)
    images, filters = random.normal([2, 11, 11, 4]), random.normal([5, 5, 4, 1])
    options = {"strides": [1, 1, 1, 1], "padding": "SAME", "dilations": [2, 2]}

    ours, theirs = (gradients(images, filters, each, **options) for each in (True, False))

    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_part_of_an_encoder_takes_wide_filters_a_few_columns_at_a_time():
    filters = tf.Variable(tf.random.Generator.from_seed(0).normal([3, 7, 4, 1]))
    spec = tf.TensorSpec([None, 8, 8, 4])
    whole = tf.function(lambda x: tf.nn.depthwise_conv2d(x, filters, [1, 1, 1, 1], "SAME"))
    flat = flat_graph(whole.get_concrete_function(spec), [filters])
    part = trainable_upper_function(flat, flat.input, spec)

    @tf.function
    def gradient(images):
        with tf.GradientTape() as tape:
            given = part(images)
        return tape.gradient(given, filters)

    concrete = gradient.get_concrete_function(spec)
    called = concrete.graph.as_graph_def().library.function
    nodes = [node for function in called for node in function.node_def]
    split = [node for node in nodes if node.op == "DepthwiseConv2dNativeBackpropFilter"]
    assert len(split) == 5
    images = tf.random.Generator.from_seed(1).normal([2, 8, 8, 4])
    with tf.GradientTape() as tape:
        given = whole(images)
    np.testing.assert_allclose(gradient(images), tape.gradient(given, filters), rtol=1e-4)
