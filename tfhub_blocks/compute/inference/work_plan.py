"""The plan of an extraction, which the first worker writes and all workers follow."""

# decision 15

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
# Parts are small, so that little work is lost with a part, and not so small that there are many.
PARTS, LEAST_ROWS, MOST_ROWS = 64, 256, 4096


@dataclass(frozen=True, eq=False)
class WorkPlan:
    """The rows of a snapshot to compute, the size of parts, and the engine.

    ``rows`` are rising positions. ``kind`` is the engine's kind (``Engine.kind``). ``report``
    describes the selection of the engine, ready for JSON.
    """

    engine: str
    kind: str
    rows: NDArray[np.int64]
    part_rows: int
    report: Mapping[str, Any] = field(default_factory=dict)

    def part(self, number: int) -> NDArray[np.int64]:
        """Return the rows of a part."""
        return self.rows[number * self.part_rows : (number + 1) * self.part_rows]

    @property
    def numbers(self) -> range:
        """The numbers of all parts."""
        return range(-(-len(self.rows) // self.part_rows))

    def share(self, index: int, count: int) -> range:
        """Return the numbers of the parts that worker ``index`` of ``count`` computes, in a row."""
        parts = len(self.numbers)
        return range(parts * index // count, parts * (index + 1) // count)

    def told(self) -> Iterator[str]:
        """Yield lines for users: the selection of the engine, and the reuse of earlier features."""
        report = self.report
        for name, found in report["candidates"].items():
            finding = f"not usable: {found['unfit']}" if "unfit" in found else ""
            if "parity" in found:
                parity = found["parity"]
                finding = f"differs by at most {parity['largest']:.2g} on {parity['items']} items"
            rate = f", {found['items_per_s']:.0f} items/s" if "items_per_s" in found else ""
            chosen = ", chosen" if name == self.engine else ""
            version = f" {found['version']}" if "version" in found else ""
            yield f"engine {name}{version}: {finding}{rate}{chosen}"
        for name, accuracy in report.get("probe", {}).items():
            value, low, high = (accuracy[key] for key in ("value", "low", "high"))
            yield (
                f"leave-one-out accuracy of a head on {name}: {value:.3f} [{low:.3f}, {high:.3f}]"
            )

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for a clearly worse assumption, and for features not reused."""
        if "assumptions" in self.report:
            yield self.report["assumptions"]
        if "not_reused" in self.report:
            earlier = self.report.get("earlier", "features")
            yield f"earlier {earlier} are not reused: their {self.report['not_reused']}"

    def write(self, folder: Path) -> None:
        """Write the plan. The plan is complete or absent."""
        record = {
            "engine": self.engine,
            "kind": self.kind,
            "part_rows": self.part_rows,
            "report": self.report,
        }
        write_file(folder / ROWS_NAME, self.rows.astype("<i8").tobytes())
        write_file(folder / PLAN_NAME, json.dumps(record, indent=1).encode())


def rows_of_part(items: int, batch_size: int) -> int:
    """Return the number of rows of a part, a multiple of the batch size."""
    wanted = min(max(-(-items // PARTS), LEAST_ROWS), MOST_ROWS)
    return -(-wanted // batch_size) * batch_size


def read_plan(folder: Path, wait: bool) -> WorkPlan | None:
    """Return the plan in a folder, or None; with ``wait``, wait for another worker to write it."""
    path = folder / PLAN_NAME
    while not path.is_file():
        if not wait:
            return None
        time.sleep(POLL_S)
    record = json.loads(path.read_text(encoding="utf-8"))
    return WorkPlan(rows=np.fromfile(folder / ROWS_NAME, "<i8").astype(np.int64), **record)
