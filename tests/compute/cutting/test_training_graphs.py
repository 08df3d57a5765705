"""Graphs made fast to train give the numbers of the graphs that they were."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tfhub_blocks.compute.cutting.graph_halves import part_function, trainable_upper_function
from tfhub_blocks.compute.tf.flat_graph import flat_graph

SPEC = tf.TensorSpec([None, 9, 9, 4])


class Network(tf.Module):
    """A convolution, wide or depthwise, and what follows it: a batch normalization, and more."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        random = tf.random.Generator.from_seed(0)
        width = 8 if kind != "one_each" else 4
        self.is_wide = kind in ("wide", "passed_on", "passed_on_twice")
        shape = [3, 3, 4, 8] if self.is_wide else [5, 5, 4, width // 4]
        self.kind = kind
        self.filters = tf.Variable(random.normal(shape), name="filters")
        self.scale = tf.Variable(random.uniform([width], 0.5, 2), name="scale")
        self.offset = tf.Variable(random.normal([width]), name="offset")
        self.mean = tf.Variable(random.normal([width]), trainable=False)
        self.variance = tf.Variable(random.uniform([width], 0.5, 2), trainable=False)

    def __call__(self, images):
        convolve = tf.nn.conv2d if self.is_wide else tf.nn.depthwise_conv2d
        given = convolve(images, self.filters, [1, 1, 1, 1], "SAME")
        if self.kind.startswith("passed_on"):
            given = tf.identity(given)
        fixed = [self.scale, self.offset, self.mean, self.variance]
        if self.kind == "moments_of_the_batch":
            normal, *_ = tf.compat.v1.nn.fused_batch_norm(given, *fixed[:2], is_training=True)
        else:
            normal, *_ = tf.compat.v1.nn.fused_batch_norm(
                given, *fixed, epsilon=0.01, is_training=False
            )
        rest = given if self.kind.endswith("twice") else 0.0
        return tf.reduce_sum(tf.nn.relu6(normal) + rest, [1, 2])


def parts(kind):
    """The network, its graph as it is and made fast, and how often that has which operation."""
    network = Network(kind)
    function = tf.function(network).get_concrete_function(SPEC)
    flat = flat_graph(function, list(network.trainable_variables))
    plain = part_function(flat, flat.input, flat.output, SPEC)
    fast = trainable_upper_function(flat, flat.input, SPEC)
    return network, plain, fast, Counter(each.type for each in fast.graph.get_operations())


def gradients(network, function, images):
    with tf.GradientTape() as tape:
        tape.watch(images)
        given = function(images)
        loss = tf.reduce_sum(tf.sin(given / 50))
    return given, tape.gradient(loss, [images, *network.trainable_variables])


KINDS = ["wide", "one_each", "two_each", "passed_on"]
KEPT = ["moments_of_the_batch", "convolution_used_twice", "passed_on_twice"]


@pytest.mark.parametrize("kind", KINDS + KEPT)
def test_outputs_and_gradients_are_those_of_the_graph_as_it_was(kind):
    network, plain, fast, _ = parts(kind)
    images = tf.random.Generator.from_seed(1).normal([3, 9, 9, 4])

    (expected, by_plain), (given, by_fast) = (
        gradients(network, function, images) for function in (plain, fast)
    )

    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-4)
    for one, other in zip(by_fast, by_plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_normalization_by_published_moments_goes_into_the_convolution(kind):
    *_, operations = parts(kind)
    assert operations["BiasAdd"] == 1
    assert not any(name.startswith("FusedBatchNorm") for name in operations)


@pytest.mark.parametrize("kind", KEPT)
def test_normalization_that_is_more_than_numbers_for_a_channel_stays(kind):
    *_, operations = parts(kind)
    assert operations["BiasAdd"] == 0
    assert operations["FusedBatchNormV3"] == 1


def test_swish_of_a_saved_model_is_differentiated_in_a_part(tmp_path):
    """Its own gradient captures a tensor of the graph that was saved."""

    class Swish(tf.Module):
        def __init__(self):
            super().__init__()
            self.gain = tf.Variable([0.5, 2.0])

        @tf.function(input_signature=[tf.TensorSpec([None, 2])])
        def __call__(self, values):
            return tf.nn.silu(tf.nn.silu(values * self.gain, beta=1.5))

    tf.saved_model.save(Swish(), str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    function = loaded.__call__.concrete_functions[0]
    flat = flat_graph(function, [loaded.gain])
    part = trainable_upper_function(flat, flat.input, tf.TensorSpec([None, 2]))
    values = tf.constant([[0.3, -1.0], [2.0, 0.7]])

    def gradient(call):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(call(values)))
        return tape.gradient(loss, loaded.gain)

    np.testing.assert_allclose(gradient(part), gradient(loaded), rtol=1e-5)
