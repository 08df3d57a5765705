"""Setting up: what is told when it cannot be done, and that what is installed works together."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXPECTED = (
    " on this machine. Expected Python 3.11, 3.12 or 3.13. Install one of them, or name it: "
    "make PYTHON=/path/to/python3.11\n"
)


def install(path, folder, **variables):
    return subprocess.run(
        ["/bin/sh", "requirements/install.sh", str(folder / "venv")],
        cwd=ROOT,
        env={"PATH": str(path)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def write_python(path, version):
    """A program that answers as a Python of that version would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fits = 0 if version.startswith(("3.11", "3.12", "3.13")) else 1
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit\n'
        f'[ "$1" = -c ] && exit {fits}\nexit 1\n'
    )
    path.chmod(0o755)


@pytest.mark.parametrize("version", ["3.9.18", "3.14.0"])
def test_python_of_another_version_is_told_in_one_line(version, tmp_path):
    write_python(tmp_path / "bin" / "python3", version)
    done = install(tmp_path / "bin", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: [make > setup] Python {version}{EXPECTED}"
    assert not (tmp_path / "venv").exists()


def test_no_python_is_told_in_one_line(tmp_path):
    done = install(tmp_path, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: [make > setup] no python3{EXPECTED}"


def test_named_python_that_is_not_there_is_told(tmp_path):
    done = install(tmp_path, tmp_path, PYTHON="/nowhere/python3.12")
    assert done.returncode == 2
    assert done.stderr == f"error: [make > setup] no python3{EXPECTED}"


def test_fitting_python_is_found_behind_an_unfitting_one(tmp_path):
    write_python(tmp_path / "bin" / "python3", "3.9.18")
    write_python(tmp_path / "bin" / "python3.12", "3.12.1")
    done = install(tmp_path / "bin", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: [make > setup] python3.12 could not make a virtual environment. Expected its venv "
        "module. On Debian and Ubuntu: apt-get install python3-venv"
    )


def test_second_setup_installs_nothing_until_what_is_asked_for_changes(tmp_path):
    """How long it takes is measured by tests/benchmarks/bench_starts.py."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    asked, installed = (
        ["requirements/dev.lock", "pyproject.toml"],
        ["installed.lock", "installed.toml"],
    )
    venv = tmp_path / ".venv"
    script = tmp_path / "requirements/install.sh"
    script.parent.mkdir()
    copies = [f"cp {one} $1/{other}" for one, other in zip(asked, installed, strict=True)]
    script.write_text("\n".join(["echo installs", "mkdir -p $1", *copies]))
    for name in asked:
        shutil.copy(ROOT / name, tmp_path / name)

    def setup():
        return subprocess.run(
            ["make", "setup"], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    assert [setup(), setup()] == ["installs\n", ""]
    for name in asked:
        (tmp_path / name).touch()  # as a switched branch does
    assert setup() == ""
    for name in asked:
        with (tmp_path / name).open("a") as file:
            file.write("\n")
        assert [setup(), setup()] == ["installs\n", ""]
    assert {path.name for path in venv.iterdir()} == set(installed)


def test_the_six_packages_import_together():
    names = "tensorflow, tensorflow_hub, azure.ai.ml, mldesigner, mlflow, azureml.mlflow"
    done = subprocess.run(
        [sys.executable, "-c", f"import {names}"],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_layers_keep_apart():
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        found = shutil.which("lint-imports")
        program = Path(found or pytest.skip("import-linter is not installed. Run `make setup`"))
    done = subprocess.run(
        [str(program), "--no-cache"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert ", 0 broken" in done.stdout
