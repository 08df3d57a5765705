"""The trained part: an encoder above a cut, and a head on its features."""

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
    """Return the features of all items, [items, dimension].

    ``upper`` is a concrete function from activations to features.
    """
    batches = items.in_order(EVALUATION_BATCH)
    return np.concatenate([upper(tf.constant(rows)).numpy() for rows, _ in batches])


def feature_scale(features: NDArray[np.float32]) -> np.float32:
    """Return a power of two near the standard deviation of features, [n, dimension].

    With features divided by this scale, one learning rate of the head fits all encoders. Division
    by a power of two can be reversed without rounding.
    """
    deviation = float(np.sqrt(features.var(axis=0, dtype=np.float64).mean()))
    return np.float32(2.0 ** round(log2(deviation)) if deviation > 0 else 1)


class Classifier:
    """A function from activations to logits, with trainable variables of the encoder and the head.

    ``variables`` are those of the encoder, then those of the head.

    Args:
        upper: A concrete function from activations to features, which uses ``variables``.
        variables: The trainable variables of the encoder.
        head: The head to start with.
        scale: The divisor of the features before the head (``feature_scale``).
        penalties: Functions without arguments that return regularization losses.
        device: The device of the head's variables; TensorFlow chooses if empty.
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
        # One trace for all batch sizes, so that results do not depend on the order of calls.
        self.spec = tf.TensorSpec(upper.inputs[0].shape, tf.float32)
        self._logits = traced(self.logits, input_signature=[self.spec])

    def logits(self, activations: Any) -> Any:
        """Return logits, float32 [n, classes], before any temperature; usable in any graph."""
        return tf.matmul(self._upper(activations) / self._scale, self.weights) + self.bias

    def loss(self, activations: Any, soft: Any, weights: Any, total: Any) -> Any:
        """Return the mean over items of weight times cross entropy, plus the encoder's penalties.

        ``total`` is the divisor of the sum over items: the size of the batch, of which these items
        may be a part.
        """
        logs = tf.nn.log_softmax(self.logits(activations))
        loss = tf.reduce_sum(-tf.reduce_sum(soft * logs, axis=-1) * weights) / total
        return tf.add_n([loss, *(tf.cast(p(), tf.float32) for p in self._penalties)])

    def logits_of(self, items: Activations) -> NDArray[np.float32]:
        """Return the logits of all items, [items, classes]."""
        batches = items.in_order(EVALUATION_BATCH)
        return np.concatenate([self._logits(rows).numpy() for rows, _ in batches])

    def values(self) -> Values:
        """Return copies of the values of the variables."""
        return [variable.numpy().copy() for variable in self.variables]

    def assign(self, values: Values) -> None:
        """Assign values to the variables."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)

    def head(self, temperature: float) -> Head:
        """Return the head for features without scaling."""
        weights = self.weights.numpy() / self._scale
        return Head(weights, self.bias.numpy(), self.labels, temperature)
