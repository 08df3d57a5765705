"""Linear heads on frozen features, fitted to the optimum, then chosen and calibrated."""

# decision 19

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.heads import regression
from tfhub_blocks.compute.heads.calibration import calibrate_temperature, log_loss, log_softmax
from tfhub_blocks.compute.heads.feature_splits import WHERE, Split, check_splits, class_weights
from tfhub_blocks.records.base.errors import BlocksError

DEFAULT_STRENGTHS = tuple(float(f"{10**exponent:.3g}") for exponent in np.arange(-2, 6.5, 0.5))
"""0.01 to 1,000,000, two values per decade.

The penalty is added to a *sum* over items, so the best strength grows with the number of items:
for standardised features of a good encoder the best is between about 1e-4 and 1 per item. The grid
covers this range from 200 items (0.02 to 200) to 1,000,000 items (100 to 1,000,000).
"""

HELD_BYTES = 256 * 2**20
"""Training features up to this size, as float32, are kept in memory."""

SAMPLE_BYTES = 64 * 2**20
"""The size of the sample of larger features; the sample has at least as many items as features."""

SAMPLE_PATIENCE = 3
"""The sweep over the sample ends after this number of strengths in a row worse than the best."""


@dataclass(frozen=True, eq=False)
class Head:
    """A linear classifier of the encoder's features, with the standardisation folded in."""

    weights: NDArray[np.float32]  # [dim, classes]
    bias: NDArray[np.float32]  # [classes]
    labels: tuple[str, ...]
    temperature: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return ``features @ weights + bias``, ``[items, classes]``, before the temperature."""
        logits: NDArray[np.float32] = features @ self.weights + self.bias
        return logits

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return softmax(logits / temperature), ``[items, classes]``, finite for finite logits.

        Args:
            features: ``[items, dim]``.
        """
        return np.exp(log_softmax(self.logits(features) / np.float64(self.temperature)))


@dataclass(frozen=True)
class SweepRecord:
    """The result of one regularisation strength."""

    strength: float
    items: int  # fitted to: all training items, or a sample
    train_log_loss: float  # mean over items, with the class weights if balanced
    validation_log_loss: float  # mean over items, unweighted, before calibration
    iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class HeadFit:
    """The chosen head, and the sweeps of the choice, from strong to weak regularisation."""

    head: Head
    strength: float
    method: str  # "held" or "streamed"
    reason: str  # for this method
    sweep: tuple[SweepRecord, ...]  # fits to all training items
    sample_sweep: tuple[SweepRecord, ...] = ()  # fits to a sample, if streamed

    def as_dict(self) -> dict[str, Any]:
        """Return the choice, the method and the sweeps, ready for JSON."""
        return {
            "strength": self.strength,
            "temperature": self.head.temperature,
            "method": self.method,
            "reason": self.reason,
            "sweep": [asdict(record) for record in self.sweep],
            "sample_sweep": [asdict(record) for record in self.sample_sweep],
        }


def parse_strengths(text: str) -> tuple[float, ...]:
    """Return the strengths in a text such as ``0.1, 1, 10``; ``auto`` is the default grid.

    Raises:
        BlocksError: A value is not a number; ``fit_head`` checks the numbers.
    """
    if text == "auto":
        return DEFAULT_STRENGTHS
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise BlocksError(
            WHERE,
            "strengths",
            f"{text!r} contains a value that is not a number",
            "numbers separated by commas, or auto",
            "Set strengths to numbers, such as strengths=0.1,1,10",
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
    with the bias unpenalised, as in scikit-learn's LogisticRegression with ``C = 1 / strength``
    (`regression` describes the method). Of equal validation losses the strongest regularisation
    wins. Then the temperature is calibrated on validation. The same input on the same machine and
    thread count gives the same bits.

    Training features of up to `HELD_BYTES` are kept in memory, twice. Every strength is fitted,
    from strong to weak, and each fit starts from the last. Larger features are streamed: each
    evaluation of the objective reads them from their files. The objective and the tolerance stay
    the same, but fewer fits are needed: strengths are fitted to a sample first, from strong to
    weak. From the best of these, fits to all items continue with weaker strengths while validation
    improves, or else with stronger strengths. Memory then contains some chunks, the sample, the
    validation logits and a few values for each item.

    Args:
        train: At least one item of every class.
        validation: At least one item; classes may be missing.
        labels: At least two labels; ``targets`` are their indices.
        strengths: L2 strengths, each positive, in any order; repeated values count once.
        balance_classes: True to weight each training item by
            ``items / (classes * items of its class)``. Validation log-loss stays unweighted.
        max_iterations: The limit of L-BFGS iterations for each strength.
        progress: Called with each strength's record as soon as it is known.

    Raises:
        BlocksError: An argument is out of range, a split is empty or does not fit the labels, the
            training split lacks a class, or a feature is not finite (the message names the item).
    """
    labels = tuple(labels)
    _check_parameters(labels, strengths, max_iterations)
    check_splits(train, validation, labels)
    item_weights = np.ones(len(train.targets))
    if balance_classes:
        item_weights = class_weights(train.targets, len(labels))[train.targets]
    task = _Task(train, validation, item_weights, labels, max_iterations, progress)
    grid = sorted({float(value) for value in strengths}, reverse=True)
    held = train.size_bytes <= HELD_BYTES
    with regression.one_blas_thread():
        sweep, of_sample = _held_sweep(task, grid) if held else _streamed_sweep(task, grid)
        best = sweep.best
        temperature = calibrate_temperature(_logits(best.head, validation), validation.targets)
    return HeadFit(
        replace(best.head, temperature=temperature),
        best.record.strength,
        "held" if held else "streamed",
        f"training features take {train.size_bytes / 2**20:.1f} MiB of memory, and up to "
        f"{HELD_BYTES / 2**20:.0f} MiB are kept in memory",
        tuple(sorted(sweep.records, key=lambda record: -record.strength)),
        tuple(of_sample),
    )


@dataclass(frozen=True, eq=False)
class _Task:
    """The data and the options of fits."""

    train: Split
    validation: Split
    item_weights: NDArray[np.float64]
    labels: tuple[str, ...]
    max_iterations: int
    progress: Callable[[SweepRecord], None] | None


@dataclass(frozen=True, eq=False)
class _Fit:
    head: Head
    parameters: NDArray[np.float64]
    record: SweepRecord


class _Sweep:
    """A series of fits, each started from the last; keeps the records and the best fit."""

    def __init__(
        self, task: _Task, design: regression.Design, start: NDArray[np.float64] | None = None
    ) -> None:
        self.records: list[SweepRecord] = []
        self.design = design
        self._task = task
        zeros = np.zeros((design.axes.shape[1] + 1, len(task.labels)))
        self._start = zeros if start is None else start
        self._best: _Fit | None = None

    @property
    def best(self) -> _Fit:
        """The fit with the lowest validation log-loss; of equal fits the strongest."""
        assert self._best is not None  # noqa: S101 - there is at least one strength
        return self._best

    def fit(self, strength: float) -> bool:
        """Fit with one strength, and return True if the fit is the best so far."""
        task = self._task
        solution = regression.minimise(
            self.design,
            task.train.targets,
            task.item_weights,
            strength,
            self._start,
            task.max_iterations,
        )
        self._start = solution.parameters
        head = Head(*regression.unfolded(self.design, solution.parameters), task.labels, 1.0)
        record = SweepRecord(
            strength,
            len(task.train.targets),
            solution.log_loss,
            log_loss(_logits(head, task.validation), task.validation.targets),
            solution.iterations,
            solution.converged,
        )
        self.records.append(record)
        if task.progress is not None:
            task.progress(record)
        is_best = self._best is None or _rank(record) < _rank(self._best.record)
        if is_best:
            self._best = _Fit(head, solution.parameters, record)
        return is_best

    def walk(self, strengths: Sequence[float]) -> bool:
        """Fit strengths from the best fit on, until one is no better; True if the best changed."""
        self._start, before = self.best.parameters, self.best
        for strength in strengths:
            if not self.fit(strength):
                break
        return self.best is not before


def _rank(record: SweepRecord) -> tuple[float, float]:
    return record.validation_log_loss, -record.strength


def _held_sweep(task: _Task, grid: Sequence[float]) -> tuple[_Sweep, Sequence[SweepRecord]]:
    """Fit every strength, with the training features in memory."""
    features = np.asarray(task.train.features, np.float32)
    if task.validation.size_bytes <= HELD_BYTES:
        task = replace(task, validation=task.validation.held())
    moments = regression.moments(lambda: regression.sliced(features), len(features))
    sweep = _Sweep(task, regression.held_design(features, moments))
    for strength in grid:
        sweep.fit(strength)
    return sweep, ()


def _streamed_sweep(task: _Task, grid: Sequence[float]) -> tuple[_Sweep, Sequence[SweepRecord]]:
    """Fit every strength to a sample, then strengths around the best to all items."""
    moments = regression.moments(task.train.chunks, len(task.train.targets))
    sample = _sampled(task)
    features = np.asarray(sample.train.features)
    of_sample = _Sweep(sample, regression.held_design(features, moments))
    # The weakest strengths take the most iterations, and are usually far from the best.
    worse = 0
    for strength in grid:
        worse = 0 if of_sample.fit(strength) else worse + 1
        if worse == SAMPLE_PATIENCE:
            break
    design = regression.streamed_design(task.train.chunks, moments, of_sample.design)
    sweep = _Sweep(task, design, of_sample.best.parameters)
    first = grid.index(of_sample.best.record.strength)
    sweep.fit(grid[first])
    # A strength is the precision of a prior on the weights, so the number of items does not matter.
    if not sweep.walk(grid[first + 1 :]):
        sweep.walk(grid[:first][::-1])
    return sweep, of_sample.records


def _sampled(task: _Task) -> _Task:
    """Return the task on a sample in memory."""
    dim = task.train.features.shape[1]
    items = max(SAMPLE_BYTES // (4 * dim), dim)
    rows = task.train.sample_rows(items)
    return replace(
        task,
        train=task.train.taken(rows),
        validation=task.validation.taken(task.validation.sample_rows(items)),
        item_weights=task.item_weights[rows],
    )


def _logits(head: Head, split: Split) -> NDArray[np.float32]:
    """Return a head's logits for a split, ``[items, classes]``."""
    return np.concatenate([head.logits(chunk) for chunk in split.chunks()])


def _check_parameters(
    labels: tuple[str, ...], strengths: Sequence[float], max_iterations: int
) -> None:
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise BlocksError(
            WHERE,
            "labels",
            f"the snapshot has the labels {list(labels)!r}",
            "two or more different labels",
            "Take a snapshot of data with items of two or more classes",
        )
    wrong = [value for value in strengths if not (np.isfinite(value) and value > 0)]
    if wrong or len(strengths) == 0:
        raise BlocksError(
            WHERE,
            "strengths",
            f"{wrong[0]!r} is not a usable strength" if wrong else "strengths has no value",
            "one or more positive numbers",
            "Set strengths=auto for the default grid, or values such as strengths=0.1,1,10",
        )
    if max_iterations < 1:
        raise BlocksError(
            WHERE,
            "max_iterations",
            f"{max_iterations} is less than 1",
            "1 iteration or more",
            "Set max_iterations=1 or more",
        )
