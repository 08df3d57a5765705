"""The estimated cost of training above each cut of an encoder, as a table to choose from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError

# The backward pass of a layer takes about two products of the size of the forward product.
TRAINING_TO_FORWARD = 3
BATCH_SIZE, REPEATS = 8, 3


@dataclass(frozen=True)
class TrainingBudget:
    """The maximum cost of training above a cut; None is no limit."""

    seconds: float | None = None
    disk_bytes: float | None = None


@dataclass(frozen=True)
class Cost:
    """The estimated cost of training above a cut: once for the lower part, and for each epoch."""

    disk_bytes: int
    caching_s: float | None
    epoch_s: float | None


def estimated(cut: Cut, items: int, dtype: str, forward_s: float) -> Cost:
    """Return the estimated cost of training above a cut.

    Args:
        cut: The cut.
        items: The number of items.
        dtype: The type of activations on disk, ``float16`` or ``float32``.
        forward_s: Seconds that the complete encoder takes for one item.
    """
    disk_bytes = items * cut.activation_bytes(dtype)
    if cut.share_below is None:
        return Cost(disk_bytes, None, None)
    training_s = items * forward_s * (1 - cut.share_below) * TRAINING_TO_FORWARD
    return Cost(disk_bytes, items * forward_s * cut.share_below, training_s)


def deepest_within(
    cuts: Sequence[Cut],
    budget: TrainingBudget,
    items: int,
    epochs: int,
    dtype: str,
    forward_s: float,
    where: str,
    views: int = 0,
) -> Cut:
    """Return the lowest cut whose estimate is within a budget.

    ``cuts`` are in order from the lowest to the topmost. ``views`` is the number of augmented views
    whose activations are also kept.

    Raises:
        BlocksError: No budget is set, or no cut is within the budget.
    """
    if budget == TrainingBudget():
        problem = "trainable is 'auto', which needs a budget of seconds or of disk"
        raise BlocksError(where, "trainable", problem, "", "Set most_s or most_disk_gb")
    least = ""
    for cut in cuts:
        cost = estimated(cut, items, dtype, forward_s)
        times_s = (cost.caching_s, cost.epoch_s)
        caching_s, epoch_s = ((1 + views) * (times_s[0] or 0), times_s[1] or 0)
        seconds = None if None in times_s else caching_s + epochs * epoch_s
        disk_bytes = (1 + views) * cost.disk_bytes
        least = f"{_time(seconds)} and {_size(disk_bytes)}"
        is_short = budget.seconds is None or (seconds is not None and seconds <= budget.seconds)
        if is_short and (budget.disk_bytes is None or disk_bytes <= budget.disk_bytes):
            return cut
    problem = f"no cut is within the budget: even the topmost needs about {least}"
    raise BlocksError(
        where,
        "trainable",
        problem,
        "",
        "Raise most_s or most_disk_gb, or train only a head with the step train_head",
    )


def told_whole(cut: CutEncoder, items: int) -> str:
    """Return a sentence on the cost of training the whole encoder.

    The cost follows from a forward pass that is measured on this machine.
    """
    epoch_s = items * measured_forward_s(cut) * TRAINING_TO_FORWARD
    return f"about {_time(epoch_s)} per epoch of {items} items on this machine, without a cache"


def measured_forward_s(cut: CutEncoder) -> float:
    """Return the seconds that the encoder takes for an item on this machine: the best of a few."""
    encoder = cut.encoder
    inputs = tf.convert_to_tensor(encoder.prepare(encoder.input.samples()[:1] * BATCH_SIZE))
    forward = traced(encoder.features)
    forward(inputs)
    times_s = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        forward(inputs).numpy()
        times_s.append(time.perf_counter() - begun)
    return min(times_s) / BATCH_SIZE


def cut_lines(cuts: Sequence[Cut], items: int, dtype: str, forward_s: float) -> list[str]:
    """Return the cuts as lines of a table, from the topmost down: ``trainable=N`` means line N."""
    header = ("blocks", "trained from", "variables", "parameters", "below", "an item")
    costs = ("disk", "caching", "an epoch")
    rows = [header + costs]
    for blocks, cut in enumerate(reversed(cuts), 1):
        cost = estimated(cut, items, dtype, forward_s)
        rows.append(
            (
                str(blocks),
                cut.above[0],
                str(len(cut.above)),
                f"{cut.parameters_above:,}",
                "?" if cut.share_below is None else f"{cut.share_below:.1%}",
                f"{cut.activation_bytes(dtype) / 1e3:.1f} kB",
                _size(cost.disk_bytes),
                _time(cost.caching_s),
                _time(cost.epoch_s),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in rows]


def _aligned(row: tuple[str, ...], widths: Sequence[int]) -> list[str]:
    # Names are aligned to the left, numbers to the right.
    return [
        text.ljust(width) if column == 1 else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def _time(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:,.0f} s"
