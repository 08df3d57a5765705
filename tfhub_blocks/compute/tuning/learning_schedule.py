"""The length and the step sizes of a training: defaults from the size of the task."""

from dataclasses import dataclass, replace
from math import cos, pi, sqrt
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """All settings that affect a training apart from data, start and seed.

    ``learning_rate`` is for the topmost block and the head; the rate of each lower block is
    ``block_decay`` times that of the block above. The rate rises over ``warm_up_steps`` and falls
    to zero as a cosine. ``average_decay`` is the decay of the moving average of the weights, which
    is the result of training.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int
    learning_rate: float
    warm_up_steps: int
    block_decay: float
    average_decay: float
    patience_epochs: int
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    mixup: float = 0.0

    @property
    def steps(self) -> int:
        """The number of steps, if training does not end early."""
        return self.epochs * self.steps_per_epoch

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warm_up_steps:
            return self.learning_rate * (step + 1) / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        return self.learning_rate * (1 + cos(pi * done)) / 2

    def replaced(self, **given: Any) -> "Schedule":
        """Return a schedule with the passed fields replaced; None leaves a field unchanged."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def default_schedule(
    items: int,
    classes: int,
    blocks: int,
    epochs: int | None = None,
    batch_size: int | None = None,
) -> Schedule:
    """Return the default schedule for a training task.

    A few items are trained on in many epochs and small steps, many items in few epochs: about 200
    steps for 200 items, 12,000 for 1,000,000. One rule serves all sizes, which Kolesnikov et al.,
    Big Transfer, 2020, found to be enough. The decay by block follows Howard and Ruder, ULMFiT,
    2018; the lowest block gets at least a tenth of the rate.

    Args:
        items: The number of items to train on, at least one.
        classes: The number of classes; labels are smoothed for more than two.
        blocks: The number of trained blocks of the encoder.
        epochs: The number of epochs, if not by the rule.
        batch_size: The batch size, if not by the rule.
    """
    sizes = ((2_000, 32), (20_000, 64), (200_000, 128))
    by_rule = next((size for most, size in sizes if items < most), 256)
    batch = min(batch_size or by_rule, items)
    passes = epochs or int(min(30, max(3, round(30 * sqrt(1_000 / items)))))
    steps_per_epoch = items // batch
    steps = passes * steps_per_epoch
    return Schedule(
        epochs=passes,
        steps_per_epoch=steps_per_epoch,
        batch_size=batch,
        learning_rate=5e-4 * sqrt(batch / 32),
        warm_up_steps=max(1, steps // 10),
        block_decay=max(0.7, 0.1 ** (1 / max(1, blocks - 1))),
        # The average covers a twentieth of the training.
        average_decay=1 - 1 / (1 + steps / 20),
        patience_epochs=max(3, passes // 3),
        label_smoothing=0.05 if classes > 2 else 0.0,
    )
