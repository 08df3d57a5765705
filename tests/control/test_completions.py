"""The completion of each shell, asked as the shell asks it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tfhub_blocks.commands import completion_names
from tfhub_blocks.commands.completions import SHELLS

ASKING = {
    # What `complete -F` of bash passes on, and the answers.
    "bash": """
source ./script
complete_words() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMPREPLY=()
  $(complete -p tfhub-blocks | sed 's/.*-F \\([^ ]*\\).*/\\1/')
  printf '%s\\n' "${COMPREPLY[@]}"
}
complete_words GIVEN
""",
    "fish": "source ./script; complete -C 'TYPED' | string split -f 1 \\t",
}

TWO_PIPELINES = """
from azure.ai.ml.dsl import pipeline
@pipeline()
def nightly_birds(): ...
@pipeline()
def nightly_plants(): ...
"""


@pytest.fixture
def asked(project, tmp_path):
    """``asked(shell, "run", "tr")`` returns what the shell offers for the last word."""
    project.write("pipelines/mine.py", "")
    project.write("components/my_step/component.py", "")
    project.write("encoders/lite/encoder.toml", "")
    project.write("pipelines/two.py", TWO_PIPELINES)
    project.write("pipelines/packed/__init__.py", "from parts import packed")
    project.write(".runs/runs/toy-20260101T000000Z/run.json", "{}")
    project.write(".runs/jobs/quiet_fox_123/run.json", "{}")
    with closing(sqlite3.connect(project.folder / ".runs/mlflow.db")) as database:
        database.execute("CREATE TABLE model_versions (name, version)")
        database.execute("INSERT INTO model_versions VALUES ('birds', 2)")
        database.commit()

    def ask(shell, *words):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is missing. Install {shell} to test its completion")
        outcome = project.main("completion", shell, anew=False)
        assert outcome.status == 0, outcome.err
        project.write("script", outcome.out)
        line = " ".join(("tfhub-blocks", *words))
        quoted = " ".join(f"'{word}'" for word in ("tfhub-blocks", *words))
        text = ASKING[shell].replace("GIVEN", quoted).replace("TYPED", line)
        done = subprocess.run(
            [shell, "-c", text],
            cwd=project.folder,
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return sorted(filter(None, done.stdout.splitlines()))

    return ask


@pytest.mark.parametrize("shell", ASKING)
def test_shell_offers_commands_options_and_names(shell, asked):
    assert asked(shell, "sub") == ["submit"]
    assert asked(shell, "encoder", "comp") == ["compare"]
    assert asked(shell, "run", "mi") == ["mine"]
    assert asked(shell, "run", "mine", "--no-r") == ["--no-reuse"]
    assert "local" in asked(shell, "run", "mine", "--profile", "")
    assert asked(shell, "run", "ni") == ["nightly_birds", "nightly_plants"]
    assert asked(shell, "run", "pa") == ["packed"]
    assert asked(shell, "cost", "qui") == ["quiet_fox_123"]
    assert asked(shell, "show", "my") == ["my_step"]
    assert asked(shell, "show", "toy-") == ["toy-20260101T000000Z"]
    assert asked(shell, "encoder", "show", "encoders/l") == ["encoders/lite"]
    assert asked(shell, "promote", "bir") == ["birds:2"]
    assert asked(shell, "encoder", "pin", "x", "--loading", "mou") == ["mounted"]


def test_zsh_reads_its_script(project):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is missing. Install zsh to test its completion")
    project.write("fpath/_tfhub-blocks", project.main("completion", "zsh").out)
    read = (
        "fpath=($PWD/fpath $fpath); autoload -Uz compinit; compinit -D;"
        "autoload +X _tfhub-blocks; print $_comps[tfhub-blocks]"
    )
    done = subprocess.run(
        ["zsh", "-f", "-c", read], cwd=project.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout == "_tfhub-blocks\n"
    assert done.stderr == ""


def test_names_come_without_any_installed_package(asked, project):
    """The shell waits for them at each press of a key."""
    program = (
        f"import runpy, sys; sys.argv[1:] = ['models', 'jobs'];"
        f"runpy.run_path({completion_names.__file__!r}, run_name='__main__');"
        f"print(sorted(m for m in sys.modules if 'tfhub' in m))"
    )
    command = [sys.executable, "-ISB", "-c", program]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["birds:2", "quiet_fox_123", "[]", ""]


def test_name_that_a_shell_would_run_is_not_offered(asked, project):
    project.write("pipelines/$(touch x).py", "")
    project.write("pipelines/a b.py", "")
    names = completion_names.names(["pipelines"])
    assert "mine" in names
    assert not [name for name in names if ("x" in name and "$" in name) or " " in name]


def test_what_cannot_be_read_has_no_names(asked, project):
    project.write(".runs/mlflow.db", "no database")
    assert completion_names.names(["models"]) == []


def test_unknown_shell_is_refused_with_those_that_are_known(project):
    outcome = project.main("completion", "csh")
    assert outcome.status == 2
    assert all(shell in outcome.err for shell in SHELLS)
