"""The plots of a monitoring, as PNG bytes, in the style of evaluations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from tfhub_blocks.compute.evaluation.evaluation_figures import (
    BLUE,
    FAINT,
    ORANGE,
    as_png,
    blank_figure,
    drawn_in_style,
    plain,
)

MOST_CLASSES = 20


@drawn_in_style()
def wealth_png(wealth: Sequence[float], limit: float) -> bytes:
    """Return a plot of the wealth after each look, with the limit of an alarm."""
    figure = blank_figure(6.4, 3.4)
    axes = figure.add_subplot()
    plain(axes)
    numbers = np.arange(len(wealth) + 1)
    axes.plot(numbers, [1.0, *wealth], color=BLUE, marker="o", markersize=3)
    axes.axhline(limit, color=ORANGE, linestyle="--")
    axes.annotate(f"alarm at {limit:g}", (0, limit), color=ORANGE, va="bottom")
    axes.set_yscale("log")
    axes.set_xlim(0, max(len(wealth), 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Evidence of a shift over all looks")
    axes.set_xlabel("Look")
    axes.set_ylabel("Wealth")
    return as_png(figure)


@drawn_in_style()
def classes_png(classes: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a plot of the classes' shares of answers, with intervals, and their shares before.

    Of more than 20 classes, the plot shows those whose shares changed the most.
    """
    order = sorted(classes, key=lambda it: -abs(it["share"] - it["reference_share"]))
    shown = order[:MOST_CLASSES][::-1]
    figure = blank_figure(6.4, 1.2 + 0.26 * len(shown))
    axes = figure.add_subplot()
    plain(axes)
    places = np.arange(len(shown))
    shares = np.array([it["share"] for it in shown])
    below = shares - [it["low"] for it in shown]
    above = np.array([it["high"] for it in shown]) - shares
    axes.errorbar(
        shares, places, xerr=[below, above], fmt="o", color=BLUE, markersize=4, label="these items"
    )
    axes.scatter(
        [it["reference_share"] for it in shown],
        places,
        color=FAINT,
        marker="|",
        s=90,
        label="held-out items of the training data",
    )
    axes.set_yticks(places, [it["label"][:24] for it in shown], parse_math=False)
    axes.set_xlim(left=0)
    axes.set_title("Shares of answers")
    axes.set_xlabel("Share")
    axes.legend(loc="best")
    return as_png(figure)
