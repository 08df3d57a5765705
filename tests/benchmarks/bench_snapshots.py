"""Seconds and memory of a snapshot of a million rows of 1 kB, from each format of tables.

Run by ``make bench``. Each is taken in a process of its own. Exits with 1 if one takes more than
two minutes, or fewer rows more than their part of that.

    python tests/benchmarks/bench_snapshots.py [--rows 1000000] [--quick]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/compute/data"))
from test_snapshot_writing import snapshot_in_a_process, write_large_table  # noqa: E402

ROWS, QUICK_ROWS, MOST_S = 1_000_000, 100_000, 120.0


def main() -> int:
    """Measure and print; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} rows")
    options = parser.parse_args()
    rows = QUICK_ROWS if options.quick else options.rows
    # What does not depend on the rows is at most a twentieth.
    bound_s, is_kept = MOST_S * (rows / ROWS + 0.05), []
    for suffix in ("csv", "jsonl", "parquet"):
        with tempfile.TemporaryDirectory() as folder:
            path = write_large_table(Path(folder) / f"rows.{suffix}", rows)
            begun = time.monotonic()
            _, peak_mib = snapshot_in_a_process(path)
            took_s = time.monotonic() - begun
        is_kept.append(took_s < bound_s)
        verdict = "kept" if is_kept[-1] else "MISSED"
        print(
            f"{suffix:<8} {rows:>9,} rows {took_s:6.1f} s {peak_mib:5} MiB  "
            f"bound {bound_s:.0f} s  {verdict}",
            flush=True,
        )
    return int(not all(is_kept))


if __name__ == "__main__":
    sys.exit(main())
