"""Comparison of the start, the trained model, and blends of both on the validation split."""

# decisions 22 and 78

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from tfhub_blocks.compute.heads.calibration import calibrate_temperature, log_losses
from tfhub_blocks.compute.heads.interval_estimates import (
    IntervalEstimate,
    mean_difference,
    paired_difference,
)
from tfhub_blocks.compute.tuning.activations import Activations
from tfhub_blocks.compute.tuning.classifier import Classifier, Values

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class BlendCandidate:
    """A calibrated blend on validation: ``share`` 0 is the start, and 1 is the trained model.

    ``temperature`` is the one that calibrates the logits of training, which begin calibrated.
    """

    share: float
    temperature: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class BlendComparison:
    """All candidates, the chosen candidate, and its gain over the start."""

    candidates: tuple[BlendCandidate, ...]
    chosen: BlendCandidate
    log_loss_change: IntervalEstimate  # mean over items; below 0 is better
    accuracy_change: IntervalEstimate  # above 0 is better

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    def told(self) -> str:
        """Return the verdict, in one line."""
        start = self.candidates[0]
        if self.chosen == start:
            return (
                f"the start is better than any blend with the trained model, and is kept: "
                f"validation log-loss {start.log_loss:.4f}, accuracy {start.accuracy:.3f}"
            )
        loss, accuracy = self.log_loss_change, self.accuracy_change
        return (
            f"the blend with {self.chosen.share:.0%} trained is best: validation log-loss "
            f"{start.log_loss:.4f} -> {self.chosen.log_loss:.4f} "
            f"({loss.low:+.4f} to {loss.high:+.4f}), accuracy {start.accuracy:.3f} -> "
            f"{self.chosen.accuracy:.3f} ({accuracy.low:+.3f} to {accuracy.high:+.3f})"
        )


def choose_blend(
    classifier: Classifier, start: Values, trained: Values, validation: Activations
) -> BlendComparison:
    """Assign the best blend of two sets of weights to a classifier, and return the comparison.

    Blends are by weight (WiSE-FT: Wortsman et al., Robust Fine-tuning of Zero-shot Models, 2022).
    Each blend is calibrated, and the blend with the lowest log-loss on validation is chosen. If no
    blend is better than the start, the start is chosen, with exactly its weights.
    """
    candidates, logits = [], []
    for share in SHARES:
        classifier.assign(blended(start, trained, share))
        logits.append(classifier.logits_of(validation))
        temperature = calibrate_temperature(logits[-1], validation.targets)
        losses = log_losses(logits[-1], validation.targets, temperature)
        hits = logits[-1].argmax(axis=1) == validation.targets
        candidates.append(
            BlendCandidate(share, temperature, float(losses.mean()), float(hits.mean()))
        )
    chosen = min(candidates, key=lambda each: each.log_loss)
    classifier.assign(blended(start, trained, chosen.share))
    if chosen == candidates[0]:
        none = IntervalEstimate(0.0, 0.0, 0.0)
        return BlendComparison(tuple(candidates), chosen, none, none)
    number = candidates.index(chosen)
    changes = changes_between(
        logits[0] / candidates[0].temperature,
        logits[number] / chosen.temperature,
        validation.targets,
    )
    return BlendComparison(tuple(candidates), chosen, *changes)


def changes_between(
    start: NDArray[np.floating], chosen: NDArray[np.floating], targets: NDArray[np.integer]
) -> tuple[IntervalEstimate, IntervalEstimate]:
    """Return the changes of log-loss and of accuracy from the start, on the same items.

    The interval of the accuracy agrees with McNemar's exact test. No interval has width zero, even
    where both are right about all items.

    Args:
        start: The calibrated logits of the start, [items, classes].
        chosen: The calibrated logits of the chosen blend.
        targets: The class of each item.
    """
    before, after = (-log_softmax(each.astype(np.float64), axis=1) for each in (start, chosen))
    reach = float(np.abs(after - before).max())
    rows = np.arange(len(targets))
    loss = mean_difference(after[rows, targets] - before[rows, targets], reach)
    hits = (each.argmax(axis=1) == targets for each in (chosen, start))
    return loss, paired_difference(*hits)


def blended(start: Values, trained: Values, share: float) -> Values:
    """Return ``share`` of the trained weights plus the rest of the start, exact at 0 and at 1."""
    if share in (0.0, 1.0):
        return trained if share else start
    kept, taken = np.float32(1 - share), np.float32(share)
    return [kept * a + taken * b for a, b in zip(start, trained, strict=True)]
