"""The check that an encoder is a function of one item.

An item's features must not depend on the other items of a batch, on their order, on earlier calls
or on chance. Otherwise features from training differ from features that a served model computes.
"""

# decision 96

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[Sequence[bytes]], NDArray[np.floating]]
BATCHES = (1, 2, 7)
# Other sizes of a batch change float32 by about 1e-6 of the largest value, and half types by more.
TOLERANCE = 1e-3
HALF_TOLERANCE = 0.03
REFUSED = -1


def item_fault(
    encode: Encode,
    items: Sequence[bytes],
    edges: Sequence[bytes] = (),
    tolerance: float = TOLERANCE,
) -> str | None:
    """Return a sentence if an encoder is no function of one item, else None.

    The items are encoded together, twice, alone, in the reverse order, and in batches of 1, 2 and
    7.

    Args:
        encode: Returns the features of items, [items, dimension].
        items: Items that the encoder takes.
        edges: Items that the encoder may refuse with an error.
        tolerance: The largest difference, relative to the largest feature of the item.
    """
    asked = list(items)
    for edge in edges:
        count = _rows(encode, edge)
        if count not in (1, REFUSED):
            return f"the encoder returns {count} rows for one item, {_shown(edge)}"
        asked += [edge] * (count == 1)
    together = encode(asked)
    if len(together) != len(asked):
        return f"the encoder returns {len(together)} rows for {len(asked)} items"
    again = encode(asked)
    if (number := _differs(together, again, tolerance)) is not None:
        return f"the encoder gives other features for item {number} each time it is called"
    turned = encode(asked[::-1])
    if len(turned) != len(asked):
        return f"the encoder returns {len(turned)} rows for {len(asked)} items in another order"
    for size in BATCHES:
        order = [number % len(asked) for number in range(max(size, len(asked)))]
        rows = []
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            given = encode([asked[number] for number in batch])
            if len(given) != len(batch):
                return f"the encoder returns {len(given)} rows for {len(batch)} items"
            rows.append(given)
        found = _differs(together[order], np.concatenate(rows), tolerance)
        if found is not None:
            return (
                f"the features of item {order[found]} depend on the other items of its batch: "
                f"together with {len(asked) - 1} others they differ from a batch of {size}"
            )
    if (number := _differs(together, turned[::-1], tolerance)) is not None:
        return f"the features of item {number} depend on its position in the batch"
    return None


def _rows(encode: Encode, edge: bytes) -> int:
    try:
        return len(encode([edge]))
    except Exception:  # a tokenizer may raise anything
        return REFUSED


def _differs(
    one: NDArray[np.floating], other: NDArray[np.floating], tolerance: float
) -> int | None:
    """Return the number of the first row that differs, or None."""
    if one.shape != other.shape:
        return 0
    for number, (before, after) in enumerate(zip(one, other, strict=True)):
        finite = np.abs(before[np.isfinite(before)])
        largest = float(finite.max()) if finite.size else 0.0
        bound = tolerance * max(largest, 1e-12)
        if not np.allclose(before, after, rtol=0, atol=bound, equal_nan=True):
            return number
    return None


def _shown(content: bytes) -> str:
    return repr(content[:20].decode("utf-8", "replace"))
