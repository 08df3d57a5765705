"""Pooling: from several vectors an item to one."""

from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.pins.pins import Pooling


def pooled(vectors: tf.Tensor, pooling: Pooling) -> tf.Tensor:
    """One vector an item, [n, dimension], of [n, ..., dimension] by the pin's ``pooling``.

    ``none`` gives what it was given; ``mean_std`` the means and then the standard deviations.
    """
    if pooling == "none":
        return vectors
    flat = tf.reshape(vectors, [tf.shape(vectors)[0], -1, vectors.shape[-1]])
    if pooling == "max":
        return tf.reduce_max(flat, axis=1)
    mean = tf.reduce_mean(flat, axis=1)
    if pooling == "mean":
        return mean
    return tf.concat([mean, tf.math.reduce_std(flat, axis=1)], axis=-1)
