"""The test of assumptions about an encoder's input: other assumptions, tried on labelled items."""

# decision 97

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from tfhub_blocks.compute.heads import interval_estimates
from tfhub_blocks.compute.heads.interval_estimates import IntervalEstimate
from tfhub_blocks.compute.heads.ridge import LeaveOneOut, leave_one_out
from tfhub_blocks.compute.inference.computations import Computation, Item, batched
from tfhub_blocks.compute.tf.tensorflow_setup import tf

PINNED = "as pinned"
# An assumption is clearly worse if it is behind by this much, and not by chance.
LEAST_LEAD = 0.05
CHANCE = 0.025
BATCH_SIZE = 8


@dataclass(frozen=True, eq=False)
class InputTrial:
    """The accuracy of an encoder's features under one assumption about its input."""

    name: str
    answer: LeaveOneOut

    def lead(self, other: "InputTrial") -> IntervalEstimate:
        """Return how far this assumption is ahead of another in accuracy, paired by item."""
        return interval_estimates.paired_difference(self.answer.hits, other.answer.hits)


def input_trials(
    computations: Mapping[str, Callable[[], Computation]],
    items: Sequence[Item],
    targets: NDArray[np.int64],
    pinned: NDArray[np.floating] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[InputTrial]:
    """Try each assumption, and return the trials, the most accurate first.

    An assumption under which the encoder fails or returns NaN is left out.

    Args:
        computations: For each assumption, a function that returns the computation of features;
            ``PINNED`` is one of them.
        items: Labelled items.
        targets: The numbers of their classes.
        pinned: The features for ``PINNED``, if they are known.
        progress: Called with the number of items done, and their total.
    """
    trials = []
    total = len(computations) * len(items)
    for number, (name, begin) in enumerate(computations.items()):
        is_known = name == PINNED and pinned is not None
        features = pinned if is_known else _features(begin(), items)
        if progress is not None:
            progress((number + 1) * len(items), total)
        if features is not None and np.isfinite(features).all():
            trials.append(InputTrial(name, leave_one_out(features, targets)))
    # Of equally accurate assumptions, the pinned one comes first.
    return sorted(trials, key=lambda each: (-each.answer.accuracy.value, each.name != PINNED))


def clearly_better(trials: Sequence[InputTrial]) -> InputTrial | None:
    """Return the first trial if the pinned assumption is clearly worse, else None.

    The chance of McNemar's exact test is divided by the number of other assumptions.
    """
    pinned = next((each for each in trials if each.name == PINNED), None)
    if pinned is None or not trials or trials[0] is pinned:
        return None
    first = trials[0]
    gained = int((first.answer.hits & ~pinned.answer.hits).sum())
    lost = int((~first.answer.hits & pinned.answer.hits).sum())
    chance = float(bdtrc(gained - 1, gained + lost, 0.5)) if gained else 1.0
    is_clear = chance * (len(trials) - 1) <= CHANCE
    return first if is_clear and first.lead(pinned).value >= LEAST_LEAD else None


def could_be_better(features: NDArray[np.floating], targets: NDArray[np.int64]) -> bool:
    """Return True if any assumption could be clearly better than these features are."""
    missed = int((~leave_one_out(features, targets).hits).sum())
    return missed / len(targets) >= LEAST_LEAD and 0.5**missed <= CHANCE


def worse_text(trials: Sequence[InputTrial]) -> str | None:
    """Return a sentence if the pinned assumption is clearly worse than another, else None."""
    better = clearly_better(trials)
    if better is None:
        return None
    pinned = next(each for each in trials if each.name == PINNED)
    lead = better.lead(pinned)
    return (
        f"the assumptions of the pin about the input are clearly worse than {better.name}: "
        f"leave-one-out accuracy {pinned.answer.accuracy.value:.3f} and "
        f"{better.answer.accuracy.value:.3f}, ahead by {lead.value:.3f} "
        f"[{lead.low:.3f}, {lead.high:.3f}] on {len(pinned.answer.hits)} items. Look up the "
        f"publisher's page, and pin the encoder again with --facts {better.name}"
    )


def _features(computation: Computation, items: Sequence[Item]) -> NDArray[np.float32]:
    rows = []
    for batch in batched(items, computation.batch_size):
        given = tf.nest.map_structure(tf.convert_to_tensor, computation.prepared(batch))
        answer = np.asarray(tf.nest.flatten(computation.forward(given))[0])
        rows.append(computation.flat(answer)[: len(batch)])
    return np.concatenate(rows)
