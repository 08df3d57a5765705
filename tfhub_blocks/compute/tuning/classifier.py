"""The part that is trained: an encoder above a cut, and a head on the features that it gives."""

from collections.abc import Callable, Sequence
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.heads import Head
from tfhub_blocks.compute.runtime import tf
from tfhub_blocks.compute.tuning.activations import Activations

Values = list[NDArray[Any]]
EVALUATION_BATCH = 64


class Classifier:
    """From activations to logits, with variables to train: those of the encoder, then the head's.

    The head sees features divided by a power of two near their deviation, so that one learning
    rate fits all encoders, and so that undoing it is exact.

    Args:
        upper: A concrete function from activations to features, with ``variables`` in it.
        variables: What is trained of the encoder.
        head: The head to start with.
        penalties: Functions of no argument that give regularization losses.
    """

    def __init__(
        self,
        upper: Any,
        variables: Sequence[Any],
        head: Head,
        penalties: Sequence[Callable[[], Any]] = (),
    ) -> None:
        self.labels = head.labels
        self._upper = upper
        self._penalties = tuple(penalties)
        self._scale = np.float32(1)
        self.weights = tf.Variable(head.weights, name="head/weights")
        self.bias = tf.Variable(head.bias, name="head/bias")
        self.variables = [*variables, self.weights, self.bias]
        # One trace for all sizes of batches, so that the same numbers come in any order of calls.
        self.spec = tf.TensorSpec(upper.inputs[0].shape, tf.float32)
        self._logits = tf.function(self.logits, input_signature=[self.spec])
        self._features = tf.function(self.features, input_signature=[self.spec])

    def scaled_to(self, features: NDArray[np.float32]) -> "Classifier":
        """This, with its head in units of the deviation of these features, [n, dimension]."""
        deviation = float(np.sqrt(features.var(axis=0, dtype=np.float64).mean()))
        scale = np.float32(2.0 ** round(log2(deviation)) if deviation > 0 else 1)
        self.weights.assign(self.weights * (scale / self._scale))
        self._scale = scale
        return self

    def features(self, activations: Any) -> Any:
        """Features, float32 [n, dimension], of activations, float32 [n, ...]; in any graph."""
        return self._upper(activations)

    def logits(self, activations: Any) -> Any:
        """Logits, float32 [n, classes], before any temperature; in any graph."""
        return tf.matmul(self.features(activations) / self._scale, self.weights) + self.bias

    def loss(self, activations: Any, soft: Any, weights: Any) -> Any:
        """The mean over items of weight times cross entropy, and the encoder's own penalties."""
        logs = tf.nn.log_softmax(self.logits(activations))
        loss = tf.reduce_mean(-tf.reduce_sum(soft * logs, axis=-1) * weights)
        return tf.add_n([loss, *(tf.cast(p(), tf.float32) for p in self._penalties)])

    def features_of(self, items: Activations) -> NDArray[np.float32]:
        """The features of all items, [items, dimension]."""
        batches = items.in_order(EVALUATION_BATCH)
        return np.concatenate([self._features(rows).numpy() for rows, _ in batches])

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
