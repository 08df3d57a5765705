"""Seconds of what everybody waits for: help, an import, a step's guards, rules, a second set-up.

Run by ``make bench``. The tests count calls of functions instead, which no other work on the
machine changes. Each is the least of some runs, by processor time; the set-up by the clock. Exits
with 1 if a bound is missed.

    python tests/benchmarks/bench_starts.py [--repeats 5]
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.environment.code_snapshots import write_step_package
from tfhub_blocks.records.formats.locked_expectations import VARIABLE, Expected, code_digest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / name) for name in (".", "tests", "tests/control/rules")]
GUARD = """
import time; begun = time.process_time()
from tfhub_blocks.compute.step.environment_check import check_environment
assert check_environment('x')['environment']
print(time.process_time() - begun)
"""
REPLAY = """
import time; begun = time.process_time()
from pathlib import Path
from tfhub_blocks.compute.step.lock_check import check_expected
from tfhub_blocks.records.base.digests import files_sha256
assert check_expected('x', files_sha256(Path.cwd()), 'x:1', {'a': 1}, {}) == 'first'
print(time.process_time() - begun)
"""


def process_s(command: list[str], folder: Path = ROOT, **variables: str) -> float:
    """Processor seconds of a process, or those that it tells."""
    before = os.times()
    environment = os.environ | variables
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    after = os.times()
    told = done.stdout.split()[-1:]
    if "-c" in command and told:
        return float(told[0])
    user, system = (
        getattr(after, f"children_{kind}") - getattr(before, f"children_{kind}")
        for kind in ("user", "system")
    )
    return user + system


def step_folder(folder: Path, name: str) -> Path:
    """The code of a step, as it is sent."""
    component = ROOT / "components" / name / "component.py"
    write_step_package(component, ROOT / "tfhub_blocks", folder)
    (folder / "component.py").write_bytes(component.read_bytes())
    return folder


def setup_s() -> float:
    """Seconds of ``make setup`` where all is there."""
    begun = time.monotonic()
    subprocess.run(["make", "setup"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def rules_s(folder: Path) -> float:
    """Processor seconds of compiling and checking a pipeline of 1,000 nodes."""
    from rule_project import shallow
    from test_check_speed import large
    from toy_project import ToyProject

    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    compiled_and_checked = large(ToyProject(folder, None))
    gc.collect()
    begun = time.process_time()
    shallow(compiled_and_checked)
    return time.process_time() - begun


def main() -> int:
    """Measure and print; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    python, is_kept = sys.executable, []
    with tempfile.TemporaryDirectory() as temporary:
        guarded = step_folder(Path(temporary) / "guarded", "snapshot_data")
        replayed = step_folder(Path(temporary) / "replayed", "fine_tune")
        digest = code_digest(files_sha256(replayed))
        promise = {VARIABLE: Expected("first", digest, "x:1", {"a": 1}).as_text()}
        setup_s()
        cases: list[tuple[str, float, Callable[[], float]]] = [
            ("help", 0.3, lambda: process_s([python, "-m", "tfhub_blocks.cli", "--help"])),
            ("import tfhub_blocks", 0.2, lambda: process_s([python, "-c", "import tfhub_blocks"])),
            (
                "a step's guard of its environment",
                0.1,
                lambda: process_s([python, "-c", GUARD], guarded, PYTHONPATH=str(guarded)),
            ),
            (
                "a step's promise of a lock",
                0.1,
                lambda: process_s(
                    [python, "-c", REPLAY], replayed, PYTHONPATH=str(replayed), **promise
                ),
            ),
            ("1,000 nodes compiled and checked", 2.0, lambda: rules_s(Path(temporary) / "rules")),
            ("make setup where all is there", 1.0, setup_s),
        ]
        for name, bound_s, measure in cases:
            seconds = min(measure() for _ in range(repeats))
            is_kept.append(seconds < bound_s)
            verdict = "kept" if is_kept[-1] else "MISSED"
            print(f"{name:<36} {seconds:6.3f} s  bound {bound_s:g} s  {verdict}", flush=True)
    return int(not all(is_kept))


if __name__ == "__main__":
    sys.exit(main())
