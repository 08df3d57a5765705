"""The plots of a latency check, as PNG bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.evaluation.evaluation_figures import (
    BLUE,
    DASHES,
    FAINT,
    INK,
    ORANGE,
    as_png,
    blank_figure,
    drawn_in_style,
    plain,
)


@drawn_in_style()
def histogram_png(
    latencies_ms: NDArray[np.float64], marks: Sequence[tuple[str, float]], title: str
) -> bytes:
    """Return a histogram of latencies, on a logarithmic scale, with vertical marks.

    Args:
        latencies_ms: One or more latencies, each above 0.
        marks: Names and latencies of marks, such as percentiles; at most 4.
        title: The title of the plot.
    """
    low, high = latencies_ms.min() * 0.95, latencies_ms.max() * 1.05
    figure = blank_figure(6.2, 4.0)
    axes = figure.add_subplot()
    bins = np.geomspace(low, high, 41).tolist()
    axes.hist(latencies_ms, bins, color=BLUE, edgecolor="white", linewidth=0.6)
    for rank, (name, value) in enumerate(marks):
        look: dict[str, Any] = {"color": INK, "linestyle": DASHES[rank], "linewidth": 1.2}
        axes.axvline(value, label=f"{name}: {value:.2f} ms", **look)
    axes.set_xscale("log")
    ticks = np.geomspace(low, high, 6)
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_title(title)
    axes.set_xlabel("Milliseconds from the due time of a request to its answer")
    axes.set_ylabel("Requests")
    plain(axes)
    axes.legend(loc="upper right")
    return as_png(figure)


@drawn_in_style()
def throughput_png(
    offered: Sequence[float],
    answered: Sequence[float],
    p50_ms: Sequence[float],
    p99_ms: Sequence[float],
) -> bytes:
    """Return a plot of answers per second and of latency against requests per second.

    Args:
        offered: Requests due per second, in rising order.
        answered: Answers per second, for each rate.
        p50_ms: The median latency at each rate.
        p99_ms: The 99th percentile of latency at each rate.
    """
    figure = blank_figure(5.6, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    ideal: dict[str, Any] = {"color": FAINT, "linewidth": 1.2, "linestyle": (0, (5, 3))}
    upper.plot([0, max(offered)], [0, max(offered)], label="All requests", **ideal)
    upper.plot(offered, answered, "o-", color=BLUE, markersize=4, label="Answered")
    upper.set_ylabel("Answers per second")
    upper.set_title("Throughput and latency under load")
    lower.plot(offered, p99_ms, "D--", color=ORANGE, markersize=4, label="p99")
    lower.plot(offered, p50_ms, "o-", color=BLUE, markersize=4, label="p50")
    lower.set_yscale("log")
    lower.set_ylabel("Milliseconds")
    lower.set_xlabel("Requests per second")
    for axes in (upper, lower):
        axes.set_xlim(0, 1.03 * max(offered))
        plain(axes)
        axes.legend(loc="upper left")
    return as_png(figure)
