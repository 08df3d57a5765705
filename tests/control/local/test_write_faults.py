"""A run on a disk that becomes full at any of its writes, and the run after it."""

import os
import shutil
from pathlib import Path

import pytest
from toy_project import PATIENCE_S, ROOT

from tfhub_blocks.control.project.tracking_store import prepare_tracking
from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.base.lineage import STATEMENT_NAME

# Each write of a run of the toy pipeline is one of so many, at least.
FEWEST = 40
IN_TEST = (1, 4, 12, 24, 38)
ERRORS = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE", "ENAMETOOLONG", "ELOOP")


@pytest.fixture
def faulty(project):
    """``faulty(at, error)`` runs the toy; from that write on all fail; status, lines and count."""
    counter = project.folder / "counter"
    # MLflow's database is written by SQLite, and has a test of its own.
    prepare_tracking(project.folder / ".runs", "toy", "run")

    def run(at, error="ENOSPC"):
        counter.write_bytes(b"")
        site = [str(ROOT / "tests/faults"), str(ROOT)]
        process = project.start(
            "run",
            "toy",
            "--set",
            "source=src",
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(site),
                "PYTHONDONTWRITEBYTECODE": "1",
                "BLOCKS_FAULT_UNDER": str(project.folder / ".runs"),
                "BLOCKS_FAULT_COUNT": str(counter),
                "BLOCKS_FAULT_AT": str(at),
                "BLOCKS_FAULT_ERROR": error,
            },
        )
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out + err, len(counter.read_bytes())

    return run


def outputs(project):
    """The digests of all that is in the store, times in lineage aside."""
    found = files_sha256(project.folder / ".runs/store")
    kept = {}
    for name, digest in found.items():
        path = Path(name)
        if path.name not in (STATEMENT_NAME, "step.json") and path.suffix != ".lock":
            kept[name] = digest
    return kept


def check(project, faulty, at, error):
    status, printed, _ = faulty(at, error)
    assert status in (1, 2), printed
    assert "Traceback" not in printed, printed
    told = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert told, printed
    assert all(line.endswith(".") for line in told), told
    # Whatever is there under its key was complete before the fault.
    finished = list(project.folder.glob(".runs/store/*/step.json"))
    assert not [path for path in finished if not path.read_text().endswith("}")]
    again = project.run()
    assert again.status == 0, again.err
    assert "was changed after the step wrote it" not in again.err
    assert not list(project.folder.glob(".runs/**/*.partial"))
    assert not list(project.folder.glob(".runs/store/*.attempt-*"))
    assert Path(again.record["outputs"]["joined"]).read_text() == (
        "hello a 1 True None|hello b 3 False None|"
    )
    return outputs(project)


def test_the_count_is_that_of_a_run(faulty):
    status, printed, count = faulty(0)
    assert status == 0, printed
    assert count >= FEWEST


@pytest.mark.parametrize(
    ("at", "error"),
    [
        pytest.param(at, ERRORS[index], marks=pytest.mark.slow if index % 2 else ())
        for index, at in enumerate(IN_TEST)
    ],
)
def test_failed_write_is_told_and_the_next_run_is_whole(project, faulty, at, error):
    check(project, faulty, at, error)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_each_write_may_fail(project, faulty):
    _, _, count = faulty(0)
    expected = outputs(project)
    for at in range(1, count + 1):
        for name in ("store", "runs"):
            shutil.rmtree(project.folder / ".runs" / name, ignore_errors=True)
        assert check(project, faulty, at, ERRORS[at % len(ERRORS)]) == expected, at
