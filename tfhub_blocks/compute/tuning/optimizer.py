"""AdamW with a rate for each variable, and a moving average of what it trains."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfhub_blocks.compute.runtime import tf
from tfhub_blocks.compute.tuning.classifier import Classifier, Values

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class AdamW:
    """Trains a classifier's variables, step by step.

    Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, in the form that Keras has;
    variables of fewer than two dimensions do not decay. ``average`` follows the variables with the
    decay ``average_decay``.

    Its state is ``moments``, ``average`` and the number of the step, which the caller counts.
    """

    def __init__(
        self,
        classifier: Classifier,
        multipliers: Sequence[float],
        weight_decay: float,
        average_decay: float,
    ) -> None:
        self._classifier = classifier
        self._multipliers = [np.float32(each) for each in multipliers]
        self._weight_decay = weight_decay
        self._average_decay = average_decay
        zeros = [np.zeros(v.shape, v.dtype.as_numpy_dtype) for v in classifier.variables]
        self.moments = [tf.Variable(zero, trainable=False) for zero in (*zeros, *zeros)]
        self.average = [tf.Variable(v, trainable=False) for v in classifier.variables]
        classes = tf.TensorSpec([None, len(classifier.labels)], tf.float32)
        row, number = tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.float32)
        self.step = tf.function(
            self._step, input_signature=[classifier.spec, classes, row, number, number]
        )

    def _step(self, activations: Any, soft: Any, weights: Any, rate: Any, number: Any) -> Any:
        """Train on one batch; give its loss, and the norm of the gradient.

        Args:
            activations: float32 [n, ...].
            soft: Targets as probabilities, float32 [n, classes].
            weights: Of the items, float32 [n].
            rate: The learning rate, to be multiplied for each variable.
            number: Of the step, counted from 1.
        """
        variables = self._classifier.variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = self._classifier.loss(activations, soft, weights)
        gradients = tape.gradient(loss, variables)
        count = len(variables)
        means, squares = self.moments[:count], self.moments[count:]
        for variable, gradient, mean, square, average, multiplier in zip(
            variables, gradients, means, squares, self.average, self._multipliers, strict=True
        ):
            own_rate = rate * multiplier
            if variable.shape.rank > 1:
                variable.assign_sub(own_rate * self._weight_decay * variable)
            # One pass over memory, where the same in operations of its own takes a dozen.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=BETA_1**number,
                beta2_power=BETA_2**number,
                lr=own_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=tf.convert_to_tensor(gradient),  # a gather's is sparse
            )
            average.assign_add((1 - self._average_decay) * (variable - average))
        return loss, tf.linalg.global_norm(gradients)

    def values(self) -> Values:
        """A copy of its state: moments, then the average."""
        return [variable.numpy().copy() for variable in (*self.moments, *self.average)]

    def assign(self, values: Values) -> None:
        """Take a state up again."""
        for variable, value in zip((*self.moments, *self.average), values, strict=True):
            variable.assign(value)
