"""Whether training was worth it: the start, the trained, and blends of them, on validation."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.heads.calibration import calibrate_temperature, log_losses
from tfhub_blocks.compute.heads.interval_estimates import IntervalEstimate
from tfhub_blocks.compute.tuning.activations import Activations
from tfhub_blocks.compute.tuning.classifier import Classifier, Values

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
RESAMPLES = 2000
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class BlendCandidate:
    """A blend, calibrated, on validation: 0 as ``share`` is the start, and 1 the trained.

    ``temperature`` is that of the logits as they are trained, which start out calibrated.
    """

    share: float
    temperature: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class BlendComparison:
    """All candidates, which one was chosen, and what it gained over the start."""

    candidates: tuple[BlendCandidate, ...]
    chosen: BlendCandidate
    log_loss_change: IntervalEstimate  # mean over items; below 0 is better
    accuracy_change: IntervalEstimate  # above 0 is better

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def told(self) -> str:
        """The verdict, in a line."""
        start = self.candidates[0]
        if self.chosen == start:
            return (
                f"the start is better than any blend with what was trained, and comes out: "
                f"validation log-loss {start.log_loss:.4f}, accuracy {start.accuracy:.3f}"
            )
        loss, accuracy = self.log_loss_change, self.accuracy_change
        return (
            f"{self.chosen.share:.0%} trained comes out: validation log-loss "
            f"{start.log_loss:.4f} -> {self.chosen.log_loss:.4f} "
            f"({loss.low:+.4f} to {loss.high:+.4f}), accuracy {start.accuracy:.3f} -> "
            f"{self.chosen.accuracy:.3f} ({accuracy.low:+.3f} to {accuracy.high:+.3f})"
        )


def choose_blend(
    classifier: Classifier, start: Values, trained: Values, validation: Activations
) -> BlendComparison:
    """Let a classifier hold the best blend of two sets of weights; give how all compare.

    Blends are by weight (WiSE-FT: Wortsman et al., Robust Fine-tuning of Zero-shot Models, 2022).
    Each is calibrated, and the one with the least log-loss on validation is chosen; the start
    where none is better, which then comes out to the bit.
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
    losses, hits = (
        np.stack(
            [
                measured(logits[number], validation.targets, candidates[number].temperature)
                for number in (0, candidates.index(chosen))
            ]
        )
        for measured in (log_losses, _hits)
    )
    return BlendComparison(
        tuple(candidates), chosen, _gain(losses[1] - losses[0]), _gain(hits[1] - hits[0])
    )


def blended(start: Values, trained: Values, share: float) -> Values:
    """So much of the trained and the rest of the start; to the bit at 0 and at 1."""
    if share in (0.0, 1.0):
        return trained if share else start
    kept, taken = np.float32(1 - share), np.float32(share)
    return [kept * a + taken * b for a, b in zip(start, trained, strict=True)]


def _hits(
    logits: NDArray[np.floating], targets: NDArray[np.integer], _temperature: float
) -> NDArray[np.float64]:
    hits: NDArray[np.float64] = (logits.argmax(axis=1) == targets).astype(np.float64)
    return hits


def _gain(differences: NDArray[np.float64]) -> IntervalEstimate:
    """The mean over items, chosen less start, with its bootstrap interval (Efron 1979)."""
    random = np.random.default_rng(0)
    count = len(differences)
    means = [differences[random.integers(0, count, count)].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, PERCENTILES)
    return IntervalEstimate(float(differences.mean()), float(low), float(high))
