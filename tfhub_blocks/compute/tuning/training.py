"""Training above a cut: epochs over cached activations, until validation stops improving."""

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

# The exit status that a shell reports for SIGTERM.
STATUS_TERMINATED = 143


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch; validation is of the averaged weights, before calibration."""

    number: int
    steps: int  # since the start of training
    learning_rate: float  # of the last step
    train_loss: float
    validation_log_loss: float
    validation_accuracy: float


@dataclass(frozen=True, eq=False)
class Trained:
    """The averaged weights of the epoch with the lowest validation log-loss, and all epochs."""

    values: Values
    epochs: tuple[Epoch, ...]
    best: int
    seconds: float  # of this process alone


@dataclass(frozen=True)
class Safety:
    """The place and interval of a training's checkpoints, and the state of preemption."""

    folder: Path
    identity: str
    every_s: float
    preemption: Preemption


@dataclass
class _Progress:
    """The position of a training; the rest depends only on it and the optimiser's state."""

    epoch: int = 0
    step: int = 0  # in the epoch
    loss_sum: float = 0.0
    best: int = -1
    best_loss: float = float("inf")


class _Run:
    """One running training."""

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
        """Resume from the checkpoint of an earlier attempt at this work, if one exists."""
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
        print(f"resuming from step {done} of an earlier attempt", flush=True)

    def keep(self, now: bool = False) -> None:
        """Write a checkpoint if the interval has passed. Only the first worker writes."""
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
        """Write a checkpoint and end the process, if SIGTERM was received.

        Raises:
            SystemExit: SIGTERM was received.
        """
        if self.safety.preemption.asked:
            self.keep(now=True)
            print("stopping after SIGTERM: the next attempt resumes from here", flush=True)
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
    """Train a classifier's variables on activations. Afterwards they have the last values.

    Each epoch uses the next of the views, in turn.

    The same arguments give the same bits at the same number of threads, even if the process was
    killed and the call repeated.

    Args:
        classifiers: A classifier for each local replica, with the values to start from.
        multipliers: The factor of the learning rate for each variable of a classifier.
        examples: The activations to train on, and to validate with.
        schedule: The length and the step sizes.
        balance_classes: True to weight each class by the inverse of its share.
        seed: The seed of order and mixing.
        safety: The checkpoints.
        replicas: The local replicas, and their connection to those of other workers.
        progress: Called with the steps done and the total.
        where: The calling step, for messages.

    Raises:
        BlocksError: The loss or a gradient is not finite, or a batch has fewer items than
            replicas.
        SystemExit: SIGTERM was received.
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
    """Measure the averaged weights, and keep them if they are the best so far."""
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
            f"{schedule.batch_size} items are too few for {replicas.count} replicas, which share "
            "each batch",
            f"a batch_size of {replicas.count} or more",
            f"Set batch_size={replicas.count} or more, or a smaller instance_count",
        )


def _accuracy(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> float:
    return float((logits.argmax(axis=1) == targets).mean())


def _diverged(step: int, rate: float, schedule: Schedule, folder: Path, where: str) -> BlocksError:
    return BlocksError(
        where,
        "learning_rate",
        f"the loss or its gradient is not finite at step {step + 1} of {schedule.steps}, at "
        f"learning rate {rate:.3g}",
        "",
        f"Set a learning_rate below {schedule.learning_rate:.3g}. The last good checkpoint stays "
        f"in {folder}",
    )
