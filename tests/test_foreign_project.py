"""A project of somebody else: its own components and pipelines beside the installed ones."""

import os
import re
import runpy
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = Path(sys.executable).parents[1] / "lib" / f"python3.{sys.version_info.minor}/site-packages"
STEP = '''"""count_items: count the items of a snapshot."""

from mldesigner import Input, Output, command_component

from tfhub_blocks import Format, open_snapshot, step


@command_component(version="1.0.0", environment="azureml:own:1", tags={"role": "cpu"})
def count_items(
    snapshot: Input(type="uri_folder", description="Snapshot from snapshot_data"),
    counted: Output(type="uri_folder", description="Folder with one number"),
):
    """Count the items of a snapshot."""
    with step(count_items, locals()) as run:
        number = open_snapshot(run.path("snapshot")).manifest.items
        (run.begin_output("counted", Format("count", 1)) / "number").write_text(str(number))
'''
PIPELINE = '''"""counting: count the items of a data set."""

from azure.ai.ml import Input, dsl
from neighbour import NAME
from pipelines.shared import DESCRIPTION
from shared_at_the_root import SALT

from tfhub_blocks.components import count_items, snapshot_data


@dsl.pipeline(name=NAME)
def counting(source: Input(type="uri_folder", description=DESCRIPTION)):
    snapshot = snapshot_data(source=source, split_salt=SALT)
    counted = count_items(snapshot=snapshot.outputs.snapshot)
    return {"counted": counted.outputs.counted}
'''
FILES = {
    "components/count_items/component.py": STEP,
    "pipelines/counting.py": PIPELINE,
    "pipelines/neighbour.py": '"""No pipeline, but a neighbour of one."""\n\nNAME = "counting"\n',
    "pipelines/shared.py": '"""Another neighbour."""\n\nDESCRIPTION = "Folder of texts"\n',
    "shared_at_the_root.py": 'SALT = "own-salt"\n',
}


def built(name: str, folder: Path) -> Path:
    distributions = runpy.run_path(str(ROOT / "requirements/distributions.py"))
    distributions["build_distribution"](name, folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return built("tfhub-blocks", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has tfhub-blocks from a wheel."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    # All other packages come from this environment; a .pth in a .pth's folder is not read, so the
    # editable tfhub-blocks there is not found.
    site = folder / SITE.relative_to(Path(sys.executable).parents[1])
    (site / "others.pth").write_text(f"{SITE}\n")
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "-q"]
    subprocess.run(
        [*pip, "--disable-pip-version-check", "--no-deps", "--no-compile", wheel], check=True
    )
    script = (Path(sys.executable).parent / "mldesigner").read_text().split("\n", 1)[1]
    (folder / "bin/mldesigner").write_text(f"#!{folder / 'bin/python'}\n{script}")
    (folder / "bin/mldesigner").chmod(0o755)
    return folder / "bin"


@dataclass(frozen=True)
class ForeignProject:
    """A project, the programs that it uses, and the ``PYTHONPATH`` that it sets."""

    folder: Path
    programs: Path
    python_path: str

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.programs / program), *words],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": self.python_path},
            capture_output=True,
            text=True,
        )


# How tfhub-blocks is installed, whether the folders have an __init__.py, and PYTHONPATH.
@pytest.fixture(
    params=[
        pytest.param(("wheel", True, "."), id="wheel, packages on the path"),
        pytest.param(("editable", False, ""), id="editable, plain folders", marks=pytest.mark.slow),
    ],
)
def project(request, wheel_environment: Path, tmp_path: Path) -> ForeignProject:
    """The project of a stranger, with 40 texts."""
    installed, is_package, python_path = request.param
    files = dict(FILES)
    if is_package:
        files |= {"components/__init__.py": "", "pipelines/__init__.py": ""}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "texts").mkdir()
    rows = "".join(f"{word} {n},{word}\n" for word in ("up", "down") for n in range(20))
    (tmp_path / "texts/table.csv").write_text(f"text,label\n{rows}")
    programs = wheel_environment if installed == "wheel" else Path(sys.executable).parent
    return ForeignProject(tmp_path, programs, python_path)


def test_own_and_installed_names_are_found_side_by_side(project: ForeignProject) -> None:
    listed = project.run("tfhub-blocks", "list")
    assert listed.returncode == 0, listed.stderr
    for name in ("counting", "transfer_learning", "count_items", "extract_features"):
        assert f"  {name} " in listed.stdout
    shown = project.run("tfhub-blocks", "show", "counting")
    assert shown.returncode == 0, shown.stderr
    assert "Folder of texts" in shown.stdout
    assert "snapshot_data" in shown.stdout
    for name in ("count_items", "transfer_learning"):
        assert project.run("tfhub-blocks", "show", name).returncode == 0


@pytest.mark.slow
def test_imports_mean_the_same_in_a_script_and_with_m(project: ForeignProject) -> None:
    script = (
        "from tfhub_blocks.components import count_items, extract_features as installed\n"
        "from tfhub_blocks.pipelines import transfer_learning\n"
        "import tfhub_blocks.components.extract_features.component\n"
        "from tfhub_blocks.components import extract_features\n"
        "print(count_items.name, installed.name, extract_features is installed,\n"
        "      transfer_learning.__name__)\n"
    )
    (project.folder / "script.py").write_text(script)
    (project.folder / "tool").mkdir()
    (project.folder / "tool/__main__.py").write_text(script)
    for words in (["script.py"], ["-m", "tool"], ["-c", script]):
        done = project.run("python", *words)
        assert done.stdout == "count_items extract_features True transfer_learning\n", done.stderr


def test_pipeline_of_both_kinds_of_steps_runs(project: ForeignProject) -> None:
    done = project.run("tfhub-blocks", "run", "counting", "--set", "source=texts")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.folder / ".runs/runs/latest/outputs/counted/number").read_text() == "40"


def test_own_steps_are_checked_and_written_for_publishing(project: ForeignProject) -> None:
    checked = project.run("tfhub-blocks", "check", "counting", "--format", "json")
    assert '"pipelines"' in checked.stdout, checked.stderr
    written = project.run("tfhub-blocks", "publish", "--files", "out")
    assert written.returncode == 0, written.stderr
    names = {path.name for path in (project.folder / "out").rglob("*") if path.is_dir()}
    assert {"count_items", "extract_features"} <= names


def test_wheel_installs_one_name_and_carries_its_data(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert len(tops) == 2, tops
    assert "tfhub_blocks" in tops
    for name in (
        "py.typed",
        "__init__.pyi",
        "control/rules/rules.md",
        "components/environments/cpu/requirements.lock",
        "pipelines/prices.toml",
        "pipelines/profiles/local.toml",
        "compute/evaluation/evaluation_report.html",
        "compute/serving/page.js",
        "control/lineage/drawing_page.css",
    ):
        assert f"tfhub_blocks/{name}" in names


def test_second_distribution_has_the_same_code_and_requires_no_tensorflow(
    wheel: Path, tmp_path: Path
) -> None:
    control = built("tfhub-blocks-control", tmp_path)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(control) as other:
        (metadata,) = (name for name in other.namelist() if name.endswith(".dist-info/METADATA"))
        text = other.read(metadata).decode()
        code = [name for name in one.namelist() if name.startswith("tfhub_blocks/")]
        assert {name: other.read(name) for name in code} == {n: one.read(n) for n in code}
    required = re.findall(r"^Requires-Dist: ([\w-]+)", text, re.M)
    assert "azure-ai-ml" in required
    assert not {"tensorflow", "tf-keras", "openvino", "scipy"} & set(required)
    assert "Name: tfhub-blocks-control\n" in text
