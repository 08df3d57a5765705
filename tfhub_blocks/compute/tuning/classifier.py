"""The part that is trained: an encoder above a cut, and a head on the features that it gives."""

from collections.abc import Callable, Sequence
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.compute.tuning.activations import Activations

Values = list[NDArray[Any]]
EVALUATION_BATCH = 64


def features_of(upper: Any, items: Activations) -> NDArray[np.float32]:
    """The features of all items, [items, dimension], by a concrete function from activations."""
    batches = items.in_order(EVALUATION_BATCH)
    return np.concatenate([upper(tf.constant(rows)).numpy() for rows, _ in batches])


def feature_scale(features: NDArray[np.float32]) -> np.float32:
    """A power of two near the deviation of features, [n, dimension].

    By it one learning rate of the head fits all encoders, and dividing by it can be undone to the
    bit.
    """
    deviation = float(np.sqrt(features.var(axis=0, dtype=np.float64).mean()))
    return np.float32(2.0 ** round(log2(deviation)) if deviation > 0 else 1)


class Classifier:
    """From activations to logits, with variables to train: those of the encoder, then the head's.

    Args:
        upper: A concrete function from activations to features, with ``variables`` in it.
        variables: What is trained of the encoder.
        head: The head to start with.
        scale: The head sees features divided by it (``feature_scale``).
        penalties: Functions of no argument that give regularization losses.
        device: Where the head's variables are; TensorFlow decides unless told.
    """

    def __init__(
        self,
        upper: Any,
        variables: Sequence[Any],
        head: Head,
        scale: np.float32,
        penalties: Sequence[Callable[[], Any]] = (),
        device: str = "",
    ) -> None:
        self.labels = head.labels
        self._upper = upper
        self._penalties = tuple(penalties)
        self._scale = scale
        with tf.device(device):
            self.weights = tf.Variable(head.weights * scale, name="head/weights")
            self.bias = tf.Variable(head.bias, name="head/bias")
        self.variables = [*variables, self.weights, self.bias]
        # One trace for all sizes of batches, so that the same numbers come in any order of calls.
        self.spec = tf.TensorSpec(upper.inputs[0].shape, tf.float32)
        self._logits = traced(self.logits, input_signature=[self.spec])

    def logits(self, activations: Any) -> Any:
        """Logits, float32 [n, classes], before any temperature; in any graph."""
        return tf.matmul(self._upper(activations) / self._scale, self.weights) + self.bias

    def loss(self, activations: Any, soft: Any, weights: Any, total: Any) -> Any:
        """The mean over items of weight times cross entropy, and the encoder's own penalties.

        ``total`` is what the sum over items is divided by: how many a batch has, of which these
        may be a part.
        """
        logs = tf.nn.log_softmax(self.logits(activations))
        loss = tf.reduce_sum(-tf.reduce_sum(soft * logs, axis=-1) * weights) / total
        return tf.add_n([loss, *(tf.cast(p(), tf.float32) for p in self._penalties)])

    def logits_of(self, items: Activations) -> NDArray[np.float32]:
        """The logits of all items, [items, classes]."""
        batches = items.in_order(EVALUATION_BATCH)
        return np.concatenate([self._logits(rows).numpy() for rows, _ in batches])

    def values(self) -> Values:
        """A copy of what the variables hold."""
        return [variable.numpy().copy() for variable in self.variables]

    def assign(self, values: Values) -> None:
        """Let the variables hold these values."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    def head(self, temperature: float) -> Head:
        """The head on features as the encoder gives them."""
        weights = self.weights.numpy() / self._scale
        return Head(weights, self.bias.numpy(), self.labels, temperature)
