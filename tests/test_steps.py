"""The frame around a step, run as mldesigner runs it: in a process, and told by what it leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfhub_blocks.records.base.folders import Format, open_folder

ROOT = Path(__file__).parents[1]
COMPONENT = '''
import errno
import os
import sys
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Format, write_file


@command_component(version="1", environment="azureml:x:1")
def make(
    source: Input(type="uri_folder", description="x"),
    made: Output(type="uri_folder", description="x"),
    note: Output(type="uri_file", description="x"),
    other: Input(type="uri_file", optional=True, description="x"),
    text: Input(type="string", enum=["a", "b"], description="x") = "a",
    count: Input(type="integer", min=1, max=9, description="x") = 1,
    rate: Input(type="number", min=0.0, max=1.0, description="x") = 0.5,
):
    """Doc."""
    with step(make, locals()) as run:
        folder = run.begin_output("made", Format("made", 1))
        (folder / "f").write_text(text)
        run.facts["answer"] = 42
        # EFFECT
        write_file(run.path("note"), b"note")


if __name__ == "__main__":
    make.__wrapped__(**eval(sys.argv[1]))
'''


class Made:
    def __init__(self, folder, done):
        self.folder = folder
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def open(self):
        return open_folder(self.folder / "made", Format("made", 1), "test").check()


@pytest.fixture
def make(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "source").mkdir()

    def make(effect="pass", **arguments):
        component = tmp_path / "code" / "component.py"
        component.write_text(COMPONENT.replace("# EFFECT", effect.replace("\n", "\n        ")))
        given = {name: str(tmp_path / name) for name in ("source", "made", "note")}
        given |= {"other": None, "text": "a", "count": 1, "rate": 0.5} | arguments
        text = repr(given).replace("nan", "float('nan')")
        done = subprocess.run(
            [sys.executable, str(component), text],
            # As the engine starts it: mldesigner takes 2 s where it finds azure-ai-ml.
            env=os.environ
            | {
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tfhub_blocks/control/step_site'}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return Made(tmp_path, done)

    return make


def is_finished(made):
    return (made.folder / "made" / "lineage.json").exists()


def test_step_that_ends_well_leaves_a_complete_output_with_its_lineage(make):
    done = make(rate=0.25)
    assert done.status == 0, done.err
    provenance = done.open().lineage.provenance
    assert provenance.step == "make"
    assert provenance.parameters == {"text": "a", "count": 1, "rate": 0.25}
    assert [material.name for material in provenance.materials] == ["source"]
    facts = dict(provenance.facts)
    assert facts.pop("machine")["cores"] >= 1
    assert facts == {"answer": 42, "environment": {"environment": None}}
    assert provenance.started <= provenance.finished
    assert (done.folder / "note").read_text() == "note"
    assert done.out.startswith("make: done in ")


def test_materials_carry_the_digest_of_what_was_given(make, tmp_path):
    first = make()
    (tmp_path / "made").rename(tmp_path / "earlier")
    (tmp_path / "table.csv").write_text("x")
    done = make(source=str(tmp_path / "earlier"), other=str(tmp_path / "table.csv"))
    earlier = open_folder(tmp_path / "earlier", Format("made", 1), "test")
    lineage = done.open().lineage
    assert first.status == done.status == 0
    assert lineage.material("source").digest == earlier.digest
    assert len(lineage.material("other").digest) == 64


def test_retried_step_replaces_its_own_output(make):
    make()
    assert make().status == 0


def test_other_work_does_not_replace_an_output(make):
    make()
    again = make(count=2)
    assert again.status == 1
    assert "contains other files already" in again.err
    assert again.open().lineage.provenance.parameters["count"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            {"text": "c"},
            "text] 'c' is not allowed. Expected one of a, b. Set text to one of these.",
        ),
        ({"count": 0}, "count] 0 is not allowed. Expected at least 1. Set count to 1 or more."),
        ({"count": 10}, "count] 10 is not allowed. Expected at most 9. Set count to 9 or less."),
        ({"rate": 1.5}, "rate] 1.5 is not allowed. Expected at most 1.0. Set rate to 1.0 or less."),
        (
            {"rate": float("nan")},
            "rate] nan is not allowed. Expected at least 0.0. Set rate to 0.0 or more.",
        ),
        (
            {"source": "/nowhere"},
            "source] '/nowhere' does not exist. Expected a file or folder. Pass a path for source "
            "that exists on the machine where the step runs.",
        ),
    ],
)
def test_wrong_argument_is_one_line_and_status_1(arguments, told, make):
    done = make(**arguments)
    assert done.status == 1
    assert done.err == f"error: [make > {told}\n"
    assert not is_finished(done)


def test_mistake_told_from_the_body_is_one_line(make):
    done = make('raise BlocksError("make", "x", "x is bad", "good", "Pass y")')
    assert (done.status, done.err) == (
        1,
        "error: [make > x] x is bad. Expected good. Pass y.\n",
    )
    assert not is_finished(done)


def test_other_error_is_one_line_after_its_traceback(make):
    done = make("raise RuntimeError('a fault')")
    assert done.status == 1
    assert "Traceback" in done.err
    assert done.err.splitlines()[-2:] == [
        "RuntimeError: a fault",
        "error: [make > RuntimeError] an unforeseen error ended the program: a fault. Read "
        "the traceback in the step's log; report it if the request and its data are right.",
    ]
    assert not is_finished(done)


def test_full_disk_is_told(make):
    done = make('raise OSError(errno.ENOSPC, "No space", "/data/x")')
    assert done.status == 1
    assert done.err.splitlines()[-1] == (
        "error: [make > output] the disk is full. Expected room for the outputs. Free some space "
        "and run the step again; finished parts are kept."
    )
    assert not is_finished(done)


def test_other_error_of_the_system_is_no_full_disk(make):
    done = make('raise OSError(errno.EACCES, "Denied", "/data/x")')
    assert "PermissionError" in done.err
    assert "space" not in done.err


@pytest.mark.parametrize("code", ["", "0", "None"])
def test_leaving_early_is_no_success(code, make):
    done = make(f"sys.exit({code})")
    assert done.status == 1
    assert done.err == (
        "error: [make > exit] the step ended before its outputs were complete. Expected a body "
        "that runs to its end. Return or raise an exception instead of calling sys.exit.\n"
    )
    assert not is_finished(done)


def test_leaving_with_a_status_keeps_it(make):
    done = make("sys.exit(7)")
    assert done.status == 7
    assert not is_finished(done)


def test_interrupted_step_leaves_nothing_finished(make):
    done = make("raise KeyboardInterrupt")
    assert done.status not in (0, 1)
    assert not is_finished(done)


def test_failed_step_can_be_made_again_in_its_place(make):
    make("raise RuntimeError")
    assert make().status == 0


def test_existing_empty_output_folder_is_filled(make, tmp_path):
    (tmp_path / "made").mkdir()
    inode = (tmp_path / "made").stat().st_ino
    done = make()
    assert done.status == 0
    done.open()
    assert (tmp_path / "made").stat().st_ino == inode


def test_what_a_person_allowed_is_stated_by_all_that_is_built_from_it(make, tmp_path):
    first = make('run.facts.update(allowed_operations=["ReadFile", "A"], trusted_code=True)')
    assert first.status == 0, first.err
    (tmp_path / "source").rmdir()
    (tmp_path / "made").rename(tmp_path / "source")
    (tmp_path / "note").unlink()
    facts = make().open().lineage.provenance.facts
    assert facts["allowed_operations"] == ["A", "ReadFile"]
    assert facts["trusted_code"] is True
