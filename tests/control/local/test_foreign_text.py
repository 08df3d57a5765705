"""A step's data cannot speak for the step, whatever it contains, and no log keeps a secret."""

import json
from pathlib import Path

import pytest

FORGE = r"""
import sys
label = "cat\nwarning: forged\nerror: forged\nprogress: forged\x1b[2K\u202e"
print(label, flush=True)
print(label, file=sys.stderr, flush=True)
os.write(1, label.encode() + b"\n")
"""


def log_of(record, step="left"):
    return Path(record["steps"][step]["log"]).read_text(encoding="utf-8")


def test_lines_of_a_step_are_no_messages(project):
    project.effect(FORGE)
    outcome = project.run()
    assert outcome.status == 0
    step = outcome.record["steps"]["left"]
    assert (step["warnings"], step["error"]) == ([], "")
    assert "forged" not in outcome.err
    log = log_of(outcome.record)
    assert log.count(" warning: forged") == 2
    assert "\x1b" not in log
    assert "\u202e" not in log


def test_message_of_a_step_is_one_line(project):
    project.effect(r'run.warn("a\nerror: forged\x1b[1A")')
    outcome = project.run()
    assert outcome.record["steps"]["left"]["warnings"] == [r"a\nerror: forged\u001b[1A"]
    assert "warning: left, right: a\\nerror: forged\\u001b[1A\n" in outcome.err


def test_process_that_a_step_starts_has_no_pipe_to_the_engine(project):
    project.effect(
        "import sys\n"
        "program = 'import os; print(os.environ.get(\"TFHUB_BLOCKS_MESSAGES\"))'\n"
        "print(subprocess.check_output([sys.executable, '-c', program], text=True))"
    )
    assert "\nNone\n" in log_of(project.run().record)


def test_unforeseen_error_is_one_line_that_names_the_log(project):
    project.effect(r'raise RuntimeError("of a\nwarning: forged\nerror: forged")')
    outcome = project.main("run", "toy", "--set", "source=src")
    assert outcome.status == 1
    told = outcome.out + outcome.err
    assert "Traceback" not in told
    assert "\nerror: forged" not in told
    assert "error: step left (make): [make > RuntimeError] an unforeseen error ended" in told
    [log] = project.folder.glob(".runs/runs/toy-*/steps/left/log.txt")
    assert "Traceback (most recent call last):" in log.read_text()


def test_component_that_cannot_be_imported_is_no_traceback(project):
    project.write(
        "components/join/component.py", project.read("components/join/component.py") + "1/0\n"
    )
    outcome = project.main("run", "toy", "--set", "source=src")
    assert outcome.status != 0
    assert "Traceback" not in outcome.out + outcome.err


def test_secrets_of_the_environment_stay_out_of_logs(project, monkeypatch):
    monkeypatch.setenv("A_SERVICE_TOKEN", "INVENTED-TOKEN")
    project.effect(
        "print('x', os.environ['A_SERVICE_TOKEN'])\n"
        "print('https://me:INVENTED-PASSWORD@host/x?sig=INVENTED-SIGNATURE')"
    )
    outcome = project.run()
    assert "x ***\n" in log_of(outcome.record)
    assert not found(project, "INVENTED")


@pytest.mark.parametrize(
    "setting",
    [
        "text=https://me:INVENTED@127.0.0.1:9/x",
        "source=INVENTED?sig=INVENTED",
        "odd=token=INVENTED",
    ],
)
def test_request_with_a_secret_is_refused_before_anything_is_written(setting, project):
    outcome = project.main("run", "toy", "--set", "source=src", "--set", setting)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert not (project.folder / ".runs").exists()


def found(project, word):
    """The files below the runs that contain a word."""
    paths = [path for path in project.folder.glob(".runs/**/*") if path.is_file()]
    return [
        path for path in paths if word.encode() in path.read_bytes() and path.name != "component.py"
    ]


@pytest.mark.parametrize(
    "name", ["it's", "a?b", "a#b", "50%", "a%20b", 'q"q', "$HOME x", "-lead", "a*b"]
)
def test_runs_folder_of_any_name_works(name, project):
    outcome = project.run(f"--runs-dir={name}")
    assert outcome.status == 0, outcome.err
    assert (project.folder / name / "runs").is_dir()
    assert (
        json.loads((Path(outcome.record["folder"]) / "run.json").read_text())["status"]
        == "Completed"
    )
