"""Linear heads on frozen features: fitted to the optimum, chosen and calibrated on validation."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tfhub_blocks.compute import regression
from tfhub_blocks.records.errors import BlocksError

WHERE = "train_head"

DEFAULT_STRENGTHS = tuple(float(f"{10**exponent:.3g}") for exponent in np.arange(-2, 6.5, 0.5))
"""0.01 to 1,000,000, two values a decade.

The penalty is weighed against a *sum* over items, so the best strength grows with their number:
on standardised features of a good encoder it lies between about 1e-4 and 1 per item. The grid
covers that from 200 items (0.02 to 200) to 1,000,000 (100 to 1,000,000).
"""

TEMPERATURES = (0.1, 10.0)
"""The range that `calibrate_temperature` searches."""


@dataclass(frozen=True, eq=False)
class Split:
    """The features of one split: row ``i`` belongs to item ``ids[i]`` of class ``targets[i]``."""

    features: NDArray[np.float32]  # [items, dim]
    targets: NDArray[np.integer]  # [items], index into the labels
    ids: Sequence[str]  # [items]


@dataclass(frozen=True, eq=False)
class Head:
    """A linear classifier of features as the encoder gives them (standardisation is folded in)."""

    weights: NDArray[np.float32]  # [dim, classes]
    bias: NDArray[np.float32]  # [classes]
    labels: tuple[str, ...]
    temperature: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return ``features @ weights + bias``, ``[items, classes]``, before the temperature."""
        logits: NDArray[np.float32] = features @ self.weights + self.bias
        return logits

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return ``[items, classes]``, softmax(logits / temperature), finite for any finite logit.

        Args:
            features: ``[items, dim]``.
        """
        return np.exp(_log_softmax(self.logits(features) / np.float64(self.temperature)))


@dataclass(frozen=True)
class SweepRecord:
    """What one regularisation strength gave."""

    strength: float
    train_log_loss: float  # mean over items, with the class weights if balanced
    validation_log_loss: float  # mean over items, unweighted, before calibration
    iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class HeadFit:
    """The chosen head, and the sweep that it was chosen from (strongest regularisation first)."""

    head: Head
    strength: float
    sweep: tuple[SweepRecord, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what was chosen and the sweep, ready for JSON."""
        return {
            "strength": self.strength,
            "temperature": self.head.temperature,
            "sweep": [asdict(record) for record in self.sweep],
        }


def parse_strengths(text: str) -> tuple[float, ...]:
    """The strengths in a text such as ``0.1, 1, 10``; ``auto`` is the default grid.

    Raises:
        BlocksError: A word in it is no number; ``fit_head`` checks the numbers.
    """
    if text == "auto":
        return DEFAULT_STRENGTHS
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise BlocksError(
            WHERE,
            "strengths",
            f"it is {text!r}",
            "numbers with commas between, or auto",
            "correct it, such as strengths=0.1,1,10",
        ) from error


def fit_head(
    train: Split,
    validation: Split,
    labels: Sequence[str],
    strengths: Sequence[float] = DEFAULT_STRENGTHS,
    balance_classes: bool = False,
    max_iterations: int = 1000,
    progress: Callable[[SweepRecord], None] | None = None,
) -> HeadFit:
    """Return the head with the lowest validation log-loss over a sweep of L2 strengths.

    For each strength the weights are the optimum of
    ``sum(class_weight * log-loss) + strength / 2 * ||W||^2`` over standardised training features,
    with the bias unpenalised: what scikit-learn's LogisticRegression gives for ``C = 1 / strength``
    (`regression` has the method). The sweep goes from strong to weak, each fit starting at the
    last; of equal validation losses the strongest regularisation wins. Then the temperature is
    calibrated on validation. The same input on the same machine and thread count gives the same
    bits. Takes one float32 copy of the training features.

    Args:
        train: At least one item of every class.
        validation: At least one item; classes may be missing.
        labels: At least two; ``targets`` index into it.
        strengths: L2 strengths, each positive; any order, repeats count once.
        balance_classes: Weigh each training item by ``items / (classes * items of its class)``.
            Validation log-loss stays unweighted.
        max_iterations: Of L-BFGS, for each strength.
        progress: Called with each strength's record as soon as it is known.

    Raises:
        BlocksError: An argument is out of range, a split is empty or does not fit the labels, the
            training split lacks a class, or a feature is not finite (the item is named).
    """
    labels = tuple(labels)
    _check_parameters(labels, strengths, max_iterations)
    _check_split("training", train, len(labels))
    _check_split("validation", validation, len(labels))
    _check_pair(train, validation, labels)

    counts = np.bincount(train.targets, minlength=len(labels))
    class_weights = counts.sum() / (len(labels) * counts)
    item_weights = class_weights[train.targets] if balance_classes else np.ones(len(train.targets))
    design = regression.standardised_design(train.features)
    parameters = np.zeros((design.axes.shape[1] + 1, len(labels)))
    sweep: list[SweepRecord] = []
    best, best_loss, best_strength = None, np.inf, 0.0
    for strength in sorted({float(value) for value in strengths}, reverse=True):
        solution = regression.minimise(
            design, train.targets, item_weights, strength, parameters, max_iterations
        )
        parameters = solution.parameters
        head = Head(*regression.unfolded(design, parameters), labels, temperature=1.0)
        loss = _log_loss(head.logits(validation.features), validation.targets, 1.0)
        record = SweepRecord(
            strength, solution.log_loss, loss, solution.iterations, solution.converged
        )
        sweep.append(record)
        if progress is not None:
            progress(record)
        if best is None or loss < best_loss:
            best, best_loss, best_strength = head, loss, strength
    assert best is not None  # noqa: S101 - _check_parameters saw at least one strength
    temperature = calibrate_temperature(best.logits(validation.features), validation.targets)
    chosen = Head(best.weights, best.bias, labels, temperature)
    return HeadFit(chosen, best_strength, tuple(sweep))


def calibrate_temperature(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> float:
    """Return the temperature in `TEMPERATURES` that minimises the log-loss of ``logits / T``.

    Never worse on these items than 1.0, which comes back where nothing is gained. Temperature
    scaling of Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2.

    Args:
        logits: ``[items, classes]`` of the validation split, at least one item.
        targets: ``[items]``.
    """
    low, high = np.log(TEMPERATURES)
    result = optimize.minimize_scalar(
        lambda log_t: _log_loss(logits, targets, float(np.exp(log_t))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    temperature = float(np.exp(result.x))
    gained = _log_loss(logits, targets, temperature) < _log_loss(logits, targets, 1.0)
    return temperature if gained else 1.0


def _log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _log_loss(
    logits: NDArray[np.floating], targets: NDArray[np.integer], temperature: float
) -> float:
    log_probabilities = _log_softmax(logits / np.float64(temperature))
    return -float(log_probabilities[np.arange(len(targets)), targets].mean())


def _check_parameters(
    labels: tuple[str, ...], strengths: Sequence[float], max_iterations: int
) -> None:
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise BlocksError(
            WHERE,
            "labels",
            f"the labels are {list(labels)!r}",
            "two or more different labels",
            "look at the labels of the snapshot",
        )
    wrong = [value for value in strengths if not (np.isfinite(value) and value > 0)]
    if wrong or len(strengths) == 0:
        raise BlocksError(
            WHERE,
            "strengths",
            f"not a usable strength: {wrong[0]!r}" if wrong else "no strength is given",
            "one or more positive numbers",
            "leave it out for the default grid, or give values such as 0.1, 1, 10",
        )
    if max_iterations < 1:
        raise BlocksError(
            WHERE,
            "max_iterations",
            f"it is {max_iterations}",
            "at least 1",
            "leave it out for 1000",
        )


def _check_split(name: str, split: Split, classes: int) -> None:
    items = len(split.targets)
    if split.features.ndim != 2 or not split.features.shape[0] == items == len(split.ids):
        raise BlocksError(
            WHERE,
            "features",
            f"the {name} split has features of shape {split.features.shape}, {items} targets and "
            f"{len(split.ids)} ids",
            "one row, one target and one id for each item",
            "extract the features again",
        )
    if items == 0:
        raise BlocksError(
            WHERE,
            "features",
            f"the {name} split is empty",
            "at least one item",
            f"give the {name} split a larger share in snapshot_data, or more items",
        )
    outside = (split.targets < 0) | (split.targets >= classes)
    if outside.any():
        item = int(outside.argmax())
        raise BlocksError(
            WHERE,
            "features",
            f"item {split.ids[item]!r} of the {name} split has target {split.targets[item]}",
            f"0 to {classes - 1}, an index into the {classes} labels",
            "extract the features again from this snapshot",
        )
    for start in range(0, items, regression.CHUNK_ITEMS):
        chunk = split.features[start : start + regression.CHUNK_ITEMS]
        finite = np.isfinite(chunk).all(axis=1)
        if not finite.all():
            item = start + int(finite.argmin())
            raise BlocksError(
                WHERE,
                "features",
                f"item {split.ids[item]!r} of the {name} split has a feature that is NaN or "
                "infinite",
                "finite numbers",
                "look at that item and take it out, or extract the features again",
            )


def _check_pair(train: Split, validation: Split, labels: tuple[str, ...]) -> None:
    if train.features.shape[1] != validation.features.shape[1]:
        raise BlocksError(
            WHERE,
            "features",
            f"training items have {train.features.shape[1]} features and validation items "
            f"{validation.features.shape[1]}",
            "the same encoder for both",
            "extract the features of all splits in one step",
        )
    present = np.bincount(train.targets, minlength=len(labels)) > 0
    missing = [label for label, there in zip(labels, present, strict=True) if not there]
    if missing:
        named = ", ".join(repr(label) for label in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise BlocksError(
            WHERE,
            "features",
            f"the training split has no item of {named}{more}",
            f"at least one training item of each of the {len(labels)} classes",
            "give snapshot_data another split_salt, more items of that class, or drop the class",
        )
