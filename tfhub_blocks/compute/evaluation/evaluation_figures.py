"""The plots of an evaluation, as PNG bytes.

With one version of matplotlib, equal numbers give equal bytes: the plots contain no metadata and
depend on no global state or style file. They have a white background, so they look the same on a
light page, on a dark page and on paper. Colour-blind readers can distinguish the colours (Okabe and
Ito 2008), and no meaning depends on colour alone: lines have labels, and the cells of a small
matrix contain their counts.
"""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

MOST_CLASSES = 50
"""A confusion matrix of more classes shows those with the most mistakes."""
MOST_COUNTED_CLASSES = 20
MOST_LINES = 8
LONGEST_LABEL = 24
MOST_MARKED_EPOCHS = 40
DPI = 144

INK, FAINT, GRID, BLUE, ORANGE = "#1f2933", "#5f6b7a", "#e4e7eb", "#0072b2", "#d55e00"
LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a6a00"]
DASHES = ["-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2))]
SHARES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#9ecae9", "#0072b2", "#08304f"])

STYLE: dict[str, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def drawn_in_style() -> Iterator[None]:
    """Draw with matplotlib's built-in defaults and `STYLE`, and ignore the local matplotlibrc."""
    defaults = {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if not name.startswith("backend")
    }
    with matplotlib.rc_context({**defaults, **STYLE}):
        yield


@drawn_in_style()
def confusion_matrix_png(confusion: NDArray[np.integer], labels: Sequence[str]) -> bytes:
    """Return a matrix whose colours show the fraction of each true class with each prediction.

    With at most 20 classes, the cells also contain the counts. With more than 50 classes, the plot
    shows only the 50 classes with the most mistakes, as true class or as prediction, and the title
    states this.

    Args:
        confusion: Counts ``[classes, classes]``; row: true class; column: predicted class.
        labels: The label of each class.
    """
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    title = "Predictions for each true class"
    shown = np.arange(len(labels))
    if len(labels) > MOST_CLASSES:
        hits = np.diagonal(confusion)
        mistakes = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * hits
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])
        title += f"\n(the {MOST_CLASSES} of {len(labels)} classes with the most mistakes)"
    names = [_shortened(labels[index]) for index in shown.tolist()]
    shares, counts = shares[np.ix_(shown, shown)], confusion[np.ix_(shown, shown)]

    counted = len(names) <= MOST_COUNTED_CLASSES
    digits = len(f"{counts.max():,}")
    cell_in = max(0.42, 0.11 * digits + 0.1) if counted else 0.2
    side_in = max(cell_in * len(names), 2.4)
    margin_in = 0.6 + 0.085 * max(len(name) for name in names)
    figure = blank_figure(side_in + margin_in + 1.0, side_in + margin_in + 0.5)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap=SHARES, norm=PowerNorm(0.6, 0, 1), interpolation="nearest")
    axes.set_title(title)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True")
    size = 9 if counted else 7
    axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False, fontsize=size)
    axes.set_yticks(range(len(names)), names, parse_math=False, fontsize=size)
    axes.set_xticks(np.arange(-0.5, len(names)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    if counted:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.4 else INK
            count = f"{counts[row, column]:,}"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=9)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.03, ticks=[0, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "10", "25", "50", "100 %"])
    bar.ax.tick_params(length=0, labelsize=8)
    bar.outline.set_visible(False)
    bar.set_label("Fraction of the true class", fontsize=9)
    return as_png(figure)


@drawn_in_style()
def reliability_png(
    edges: Sequence[float],
    counts: Sequence[int],
    confidences: Sequence[float],
    accuracies: Sequence[float],
    calibration_error: float,
) -> bytes:
    """Return a reliability diagram (accuracy against confidence) above a histogram of confidence.

    Bars below the diagonal mean that the model is overconfident.

    Args:
        edges: ``[bins + 1]``, from 0 to 1.
        counts: Items in each bin, ``[bins]``.
        confidences: Mean top probability in each bin.
        accuracies: Fraction of right predictions in each bin.
        calibration_error: The expected calibration error, printed in the plot.
    """
    left, width = np.asarray(edges[:-1]), np.diff(edges)
    used = np.asarray(counts) > 0
    figure = blank_figure(5.6, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    accuracy, confidence = np.asarray(accuracies)[used], np.asarray(confidences)[used]
    bars: dict[str, Any] = {"align": "edge", "edgecolor": "white", "linewidth": 1.0}
    upper.bar(left[used], accuracy, width[used], color=BLUE, label="Accuracy", **bars)
    ideal: dict[str, Any] = {"color": FAINT, "linewidth": 1.2, "linestyle": (0, (5, 3))}
    upper.plot([0, 1], [0, 1], label="Perfect calibration", **ideal)
    upper.plot(
        confidence,
        confidence,
        "D",
        color=ORANGE,
        markeredgecolor="white",
        markersize=6,
        label="Mean confidence",
    )
    upper.set_title("Accuracy at each confidence")
    upper.set_ylabel("Accuracy")
    upper.set_ylim(0, 1.02)
    upper.legend(
        loc="upper left", alignment="left", title=f"Calibration error {calibration_error:.3f}"
    )
    lower.bar(left, np.asarray(counts) / max(sum(counts), 1), width, color=FAINT, **bars)
    lower.set_ylabel("Fraction of items")
    lower.set_xlabel("Confidence (probability of the predicted class)")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        plain(axes)
    return as_png(figure)


@drawn_in_style()
def precision_recall_png(
    labels: Sequence[str],
    precisions: Sequence[Sequence[float] | NDArray[np.float64]],
    recalls: Sequence[Sequence[float] | NDArray[np.float64]],
    average_precisions: Sequence[float],
) -> bytes:
    """Return a plot of precision against recall, each class against the rest.

    The 8 classes with the lowest average precision have colours. All other lines are thin and grey.

    Args:
        labels: The label of each class.
        precisions: The points of each class's curve.
        recalls: The recall of each of these points, falling.
        average_precisions: The average precision of each class.
    """
    order = np.argsort(average_precisions, kind="stable")
    named, others = order[:MOST_LINES], order[MOST_LINES:]
    figure = blank_figure(5.6, 5.2 + 0.2 * len(named))
    axes = figure.add_subplot()
    quiet: dict[str, Any] = {"color": "#b8c0ca", "linewidth": 0.8}
    for index in others.tolist():
        axes.step(recalls[index], precisions[index], where="post", zorder=1.5, **quiet)
    for rank, index in enumerate(named.tolist()):
        axes.step(
            recalls[index],
            precisions[index],
            where="post",
            color=LINES[rank],
            linestyle=DASHES[rank % len(DASHES)],
            linewidth=1.8,
            label=f"{average_precisions[index]:.3f}  {_shortened(labels[index])}",
        )
    if len(others):
        axes.plot([], [], **quiet, label=f"{len(others)} better classes")
    axes.set_title("Precision at each recall")
    axes.set_xlabel("Recall (fraction of the class that is found)")
    axes.set_ylabel("Precision (fraction of predictions that are right)")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    plain(axes)
    legend = figure.legend(
        loc="outside lower left",
        alignment="left",
        title="Average precision, lowest first",
        ncols=1 + (len(named) > 4),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return as_png(figure)


@drawn_in_style()
def curves_png(
    curves: Mapping[str, Sequence[float]], best: int, start: float, quantity: str = "Loss, in nats"
) -> bytes:
    """Return a plot of curves over the epochs of a training, with the best epoch and the start.

    Args:
        curves: The values of each curve by its name, one value for each epoch; at most 8 curves.
        best: The index of the best epoch.
        start: The value before the training, drawn as a horizontal line.
        quantity: The name of the vertical axis.
    """
    figure = blank_figure(6.2, 4.0)
    axes = figure.add_subplot()
    for rank, (name, values) in enumerate(curves.items()):
        epochs = range(1, len(values) + 1)
        marker = "o" if len(values) < MOST_MARKED_EPOCHS else ""
        look: dict[str, Any] = {"color": LINES[rank], "linestyle": DASHES[rank % len(DASHES)]}
        axes.plot(epochs, values, linewidth=1.8, marker=marker, markersize=3.5, label=name, **look)
    axes.axhline(start, color=FAINT, linewidth=1.0, linestyle=":", label="before training")
    axes.axvline(best + 1, color=FAINT, linewidth=1.0, label=f"best epoch, {best + 1}")
    axes.set_title("Values after each epoch")
    axes.set_xlabel("Epoch")
    axes.set_ylabel(quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes)
    axes.legend(loc="best")
    return as_png(figure)


def blank_figure(width_in: float, height_in: float) -> Figure:
    """Return a figure on a white background, with a layout in which nothing overlaps."""
    return Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained", facecolor="white")


def plain(axes: Axes) -> None:
    """Draw a light grid, and keep only the left and the lower axis line."""
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _shortened(label: str) -> str:
    """Return one line of at most `LONGEST_LABEL` characters, with both ends of the label."""
    line = " ".join(label.split())
    if len(line) <= LONGEST_LABEL:
        return line
    tail = LONGEST_LABEL // 3
    return line[: LONGEST_LABEL - tail - 1] + "…" + line[-tail:]


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A label in a script that the font lacks becomes boxes; the report's tables show the text.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
