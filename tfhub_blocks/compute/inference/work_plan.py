"""Plans: what all workers of an extraction go by, written by the first of them."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.records.base.folders import write_file

PLAN_NAME, ROWS_NAME = "plan.json", "rows.i64"
POLL_S = 0.2
# Parts are small enough that little is lost with one, and large enough not to be too many.
PARTS, LEAST_ROWS, MOST_ROWS = 64, 256, 4096


@dataclass(frozen=True, eq=False)
class WorkPlan:
    """Which rows of a snapshot are computed, in parts of how many, by which engine.

    ``rows`` are rising positions; ``kind`` is that of the engine (``Engine.kind``); ``report``
    says how the engine was found, ready for JSON.
    """

    engine: str
    kind: str
    rows: NDArray[np.int64]
    part_rows: int
    report: Mapping[str, Any] = field(default_factory=dict)

    def part(self, number: int) -> NDArray[np.int64]:
        """The rows of a part."""
        return self.rows[number * self.part_rows : (number + 1) * self.part_rows]

    @property
    def numbers(self) -> range:
        """The numbers of all parts."""
        return range(-(-len(self.rows) // self.part_rows))

    def share(self, index: int, count: int) -> range:
        """The numbers of the parts that one of ``count`` workers computes: a run of them."""
        parts = len(self.numbers)
        return range(parts * index // count, parts * (index + 1) // count)

    def told(self) -> Iterator[str]:
        """How the engine was found and what is reused, in lines for people."""
        report = self.report
        for name, found in report["candidates"].items():
            told = f"not taken: {found['unfit']}" if "unfit" in found else ""
            if "parity" in found:
                parity = found["parity"]
                told = f"differs by {parity['largest']:.2g} at most on {parity['items']} items"
            rate = f", {found['items_per_s']:.0f} items/s" if "items_per_s" in found else ""
            taken = ", taken" if name == self.engine else ""
            version = f" {found['version']}" if "version" in found else ""
            yield f"engine {name}{version}: {told}{rate}{taken}"
        for name, accuracy in report.get("probe", {}).items():
            value, low, high = (accuracy[key] for key in ("value", "low", "high"))
            yield f"a head on {name}, left one out: accuracy {value:.3f} [{low:.3f}, {high:.3f}]"
        if "not_reused" in report:
            told = report.get("earlier", "features")
            yield f"warning: earlier {told} are not reused: their {report['not_reused']}"

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        record = {
            "engine": self.engine,
            "kind": self.kind,
            "part_rows": self.part_rows,
            "report": self.report,
        }
        write_file(folder / ROWS_NAME, self.rows.astype("<i8").tobytes())
        write_file(folder / PLAN_NAME, json.dumps(record, indent=1).encode())


def rows_of_part(items: int, batch_size: int) -> int:
    """How many rows a part has, a multiple of the batch size."""
    wanted = min(max(-(-items // PARTS), LEAST_ROWS), MOST_ROWS)
    return -(-wanted // batch_size) * batch_size


def read_plan(folder: Path, wait: bool) -> WorkPlan | None:
    """The plan in a folder; if there is none, None, or the one that another worker will write."""
    path = folder / PLAN_NAME
    while not path.is_file():
        if not wait:
            return None
        time.sleep(POLL_S)
    record = json.loads(path.read_text(encoding="utf-8"))
    return WorkPlan(rows=np.fromfile(folder / ROWS_NAME, "<i8").astype(np.int64), **record)
