"""A step runs the source of its code, whatever bytecode lies beside it."""

import subprocess
import sys

import pytest
from bytecode import plant_bytecode

from tfhub_blocks.control.local.step_process import StepProcess, step_environment

SOURCE = "NAME = 'source'\n"


@pytest.fixture
def code(tmp_path):
    """A step's code of two modules, one in a package."""
    folder = tmp_path / "code"
    (folder / "inner").mkdir(parents=True)
    for name in ("component.py", "inner/__init__.py", "inner/deep.py"):
        (folder / name).write_text(SOURCE)
    return folder


def run(code, text, tmp_path):
    (code / "program.py").write_text(text)
    command = [sys.executable, "program.py"]
    process = StepProcess(
        command, code, tmp_path / "log.txt", step_environment({}), None, lambda _: None
    )
    status = process.run()
    return status, (tmp_path / "log.txt").read_text()


def test_planted_bytecode_is_not_read(code, tmp_path):
    for name in ("component", "inner/__init__", "inner/deep"):
        source = code / f"{name}.py"
        cache = source.parent / f"__pycache__/{source.stem}.{sys.implementation.cache_tag}.pyc"
        plant_bytecode(source, cache, tmp_path / "marker")
    status, log = run(code, "import component, inner.deep; print(inner.deep.NAME)", tmp_path)
    assert status == 0, log
    assert log.endswith("source\n")
    assert not (tmp_path / "marker").exists()


def test_module_without_a_source_is_not_there(code, tmp_path):
    plant_bytecode(code / "none.py", code / "numpy.pyc", tmp_path / "marker")
    plant_bytecode(code / "none.py", code / "planted.pyc", tmp_path / "marker")
    status, log = run(code, "import numpy; print(numpy.__file__); import planted", tmp_path)
    assert status == 1
    assert "No module named 'planted'" in log
    assert not (tmp_path / "marker").exists()


def test_nothing_is_written_beside_the_source(code, tmp_path):
    status, log = run(code, "import component, inner.deep", tmp_path)
    assert status == 0, log
    assert not list(code.rglob("*.pyc"))


def test_other_modules_keep_their_caches(code, tmp_path):
    """Otherwise each step would compile TensorFlow."""
    status, log = run(code, "import json; print(json.__spec__.loader.__class__)", tmp_path)
    assert (status, "SourceFileLoader" in log) == (0, True)


def test_python_itself_would_run_the_planted_bytecode(code, tmp_path):
    """What the tests above would miss if the bytecode did nothing."""
    cache = code / f"__pycache__/component.{sys.implementation.cache_tag}.pyc"
    plant_bytecode(code / "component.py", cache, tmp_path / "marker")
    subprocess.run([sys.executable, "-B", "-c", "import component"], cwd=code, check=True)
    assert (tmp_path / "marker").exists()
