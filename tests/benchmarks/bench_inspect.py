"""The time of ``data inspect`` beside the least that must be done: decode, or hash, each item once.

Run by ``make bench``. The bounds: 20,000 pictures within 1.5 times of decoding each once with as
many threads; 1,000,000 texts of 1 kB within 4 times of reading and hashing them, and within 1.5
times without near duplicates; a million texts under 500 MiB. Both sides of a ratio run in turns,
each in a process of its own, and the least time counts. Exits with 1 if a bound is missed.

    python tests/benchmarks/bench_inspect.py [--quick] [--pictures 20000] [--texts 1000000]
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES, TEXTS = 20_000, 1_000_000
QUICK_PICTURES, QUICK_TEXTS = 1_000, 50_000
MOST_DECODING, MOST_HASHING, MOST_WITHOUT, MOST_MIB = 1.5, 4.0, 1.5, 500

HASH = """
import csv, hashlib, sys
ids = bytearray()
with open(sys.argv[1] + "/rows.csv", encoding="utf-8", newline="") as lines:
    rows = csv.reader(lines)
    next(rows)
    for text, _ in rows:
        ids += hashlib.sha256(text.encode()).digest()
"""
DECODE = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tfhub_blocks.compute.modalities import pictures
files = sorted(Path(sys.argv[1]).glob("*/*"))
with ThreadPoolExecutor(min(8, os.cpu_count())) as pool:
    for _ in pool.map(lambda path: pictures.read(path.read_bytes()).shape, files):
        pass
"""
INSPECT = """
import sys
from pathlib import Path
from tfhub_blocks.compute.data.data_inspections import inspect_source
from tfhub_blocks.compute.data.snapshot_options import SnapshotOptions
options = SnapshotOptions(near_duplicates=sys.argv[2])
found = inspect_source(Path(sys.argv[1]), options, lambda *_: None)
assert found.items and not found.of_level("fault"), found
"""
# Imports are no part of the time.
MEASURED = """
import json, sys, time
code = compile({code!r}, "bench", "exec")
from tfhub_blocks.compute.data import data_inspections
begun, used = time.monotonic(), time.process_time()
exec(code)
took = time.monotonic() - begun, time.process_time() - used
status = open("/proc/self/status").read()
print(json.dumps([*took, int(status.partition("VmHWM:")[2].split()[0]) // 1024]))
"""


def measured(code: str, *arguments: str) -> tuple[float, float, int]:
    """Seconds, seconds of the processor, and the peak memory in MiB of a program."""
    command = [sys.executable, "-c", MEASURED.format(code=code), *arguments]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    wall_s, used_s, peak_mib = json.loads(run.stdout.splitlines()[-1])
    return wall_s, used_s, peak_mib


def write_texts(folder: Path, number: int) -> None:
    """A table of texts of about 1 kB, of which every hundredth nearly repeats an earlier one."""
    rng = random.Random(0)  # noqa: S311
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(20_000)]
    folder.mkdir()
    last = ""
    with (folder / "rows.csv").open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for row in range(number):
            text = f"Re: {last}" if row % 100 == 99 else " ".join(rng.choices(words, k=150))
            file.write(f"{text},{'abcd'[row // 100 % 4]}\n")
            last = text


def write_pictures(folder: Path, number: int) -> None:
    """Different JPEGs of 500 x 375 like photographs: smooth colours under noise of a sensor."""
    noises = [
        np.random.default_rng(index).normal(0, 8, (375, 500, 1)).astype(np.int16)
        for index in range(16)
    ]

    def write(index: int) -> None:
        blocks = np.random.default_rng(index).integers(0, 256, (24, 32, 3)).astype(np.uint8)
        smooth = Image.fromarray(blocks).resize((500, 375), Image.Resampling.BICUBIC)
        pixels = np.clip(np.asarray(smooth) + noises[index % 16], 0, 255).astype(np.uint8)
        path = folder / "abcd"[index % 4] / f"{index}.jpg"
        Image.fromarray(pixels).save(path, "JPEG", quality=85)

    for label in "abcd":
        (folder / label).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(write, range(number)):
            pass


def compared(name: str, base: str, folder: Path, rule: str, bound: float, repeats: int) -> bool:
    """Measure in turns and print a line; True if the ratio of the least times is in its bound."""
    pairs = [
        (measured(base, str(folder)), measured(INSPECT, str(folder), rule)) for _ in range(repeats)
    ]
    (least_s, least_used_s), (own_s, own_used_s) = (
        (min(pair[side][0] for pair in pairs), min(pair[side][1] for pair in pairs))
        for side in (0, 1)
    )
    peak_mib = max(pair[1][2] for pair in pairs)
    is_kept = own_s <= bound * least_s
    is_small = "text" not in name or peak_mib < MOST_MIB
    verdict = "kept" if is_kept and is_small else "MISSED"
    print(
        f"{name:<44} {least_s:7.1f} s {own_s:7.1f} s  ratio {own_s / least_s:5.2f} of {bound} "
        f"(processor {least_used_s:.1f} and {own_used_s:.1f} s, {own_used_s / least_used_s:.2f}), "
        f"{peak_mib} MiB  {verdict}",
        flush=True,
    )
    return is_kept and is_small


def main() -> int:
    """Measure and print; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="small numbers of both")
    options = parser.parse_args()
    pictures = QUICK_PICTURES if options.quick else options.pictures
    texts = QUICK_TEXTS if options.quick else options.texts
    kept = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if texts:
            write_texts(folder / "texts", texts)
            for rule, most in (("off", MOST_WITHOUT), ("together", MOST_HASHING)):
                name = f"{texts:,} texts, near duplicates {rule}"
                kept.append(compared(name, HASH, folder / "texts", rule, most, options.repeats))
            shutil.rmtree(folder / "texts")
        if pictures:
            write_pictures(folder / "pictures", pictures)
            for rule in ("off", "together"):
                name = f"{pictures:,} pictures, near duplicates {rule}"
                at = folder / "pictures"
                kept.append(compared(name, DECODE, at, rule, MOST_DECODING, options.repeats))
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
