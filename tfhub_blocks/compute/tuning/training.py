"""Training above a cut: epochs over cached activations, until validation gains no more."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.heads.calibration import log_loss
from tfhub_blocks.compute.heads.feature_splits import class_weights
from tfhub_blocks.compute.tuning.activations import Activations
from tfhub_blocks.compute.tuning.caching import Examples
from tfhub_blocks.compute.tuning.checkpoints import (
    Checkpoint,
    Preemption,
    read_checkpoint,
    write_checkpoint,
)
from tfhub_blocks.compute.tuning.classifier import Classifier, Values
from tfhub_blocks.compute.tuning.learning_schedule import Schedule
from tfhub_blocks.compute.tuning.optimizer import AdamW
from tfhub_blocks.compute.tuning.replicas import Replicas
from tfhub_blocks.compute.tuning.tuning_targets import mixed, soft_targets
from tfhub_blocks.records.base.errors import BlocksError

# As a shell tells of SIGTERM.
STATUS_TERMINATED = 143


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; validation is of the averaged weights, before calibration."""

    number: int
    steps: int  # done in all
    learning_rate: float  # of the last step
    train_loss: float
    validation_log_loss: float
    validation_accuracy: float


@dataclass(frozen=True, eq=False)
class Trained:
    """The averaged weights of the epoch with the least validation log-loss, and all epochs."""

    values: Values
    epochs: tuple[Epoch, ...]
    best: int
    seconds: float  # of this process alone


@dataclass(frozen=True)
class Safety:
    """Where and how often a training's state is kept, and whether the process shall end."""

    folder: Path
    identity: str
    every_s: float
    preemption: Preemption


@dataclass
class _Progress:
    """How far a training is; with the optimiser's state, all that the rest depends on."""

    epoch: int = 0
    step: int = 0  # in the epoch
    loss_sum: float = 0.0
    best: int = -1
    best_loss: float = float("inf")


class _Run:
    """One training under way."""

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        optimizer: AdamW,
        schedule: Schedule,
        safety: Safety,
        replicas: Replicas,
    ) -> None:
        self.classifiers, self.classifier = classifiers, classifiers[0]
        self.optimizer, self.replicas = optimizer, replicas
        self.schedule, self.safety = schedule, safety
        self.at = _Progress()
        self.best_values = self.classifier.values()
        self.epochs: list[Epoch] = []
        self._kept_s = time.monotonic()

    def resume(self) -> None:
        """Go on where an earlier attempt at this work was, if there was one."""
        found = read_checkpoint(self.safety.folder, self.safety.identity)
        if found is None:
            return
        for classifier in self.classifiers:
            classifier.assign(list(found.arrays["variables"]))
        self.optimizer.assign(list(found.arrays["optimizer"]))
        self.best_values = list(found.arrays["best"])
        self.at = _Progress(**found.record["at"])
        self.epochs = [Epoch(**each) for each in found.record["epochs"]]
        done = self.at.epoch * self.schedule.steps_per_epoch + self.at.step
        print(f"going on from step {done}, which an earlier attempt had reached", flush=True)

    def keep(self, now: bool = False) -> None:
        """Write a checkpoint, if it is time; one worker's is that of all."""
        if not self.replicas.worker.is_first:
            return
        if now or time.monotonic() - self._kept_s >= self.safety.every_s:
            arrays = {
                "variables": self.classifier.values(),
                "optimizer": self.optimizer.values(),
                "best": self.best_values,
            }
            record = {"at": asdict(self.at), "epochs": [asdict(each) for each in self.epochs]}
            write_checkpoint(self.safety.folder, self.safety.identity, Checkpoint(arrays, record))
            self._kept_s = time.monotonic()

    def end_if_asked(self) -> None:
        """End the process if it was asked to, with all kept.

        Raises:
            SystemExit: It was asked to.
        """
        if self.safety.preemption.asked:
            self.keep(now=True)
            print("asked to end: what was done is kept, and the next attempt goes on", flush=True)
            raise SystemExit(STATUS_TERMINATED)


def train(
    classifiers: Sequence[Classifier],
    multipliers: list[float],
    examples: Examples,
    schedule: Schedule,
    balance_classes: bool,
    seed: int,
    safety: Safety,
    replicas: Replicas,
    progress: Callable[[int, int], None],
    where: str,
) -> Trained:
    """Train a classifier's variables on activations; they hold the last values afterwards.

    Of several views, each epoch takes the next.

    The same arguments give the same bits at the same number of threads, also if the process was
    killed in between and the same call made again.

    Args:
        classifiers: What to train, holding the values to start from: one for each replica here.
        multipliers: Of the learning rate, for each variable of one.
        examples: What to train on, and to validate with.
        schedule: How long and in which steps.
        balance_classes: Weigh each class by the inverse of its share.
        seed: Of order and mixing.
        safety: Where its state is kept.
        replicas: How these and those of other workers stay in step.
        progress: Called with steps done and steps in all.
        where: Who asks, for messages.

    Raises:
        BlocksError: The loss or a gradient is not finite, or a batch has fewer items than there
            are replicas.
        SystemExit: The process was asked to end.
    """
    begun = time.monotonic()
    _check_batch(schedule, replicas, where)
    decays = schedule.weight_decay, schedule.average_decay
    optimizer = AdamW(classifiers, multipliers, *decays, replicas)
    run = _Run(classifiers, optimizer, schedule, safety, replicas)
    run.resume()
    items, classes = examples.train, len(classifiers[0].labels)
    weights = np.ones(classes, np.float32)
    if balance_classes:
        weights = class_weights(items.targets, classes).astype(np.float32)
    at = run.at
    while at.epoch < schedule.epochs and at.epoch - 1 - at.best < schedule.patience_epochs:
        rate = 0.0
        view = examples.views[at.epoch % len(examples.views)]
        batches = view.shuffled(schedule.batch_size, (seed, at.epoch))
        for index, (activations, targets) in enumerate(batches):
            if index < at.step:
                continue
            step = at.epoch * schedule.steps_per_epoch + index
            soft = soft_targets(targets, classes, schedule.label_smoothing)
            if schedule.mixup > 0:
                activations, soft = mixed(activations, soft, schedule.mixup, (seed, step, 1))
            rate = schedule.rate_at(step)
            loss, norm = optimizer.step(activations, soft, weights[targets], rate, step + 1)
            if not (isfinite(loss) and isfinite(norm)):
                raise _diverged(step, rate, schedule, safety.folder, where)
            at.step, at.loss_sum = index + 1, at.loss_sum + loss
            progress(step + 1, schedule.steps)
            run.keep()
            run.end_if_asked()
        _end_epoch(run, examples.validation, rate)
        run.end_if_asked()
    return Trained(run.best_values, tuple(run.epochs), at.best, time.monotonic() - begun)


def _end_epoch(run: _Run, validation: Activations, rate: float) -> None:
    """Measure the averaged weights, and keep them if none were better."""
    at, schedule = run.at, run.schedule
    current = run.classifier.values()
    run.classifier.assign([average.numpy() for average in run.optimizer.average])
    loss, accuracy = 0.0, 0.0
    if run.replicas.worker.is_first:
        logits = run.classifier.logits_of(validation)
        loss, accuracy = log_loss(logits, validation.targets), _accuracy(logits, validation.targets)
    loss, accuracy = map(float, run.replicas.agreed([np.array([loss, accuracy])])[0])
    if loss < at.best_loss:
        at.best, at.best_loss = at.epoch, loss
        run.best_values = run.classifier.values()
    run.classifier.assign(current)
    train_loss = at.loss_sum / max(at.step, 1)
    steps = (at.epoch + 1) * schedule.steps_per_epoch
    run.epochs.append(Epoch(at.epoch + 1, steps, rate, train_loss, loss, accuracy))
    if run.replicas.worker.is_first:
        print(
            f"epoch {at.epoch + 1:>2}: loss {train_loss:.4f}, validation log-loss {loss:.4f}, "
            f"accuracy {accuracy:.3f}",
            flush=True,
        )
    at.epoch, at.step, at.loss_sum = at.epoch + 1, 0, 0.0


def _check_batch(schedule: Schedule, replicas: Replicas, where: str) -> None:
    if schedule.batch_size < replicas.count:
        raise BlocksError(
            where,
            "batch_size",
            f"it is {schedule.batch_size}, and {replicas.count} replicas share a batch",
            "an item for each at least",
            "set a larger batch_size, or a smaller instance_count",
        )


def _accuracy(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> float:
    return float((logits.argmax(axis=1) == targets).mean())


def _diverged(step: int, rate: float, schedule: Schedule, folder: Path, where: str) -> BlocksError:
    return BlocksError(
        where,
        "learning_rate",
        f"the loss or its gradient is not finite at step {step + 1} of {schedule.steps}, learning "
        f"rate {rate:.3g}",
        "finite numbers",
        f"set a learning_rate below {schedule.learning_rate:.3g}; the last good state stays in "
        f"{folder}",
    )
