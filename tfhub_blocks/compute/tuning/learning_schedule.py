"""How long to train, in which steps: defaults from the size of the task, in one place."""

from dataclasses import dataclass, replace
from math import cos, pi, sqrt
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """All that decides a training besides data, start and seed.

    ``learning_rate`` is that of the topmost block and of the head; each block below gets
    ``block_decay`` of the one above it. It rises over ``warm_up_steps`` and falls to nothing as a
    cosine. ``average_decay`` is of the moving average of the weights, which is what comes out.
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
        """How many steps if it does not end early."""
        return self.epochs * self.steps_per_epoch

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warm_up_steps:
            return self.learning_rate * (step + 1) / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        return self.learning_rate * (1 + cos(pi * done)) / 2

    def replaced(self, **given: Any) -> "Schedule":
        """With what is given and not None in place of what is here."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def default_schedule(
    items: int,
    classes: int,
    blocks: int,
    epochs: int | None = None,
    batch_size: int | None = None,
) -> Schedule:
    """What to train with, where nobody says otherwise.

    Few items are passed over often, in small steps; many a few times: about 200 steps for 200
    items, 12,000 for 1,000,000. One rule for all sizes, as Kolesnikov et al., Big Transfer, 2020,
    found it to be enough; the decay by block follows Howard and Ruder, ULMFiT, 2018, and leaves
    the lowest block a tenth of the rate at least.

    Args:
        items: Items to train on, at least one.
        classes: How many classes; smoothing is for more than two.
        blocks: How many blocks of the encoder are trained.
        epochs: In place of the rule's.
        batch_size: In place of the rule's.
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
        # Over a twentieth of the training.
        average_decay=1 - 1 / (1 + steps / 20),
        patience_epochs=max(3, passes // 3),
        label_smoothing=0.05 if classes > 2 else 0.0,
    )
