"""Seconds to check every byte of a 1 GB model, and those of sha256sum over the same files.

Run by ``make bench``. The two take turns over the same files, which are in the page cache for both,
and the least of each is compared. Exit status 1 if the check takes more than 1.3 times as long.

    python tests/benchmarks/bench_verification.py [--repeats 5] [--megabytes 1000]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tfhub_blocks.records.base.folders import begin_folder, finish_folder, open_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.models import MODEL, SAVED_MODEL_NAME

BOUND = 1.3
PROVENANCE = Provenance("bench", {}, (), "0" * 64, "0" * 64, "", "")
BLOCK = 1 << 20


def write_model(folder: Path, megabytes: int) -> None:
    """Files of a model: one of variables with nearly all bytes, a graph, and small ones."""
    content = begin_folder(folder, PROVENANCE)
    variables = content / SAVED_MODEL_NAME / "variables"
    variables.mkdir(parents=True)
    with (variables / "variables.data-00000-of-00001").open("wb") as file:
        for _ in range(megabytes - 4):
            file.write(os.urandom(BLOCK))
    (content / SAVED_MODEL_NAME / "saved_model.pb").write_bytes(os.urandom(4 * BLOCK))
    for name in ("MLmodel", "conda.yaml", "encoder.toml", "requirements.txt"):
        (content / name).write_text(name)
    finish_folder(folder, "model", MODEL, PROVENANCE)


def check_s(folder: Path) -> float:
    """Seconds of the check that every reader of a model makes."""
    begun = time.perf_counter()
    open_folder(folder, MODEL, "bench").check()
    return time.perf_counter() - begun


def shell_s(folder: Path) -> float:
    """Seconds of sha256sum over the same files, its start included."""
    names = sorted(open_folder(folder, MODEL, "bench").lineage.files)
    begun = time.perf_counter()
    subprocess.run(["sha256sum", "--", *names], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> int:
    """Measure and print; 1 if the bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        write_model(folder, asked.megabytes)
        check_s(folder)
        turns = [(check_s(folder), shell_s(folder)) for _ in range(asked.repeats)]
    ours, theirs = (min(seconds) for seconds in zip(*turns, strict=True))
    verdict = "kept" if ours <= BOUND * theirs else "MISSED"
    print(f"check of the model    {ours:6.3f} s")
    print(f"sha256sum             {theirs:6.3f} s")
    print(f"ratio                 {ours / theirs:6.2f}    bound {BOUND:g}  {verdict}")
    return int(verdict != "kept")


if __name__ == "__main__":
    sys.exit(main())
