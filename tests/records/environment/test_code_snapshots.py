import pytest

from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.environment.code_snapshots import (
    step_modules,
    write_program,
    write_step_package,
)

FILES = {
    "__init__.py": "",
    "records/__init__.py": "",
    "records/errors.py": "import json\n",
    "records/folders.py": "from tfhub_blocks.records.errors import X\n",
    "records/circle.py": "import tfhub_blocks.compute.circle\n",
    "compute/__init__.py": "from tfhub_blocks.records import errors\n",
    "compute/circle.py": "import tfhub_blocks.records.circle\n",
    "compute/lazy.py": "def f():\n    from tfhub_blocks.records import folders\n",
    "compute/nested/__init__.py": "",
    "compute/nested/inner.py": "",
    "compute/unrelated.py": "import tfhub_blocks.records.folders\n",
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "tfhub_blocks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tfhub_blocks"


@pytest.fixture
def modules(package, tmp_path):
    def modules(source):
        component = tmp_path / "component.py"
        component.write_text(source)
        return [name.removeprefix("tfhub_blocks/") for name in step_modules(component, package)]

    return modules


COMPUTE = ["__init__.py", "compute/__init__.py"]
ERRORS = ["records/__init__.py", "records/errors.py"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, json.decoder\nfrom pathlib import Path", []),
        ("import tfhub_blocks", ["__init__.py"]),
        ("import tfhub_blocks_other", []),
        ("from tfhub_blocks import __version__", ["__init__.py"]),
        ("from tfhub_blocks.records.errors import X", ["__init__.py", *ERRORS]),
        ("import tfhub_blocks.records.errors as e", ["__init__.py", *ERRORS]),
        ("from tfhub_blocks.records import errors", ["__init__.py", *ERRORS]),
        ("from tfhub_blocks import records", ["__init__.py", "records/__init__.py"]),
        ("from tfhub_blocks.records import SOMETHING", ["__init__.py", "records/__init__.py"]),
        ("import tfhub_blocks.compute", [*COMPUTE, *ERRORS]),
        (
            "if True:\n    import tfhub_blocks.compute.nested.inner",
            [*COMPUTE, "compute/nested/__init__.py", "compute/nested/inner.py", *ERRORS],
        ),
        (
            "from tfhub_blocks.compute import nested",
            [*COMPUTE, "compute/nested/__init__.py", *ERRORS],
        ),
        (
            "def f():\n    from tfhub_blocks.compute.lazy import f",
            [*COMPUTE, "compute/lazy.py", *ERRORS, "records/folders.py"],
        ),
        (
            "import tfhub_blocks.compute.circle",
            [*COMPUTE, "compute/circle.py", "records/__init__.py", "records/circle.py", ERRORS[1]],
        ),
    ],
)
def test_modules_are_exactly_what_is_imported_transitively(source, expected, modules):
    assert modules(source) == expected


def test_modules_of_a_snapshot_import_nothing_else(tmp_path):
    """A module's own imports are followed with the same eyes as Python's."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    root = Path(__file__).parents[3]
    component = tmp_path / "component.py"
    component.write_text("from tfhub_blocks.records.formats.snapshots import open_snapshot\n")
    write_step_package(component, root / "tfhub_blocks", tmp_path)
    script = (
        "import sys, component; "
        "print(*sorted(m.__file__ for n, m in sys.modules.items() if n.startswith('tfhub_blocks')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    written = sorted(str(path) for path in (tmp_path / "tfhub_blocks").rglob("*.py"))
    assert done.stdout.split() == written


def digest(component, package, folder):
    return tree_digest(files_sha256(write_step_package(component, package, folder)))


@pytest.mark.parametrize(
    ("edited", "changes"),
    [("records/folders.py", True), ("compute/__init__.py", True), ("compute/unrelated.py", False)],
)
def test_only_edits_to_what_is_imported_change_the_snapshot(edited, changes, package, tmp_path):
    component = tmp_path / "component.py"
    component.write_text("import tfhub_blocks.compute.lazy\n")
    before = digest(component, package, tmp_path / "before")
    (package / edited).write_text(FILES[edited] + "# edited\n")
    assert (digest(component, package, tmp_path / "after") != before) is changes


TEMPLATES = ("lazy.html", "lazy.css", "lazy.js")


def write_templates(package, *names):
    for name in names:
        (package / "compute" / name).write_text(f"the text of {name}")


def test_snapshot_contains_the_templates_of_its_modules_and_no_other_file(package, tmp_path):
    component = tmp_path / "component.py"
    component.write_text("import tfhub_blocks.compute.lazy\n")
    write_templates(package, *TEMPLATES, "lazy.txt", "lazy2.html", "unrelated.html")
    written = write_step_package(component, package, tmp_path / "snapshot")
    found = {path.name for path in (written / "compute").iterdir()}
    assert found == {"__init__.py", "lazy.py", *TEMPLATES}
    for name in TEMPLATES:
        assert (written / "compute" / name).read_text() == f"the text of {name}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_edit_of_a_template_changes_the_snapshot(name, package, tmp_path):
    component = tmp_path / "component.py"
    component.write_text("import tfhub_blocks.compute.lazy\n")
    write_templates(package, *TEMPLATES)
    before = digest(component, package, tmp_path / "before")
    assert digest(component, package, tmp_path / "same") == before
    (package / "compute" / name).write_text("edited")
    assert digest(component, package, tmp_path / "after") != before


def test_program_is_written_with_its_own_templates_and_those_of_its_imports(package, tmp_path):
    write_templates(package, *TEMPLATES, "program.css")
    program = package / "compute" / "program.py"
    program.write_text("import tfhub_blocks.compute.lazy\n")
    written = write_program(program, package, tmp_path / "program")
    assert written == "tfhub_blocks/compute/program.py"
    found = {path.name for path in (tmp_path / "program/tfhub_blocks/compute").iterdir()}
    assert found == {"__init__.py", "program.py", "program.css", "lazy.py", *TEMPLATES}


def test_snapshot_of_a_step_with_a_report_renders_it_alone(tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    root = Path(__file__).parents[3]
    home = "tfhub_blocks.compute.evaluation.evaluation_report"
    component = tmp_path / "component.py"
    component.write_text(f"from {home} import EvaluationPage, render_report\n")
    write_step_package(component, root / "tfhub_blocks", tmp_path)
    script = (
        "from component import *; page = EvaluationPage('A title', '', [], [], [], [], [], []); "
        "print('<h1>A title</h1>' in render_report(page))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'); {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("from . import x", 1),
        ("import os\nfrom .records import x", 2),
        ("from ..x import y", 1),
        ("from tfhub_blocks.records import *", 1),
    ],
)
def test_relative_and_star_imports_are_refused(source, line, modules, tmp_path):
    with pytest.raises(BlocksError) as refusal:
        modules(source)
    assert str(refusal.value) == (
        f"[{tmp_path / 'component.py'} > line {line}] the import in line {line} is relative or a "
        "star import. Expected absolute imports of names. Write it as: from tfhub_blocks... import "
        "NAME."
    )


@pytest.mark.parametrize(
    "name", ["tfhub_blocks.recrods.errors", "tfhub_blocks.records.errors.x", "tfhub_blocks.nope"]
)
def test_import_of_nothing_is_refused(name, modules, tmp_path):
    with pytest.raises(BlocksError) as refusal:
        modules(f"import {name}")
    path = tmp_path / "component.py"
    assert str(refusal.value) == (
        f"[{path} > import {name}] module {name} does not exist. Expected a module of "
        f"tfhub_blocks. Change the import in {path}."
    )
