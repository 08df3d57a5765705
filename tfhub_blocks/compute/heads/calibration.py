"""Log-loss of a classifier's logits, and the temperature that calibrates them."""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

TEMPERATURES = (0.1, 10.0)
"""The range that `calibrate_temperature` searches."""

_ROWS = 65536
"""The number of rows that are in memory as float64 at once."""


def calibrate_temperature(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> float:
    """Return the temperature in `TEMPERATURES` that minimises the log-loss of ``logits / T``.

    The log-loss on these items is never worse than with 1.0: if no temperature is better, 1.0 is
    returned. Temperature scaling of Guo et al., On Calibration of Modern Neural Networks, 2017,
    section 4.2.

    Args:
        logits: ``[items, classes]`` of the validation split, at least one item.
        targets: ``[items]``, the index of each item's class.
    """
    low, high = np.log(TEMPERATURES)
    result = optimize.minimize_scalar(
        lambda log_t: log_loss(logits, targets, float(np.exp(log_t))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    temperature = float(np.exp(result.x))
    gained = log_loss(logits, targets, temperature) < log_loss(logits, targets, 1.0)
    return temperature if gained else 1.0


def log_loss(
    logits: NDArray[np.floating], targets: NDArray[np.integer], temperature: float = 1.0
) -> float:
    """Return the mean over items of the log-loss of ``logits / temperature``.

    Args:
        logits: ``[items, classes]``, at least one item.
        targets: ``[items]``, the index of each item's class.
        temperature: More than 0.
    """
    total = 0.0
    for start in range(0, len(targets), _ROWS):
        part = slice(start, start + _ROWS)
        total += float(log_losses(logits[part], targets[part], temperature).sum())
    return total / len(targets)


def log_losses(
    logits: NDArray[np.floating], targets: NDArray[np.integer], temperature: float = 1.0
) -> NDArray[np.float64]:
    """Return the log-loss of each item, ``[items]``, in nats; same arguments as `log_loss`."""
    losses: NDArray[np.float64] = -log_softmax(logits / np.float64(temperature))[
        np.arange(len(targets)), targets
    ]
    return losses


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithms of the probabilities, ``[items, classes]``, finite if logits are."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
