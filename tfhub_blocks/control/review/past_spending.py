"""The spending of a month and the durations of steps, from the records or from a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from tfhub_blocks.control.costs.accounts import spending
from tfhub_blocks.control.costs.duration_forecast import MOST_RUNS, Past
from tfhub_blocks.control.project.run_records import past_runs
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file

VERSION = 1


@dataclass(frozen=True)
class PastSpending:
    """The spending by month and currency, and the usual seconds of each component."""

    months: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def of_month(self, day: date, currency: str) -> float:
        """Return the spending of the month of a day, in a currency."""
        return self.months.get(f"{day:%Y-%m}", {}).get(currency, 0.0)

    def write(self, path: Path) -> None:
        """Write the file that ``review --spent`` reads."""
        record = {"format_version": VERSION, "months": self.months, "seconds": self.seconds}
        write_file(path, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


def recorded_spending(runs_dir: Path) -> PastSpending:
    """Return the spending and the durations in the records below ``.runs``."""
    months: dict[str, dict[str, float]] = {}
    for row in spending((record for _, record in past_runs(runs_dir)), "owner"):
        if row.currency:
            of_month = months.setdefault(row.month, {})
            of_month[row.currency] = round(of_month.get(row.currency, 0.0) + row.total, 4)
    seconds: dict[str, list[float]] = {}
    for step in Past.of(runs_dir).steps:
        if step.is_complete:
            seconds.setdefault(step.component, []).append(step.seconds)
    usual = {name: round(median(of[:MOST_RUNS]), 1) for name, of in sorted(seconds.items())}
    return PastSpending(months, usual)


def read_spending(path: Path) -> PastSpending:
    """Read a file that ``PastSpending.write`` wrote.

    Raises:
        BlocksError: The file cannot be read, or has another form.
    """
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
        if record["format_version"] != VERSION:
            raise ValueError(f"format_version is {record['format_version']!r}")
        months = {
            str(month): {str(key): float(value) for key, value in of.items()}
            for month, of in record["months"].items()
        }
        seconds = {str(key): float(value) for key, value in record["seconds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BlocksError(
            "review",
            f"--spent {path}",
            f"{path} cannot be read ({type(error).__name__}: {error})",
            "a file that `tfhub-blocks ci spent FILE` wrote",
            f"Run `tfhub-blocks ci spent {path}`, or leave --spent out",
        ) from error
    return PastSpending(months, seconds)
