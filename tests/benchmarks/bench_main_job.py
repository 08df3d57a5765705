"""How long the main job takes from a fresh clone, again, and where a step's time goes.

Run by ``make bench``; it clones the last commit into a temporary folder and types ``make run``
there, installation included. Exit status 1 if a bound is missed.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRESH_S, AGAIN_S, OVERHEAD_S = 480.0, 15.0, 1.0
OVERHEAD_RUNS = 5

EMPTY_STEP = '''"""empty: what a step costs that does nothing."""

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.folders import Format


@command_component(version="1.0.0", environment="azureml:none:1", is_deterministic=False)
def empty(
    source: Input(type="uri_folder", description="Anything"),
    made: Output(type="uri_folder", description="One small file"),
):
    """Nothing."""
    with step(empty, locals()) as run:
        (run.begin_output("made", Format("made", 1)) / "file").write_text("something")
'''

EMPTY_PIPELINE = '''"""Steps that do nothing."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import empty


@dsl.pipeline(name="empties")
def empties(source: Input(type="uri_folder")):
    first = empty(source=source)
    second = empty(source=first.outputs.made)
    third = empty(source=second.outputs.made)
    return {"made": third.outputs.made}
'''


def timed(command: list[str], folder: Path) -> float:
    started = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def run_record(folder: Path) -> dict:
    return json.loads((folder / ".runs/runs/latest/run.json").read_text())


def say(name: str, seconds: float, bound_s: float) -> bool:
    kept = seconds < bound_s
    print(f"{name:<52} {seconds:7.2f} s  bound {bound_s:g} s  {'kept' if kept else 'MISSED'}")
    return kept


def step_overhead(python: Path, folder: Path) -> float:
    """Median seconds of a step that does nothing, as the engine times it."""
    (folder / "components/empty").mkdir(parents=True)
    (folder / "pipelines").mkdir()
    (folder / "source").mkdir()
    (folder / "components/empty/component.py").write_text(EMPTY_STEP)
    (folder / "pipelines/empties.py").write_text(EMPTY_PIPELINE)
    program = python.with_name("tfhub-blocks")
    seconds = []
    for _ in range(OVERHEAD_RUNS):
        timed([str(program), "run", "empties", "--set", "source=source"], folder)
        seconds += [step["seconds"] for step in run_record(folder)["steps"].values()]
    return statistics.median(seconds)


def import_seconds(python: Path, code: Path) -> float:
    """Seconds until a step's own work may begin: the interpreter and all that it imports."""
    names = [".".join(path.relative_to(code).with_suffix("").parts) for path in code.rglob("*.py")]
    wanted = "; ".join(f"import {name}" for name in names if not name.endswith("__init__"))
    site = python.parents[2] / "tfhub_blocks/control/step_site"
    command = ["env", f"PYTHONPATH={site}", str(python), "-W", "ignore", "-c", wanted]
    return timed(command, code)


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        kept = [
            say(
                "make run, fresh clone, installation included",
                timed(["make", "run"], clone),
                FRESH_S,
            )
        ]
        fresh = run_record(clone)
        kept.append(
            say(
                "make run again, all reused but the registration",
                timed(["make", "run"], clone),
                AGAIN_S,
            )
        )
        python = clone / ".venv/bin/python"
        own = Path(temporary) / "own"
        own.mkdir()
        kept.append(
            say("a step that does nothing (median of 15)", step_overhead(python, own), OVERHEAD_S)
        )
        print("\nWhere the time of each step goes, in seconds")
        print(f"{'step':<16}{'whole':>8}{'imports':>9}{'work':>8}")
        for name, step in fresh["steps"].items():
            code = Path(fresh["folder"]) / "steps" / name / "code"
            imports = import_seconds(python, code)
            work = max(step["seconds"] - imports, 0.0)
            print(f"{step['component']:<16}{step['seconds']:8.1f}{imports:9.1f}{work:8.1f}")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
