"""A plot of spending by month."""

import io
from collections.abc import Sequence
from typing import Any

from tfhub_blocks.control.costs.accounts import Spending

MOST_COLOURS = 7
DPI = 144
INK, GRID, REST = "#1f2933", "#e4e7eb", "#b8c0ca"
# Colours that colour-blind readers can distinguish (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def spending_png(rows: Sequence[Spending], by: str) -> bytes:
    """Return stacked bars of each month's spending by owner, as a PNG.

    The 7 owners who spent the most have their own colours; all others are grey together. Each
    currency has its own axes. The same rows produce the same bytes with the same matplotlib.

    Args:
        rows: The spending by month and owner.
        by: The field by which spending is grouped, for the title.
    """
    import matplotlib
    from matplotlib.figure import Figure

    currencies = sorted({row.currency for row in rows}, key=lambda it: (not it, it))
    defaults = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    with matplotlib.rc_context({**defaults, "font.family": "DejaVu Sans", "text.color": INK}):
        figure = Figure(figsize=(7.2, 3.4 * max(len(currencies), 1)), dpi=DPI, layout="constrained")
        for number, currency in enumerate(currencies):
            axes = figure.add_subplot(len(currencies), 1, number + 1)
            _bars(axes, [row for row in rows if row.currency == currency], currency, by)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _bars(axes: Any, rows: Sequence[Spending], currency: str, by: str) -> None:
    months = sorted({row.month for row in rows})
    spent: dict[str, float] = {}
    for row in rows:
        spent[row.who] = spent.get(row.who, 0.0) + row.total
    order = sorted(spent, key=lambda who: (-spent[who], who))
    named, others = order[:MOST_COLOURS], order[MOST_COLOURS:]
    bottoms = [0.0] * len(months)
    for whose, label, colour in [
        *(({who}, who, COLOURS[rank]) for rank, who in enumerate(named)),
        *([(set(others), f"{len(others)} others", REST)] if others else []),
    ]:
        heights = [
            sum(row.total for row in rows if row.month == month and row.who in whose)
            for month in months
        ]
        look: dict[str, Any] = {"color": colour, "edgecolor": "white", "linewidth": 1.0}
        axes.bar(range(len(months)), heights, 0.7, bottoms, label=label, **look)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_xticks(range(len(months)), months)
    axes.set_ylabel(currency or "without a price")
    axes.set_ylim(0, max([*bottoms, 1e-9]) * 1.08)
    axes.set_title(f"Spent by {by.replace('_', ' ')}, idle nodes included", loc="left")
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    for text in axes.legend(frameon=False, fontsize=8, **beside).get_texts():
        text.set_parse_math(False)  # a name may contain a $
