import importlib
import subprocess
import sys

from toy_project import ROOT

from tfhub_blocks.records.base.import_frames import know_import_frames

LOOKS = """
import inspect
frames = inspect.stack()
modules = {frame.filename: inspect.getmodule(frame.frame) for frame in frames}
"""


def test_stack_of_an_import_is_the_same_and_its_frames_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("before", "after"):
        (tmp_path / f"{name}.py").write_text(LOOKS)

    before = importlib.import_module("before")
    know_import_frames()
    after = importlib.import_module("after")

    # The first frames are of the modules themselves.
    called = [[(f.filename, f.function) for f in each.frames[1:8]] for each in (before, after)]
    assert called[0] == called[1]
    names = ("importlib._bootstrap", "importlib._bootstrap_external")
    found = [after.modules[f"<frozen {name}>"] for name in names]
    assert [module.__name__ for module in found] == list(names)
    assert before.modules[f"<frozen {names[0]}>"] is None


def test_frames_of_a_program_that_python_runs_as_a_module_are_known(tmp_path):
    (tmp_path / "program.py").write_text(
        "import inspect\nfrom tfhub_blocks.records.base.import_frames import know_import_frames\n"
        "know_import_frames()\n"
        "print([inspect.getmodule(it.frame).__name__ for it in inspect.stack()])\n"
    )
    words = [sys.executable, "-m", "program"]
    variables = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    ran = subprocess.run(words, env=variables, capture_output=True, text=True, check=True)
    assert ran.stdout == "['__main__', 'runpy', 'runpy']\n"
