"""The accuracy of a model on items without labels, by methods that assume different things."""

# decision 91

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, nnls

# The standard deviation of a normal error, in terms of its mean size: sqrt(pi / 2).
DEVIATION_OF_MEAN_ERROR = 1.2533
RESAMPLES, TRANSPORT_ITEMS, TRANSPORT_RESAMPLES = 200, 600, 20

ASSUMPTIONS = {
    "transport": "the shares of the classes are those of the reference items",
    "threshold": "a confidence that is right so often on reference items is so on current items",
    "confidence": "the confidence is as well calibrated on current items as on reference items",
    "label_shift": "only the shares of the classes have changed, not the look of their items",
}


@dataclass(frozen=True, eq=False)
class Reference:
    """Items with labels that the model was not trained on.

    ``probabilities`` is [n, classes], ``targets`` [n].
    """

    probabilities: NDArray[np.floating]
    targets: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """True for each item with a right answer."""
        found: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.targets
        return found

    def take(self, rows: NDArray[np.int64]) -> "Reference":
        """Return some rows."""
        return Reference(self.probabilities[rows], self.targets[rows])


@dataclass(frozen=True)
class AccuracyEstimate:
    """An estimated accuracy with a 95 % interval, the assumption, and the error in the self-test.

    ``self_test_error`` is the mean distance from the true accuracy on simulated shifts of the
    reference items, whose labels are known; None without a self-test.
    """

    method: str
    value: float
    low: float
    high: float
    assumption: str
    self_test_error: float | None = None


Method = Callable[[Reference, NDArray[np.floating]], float]


def confidence(reference: Reference, current: NDArray[np.floating]) -> float:  # noqa: ARG001
    """Return the mean of the largest probability, which the head's temperature calibrated."""
    return float(current.max(axis=1).mean())


def threshold(reference: Reference, current: NDArray[np.floating]) -> float:
    """Return the fraction of items whose confidence is above a limit.

    The limit is that which as many reference items exceed as are answered correctly. Average
    thresholded confidence: Garg et al., 2201.04234.
    """
    of_reference = np.sort(reference.probabilities.max(axis=1))
    wrong = int((~reference.right).sum())
    if wrong == 0:
        return float((current.max(axis=1) >= of_reference[0]).mean())
    limit = of_reference[wrong - 1]
    return float((current.max(axis=1) > limit).mean())


def transport(reference: Reference, current: NDArray[np.floating]) -> float:
    """Return 1 minus the cost of moving the answers to the shares of the reference's labels.

    Confidence optimal transport: Lu et al., 2302.05018. The cost of an answer and a label is 1
    minus the probability of the label.
    """
    chosen = current
    if len(current) > TRANSPORT_ITEMS:
        rows = np.linspace(0, len(current) - 1, TRANSPORT_ITEMS).astype(np.int64)
        chosen = current[rows]
    counts = np.bincount(reference.targets, minlength=current.shape[1])
    labels = _in_shares(counts / counts.sum(), len(chosen))
    cost = 1 - chosen[:, labels]
    rows, columns = linear_sum_assignment(cost)
    return float(1 - cost[rows, columns].mean())


def _in_shares(shares: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Return ``count`` labels whose shares are nearest to those given (largest remainders)."""
    exact = shares * count
    whole = np.floor(exact).astype(np.int64)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: count - whole.sum()]] += 1
    return np.repeat(np.arange(len(shares)), whole)


def label_shift(reference: Reference, current: NDArray[np.floating]) -> float:
    """Return the accuracy with the classes' accuracies of the reference, and estimated shares.

    Black box shift estimation with soft answers: Lipton et al., 1802.03916.
    """
    shares = label_shares(reference, current)
    classes = range(current.shape[1])
    right = reference.right
    overall = float(right.mean())
    of_class = [
        right[reference.targets == label].mean() if (reference.targets == label).any() else overall
        for label in classes
    ]
    return float(np.dot(shares, of_class))


def label_shares(reference: Reference, current: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the estimated shares of the classes in the current items; they sum to 1."""
    classes = current.shape[1]
    answers = np.zeros((classes, classes))
    for label in range(classes):
        here = reference.targets == label
        answers[:, label] = (
            reference.probabilities[here].mean(axis=0) if here.any() else np.eye(classes)[label]
        )
    shares, _ = nnls(answers, current.mean(axis=0, dtype=np.float64))
    total = shares.sum()
    return shares / total if total > 0 else np.full(classes, 1 / classes)


METHODS: Mapping[str, Method] = {
    "transport": transport,
    "threshold": threshold,
    "confidence": confidence,
    "label_shift": label_shift,
}


def estimate_accuracy(
    reference: Reference,
    current: NDArray[np.floating],
    random: np.random.Generator,
    errors: Mapping[str, float] | None = None,
) -> list[AccuracyEstimate]:
    """Return the estimate of each method, with its interval.

    The interval adds the spread over resampled items and the error in the self-test, as standard
    deviations of independent normal errors.

    Args:
        reference: Items with labels that the model was not trained on.
        current: The probabilities of the current items, [m, classes].
        random: Draws the resamples.
        errors: The error of each method in the self-test (``self_test``).
    """
    found = []
    for name, method in METHODS.items():
        draws = []
        for _ in range(TRANSPORT_RESAMPLES if name == "transport" else RESAMPLES):
            rows = random.integers(0, len(reference.targets), len(reference.targets))
            at = random.integers(0, len(current), len(current))
            draws.append(method(reference.take(rows), current[at]))
        value = method(reference, current)
        spread = 1.96 * float(np.std(draws, ddof=1))
        # The self-test shows the error that resampling cannot: a wrong assumption.
        error = (errors or {}).get(name)
        half = float(np.hypot(spread, 1.96 * DEVIATION_OF_MEAN_ERROR * (error or 0.0)))
        low, high = max(value - half, 0.0), min(value + half, 1.0)
        found.append(AccuracyEstimate(name, value, low, high, ASSUMPTIONS[name], error))
    return found


def self_test(
    vectors: NDArray[np.floating],
    targets: NDArray[np.int64],
    answer: Callable[[NDArray[np.floating]], NDArray[np.floating]],
    random: np.random.Generator,
    items: int,
    rounds: int = 3,
) -> dict[str, float]:
    """Return the mean error of each method on simulated shifts of items with labels.

    One half of the items is the reference, the other is shifted: not at all, by other shares of
    the classes, towards the mean (less contrast), by noise, and all by one random vector.

    Args:
        vectors: The features of items that the model was not trained on, [n, dim].
        targets: Their labels, [n].
        answer: Returns the probabilities for features, [n, classes].
        random: Draws halves and shifts.
        items: The number of current items, as in the real comparison.
        rounds: The number of halves.
    """
    errors: dict[str, list[float]] = {name: [] for name in METHODS}
    deviation = vectors.std(axis=0)
    for _ in range(rounds):
        order = random.permutation(len(vectors))
        first, second = np.array_split(order, 2)
        reference = Reference(answer(vectors[first]), targets[first])
        for shifted, true in _shifts(vectors[second], targets[second], deviation, random, items):
            current = answer(shifted)
            accuracy = float((current.argmax(axis=1) == true).mean())
            for name, method in METHODS.items():
                errors[name].append(abs(method(reference, current) - accuracy))
    return {name: float(np.mean(found)) for name, found in errors.items()}


def _shifts(
    vectors: NDArray[np.floating],
    targets: NDArray[np.int64],
    deviation: NDArray[np.floating],
    random: np.random.Generator,
    items: int,
) -> "list[tuple[NDArray[np.floating], NDArray[np.int64]]]":
    """Return shifted features with their labels."""
    size = min(items, len(vectors))
    rows = random.permutation(len(vectors))[:size]
    here, labels = vectors[rows], targets[rows]
    classes = int(targets.max()) + 1
    weights = random.dirichlet(np.ones(classes))[targets] + 1e-9
    of_shares = random.choice(len(vectors), size, p=weights / weights.sum())
    mean = vectors.mean(axis=0)
    direction = random.normal(size=vectors.shape[1]) * deviation
    noise = random.normal(size=here.shape) * deviation
    return [
        (here, labels),
        (vectors[of_shares], targets[of_shares]),
        (mean + 0.7 * (here - mean), labels),
        (here + 0.5 * noise, labels),
        (here + 0.3 * direction, labels),
    ]
