"""Pooling: from several vectors for each item to one vector."""

from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.pins.pins import Pooling


def pooled(vectors: tf.Tensor, pooling: Pooling) -> tf.Tensor:
    """Return one vector for each item, [n, dimension], of [n, ..., dimension].

    ``none`` returns the vectors unchanged. ``mean_std`` returns the means followed by the standard
    deviations.
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
