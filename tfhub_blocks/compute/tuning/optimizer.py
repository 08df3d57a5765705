"""AdamW with a learning rate for each variable, and a moving average of the variables."""

# decision 23

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.compute.tuning.classifier import Classifier, Values
from tfhub_blocks.compute.tuning.replicas import Replicas

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class AdamW:
    """The optimizer of a classifier's variables, and of its copies on other devices.

    Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, as implemented by Keras.
    Variables of fewer than two dimensions do not decay. ``average`` follows the variables with the
    decay ``average_decay``.

    The state is ``moments``, ``average`` and the number of the step, which the caller counts.

    Args:
        classifiers: A classifier for each local replica, all with the same values.
        multipliers: The factor of the learning rate for each variable of a classifier.
        weight_decay: The fraction of a variable that a step subtracts, times the rate.
        average_decay: The decay of the moving average.
        replicas: The local replicas, and their connection to those of other workers.
    """

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        multipliers: Sequence[float],
        weight_decay: float,
        average_decay: float,
        replicas: Replicas,
    ) -> None:
        self._replicas = replicas
        self._trainings = [
            _Training(each, multipliers, weight_decay, average_decay, replicas)
            for each in classifiers
        ]
        self.average = self._trainings[0].average
        classes = tf.TensorSpec([None, len(classifiers[0].labels)], tf.float32)
        row, number = tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.float32)
        examples = [[each.spec, classes, row] for each in classifiers]
        self._step = traced(self._step_of_each, input_signature=[examples, number, number, number])

    def step(
        self,
        activations: NDArray[np.float32],
        soft: NDArray[np.float32],
        weights: NDArray[np.float32],
        rate: float,
        number: int,
    ) -> tuple[float, float]:
        """Train on one batch, and return its loss and the norm of the gradient.

        Args:
            activations: [n, ...].
            soft: Targets as probabilities, [n, classes].
            weights: The weights of the items, [n].
            rate: The learning rate, before the multiplier of each variable.
            number: The number of the step, counted from 1.
        """
        shares = self._replicas.shares(len(soft))
        examples = [[a[share] for a in (activations, soft, weights)] for share in shares]
        numbers = (np.float32(each) for each in (len(soft), rate, number))
        loss, norm = self._step(examples, *numbers).numpy()
        return float(loss), float(norm)

    def _step_of_each(self, examples: Any, total: Any, rate: Any, number: Any) -> Any:
        return self._replicas.run(
            [
                partial(training.step, own, total, rate, number)
                for training, own in zip(self._trainings, examples, strict=True)
            ]
        )

    def values(self) -> Values:
        """Return a copy of the state: moments, then the average."""
        return [variable.numpy().copy() for variable in self._trainings[0].state]

    def assign(self, values: Values) -> None:
        """Restore a state that ``values`` returned."""
        for training in self._trainings:
            for variable, value in zip(training.state, values, strict=True):
                variable.assign(value)


class _Training:
    """The training of one copy of a classifier, on its device."""

    def __init__(
        self,
        classifier: Classifier,
        multipliers: Sequence[float],
        weight_decay: float,
        average_decay: float,
        replicas: Replicas,
    ) -> None:
        self._classifier = classifier
        self._multipliers = [np.float32(each) for each in multipliers]
        self._weight_decay = weight_decay
        self._average_decay = average_decay
        self._replicas = replicas
        with tf.device(classifier.weights.device):
            zeros = [np.zeros(v.shape, v.dtype.as_numpy_dtype) for v in classifier.variables]
            self.moments = [tf.Variable(zero, trainable=False) for zero in (*zeros, *zeros)]
            self.average = [tf.Variable(v, trainable=False) for v in classifier.variables]
        self.state = [*self.moments, *self.average]

    def step(self, examples: Any, total: Any, rate: Any, number: Any) -> Any:
        """Train on this copy's share of a batch, and return the loss and the gradient's norm.

        ``total`` is the size of the batch.
        """
        activations, soft, weights = examples
        variables = self._classifier.variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = self._classifier.loss(activations, soft, weights, total)
        # The gradient of a gather is sparse.
        own = [tf.convert_to_tensor(each) for each in tape.gradient(loss, variables)]
        loss, *gradients = self._replicas.summed([loss, *own])
        count = len(variables)
        means, squares = self.moments[:count], self.moments[count:]
        for variable, gradient, mean, square, average, multiplier in zip(
            variables, gradients, means, squares, self.average, self._multipliers, strict=True
        ):
            own_rate = rate * multiplier
            if variable.shape.rank > 1:
                variable.assign_sub(own_rate * self._weight_decay * variable)
            # This operation passes over memory once; separate operations pass a dozen times.
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
                grad=gradient,
            )
            average.assign_add((1 - self._average_decay) * (variable - average))
        return tf.stack([loss, tf.linalg.global_norm(gradients)])
