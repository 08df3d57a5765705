"""What a step does where somebody changed the environment that it is pinned to, in a real one."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest
from call_counts import calls_of

from tfhub_blocks.compute.step import environment_check
from tfhub_blocks.records.environment.code_snapshots import write_step_package
from tfhub_blocks.records.environment.installed_packages import (
    definition_version,
    installed_packages,
)

ROOT = Path(__file__).parents[1]
COMPONENT = '''"""make: a toy."""

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.folders import Format


@command_component(version="1", environment="azureml:toy-env:{version}")
def make(made: Output(type="uri_folder", description="x")):
    """Doc."""
    with step(make, locals()) as run:
        (run.begin_output("made", Format("made", 1)) / "f").write_text("f")
'''


class Node:
    """A machine that runs a step: a virtual environment of its own, and the step's snapshot."""

    def __init__(self, folder, lock):
        self.folder, self.python = folder, folder / "venv/bin/python"
        venv.create(folder / "venv")
        [site] = (folder / "venv").glob("lib/python*/site-packages")
        (site / "everything.pth").write_text(sysconfig.get_path("purelib"))
        self.site = site
        environment = folder / "components/environments/toy"
        environment.mkdir(parents=True)
        (environment / "Dockerfile").write_text("FROM a:1\n")
        (environment / "environment.yaml").write_text("name: toy-env\n")
        text = "".join(f"{name}=={version}\n" for name, version in lock.items())
        python = ".".join(map(str, sys.version_info[:2]))
        (environment / "requirements.lock").write_text(f"# python: {python}\n{text}")
        component = folder / "components/make/component.py"
        component.parent.mkdir()
        self.version = definition_version(environment)
        component.write_text(COMPONENT.replace("{version}", self.version))
        (folder / "code").mkdir()
        shutil.copy(component, folder / "code")
        write_step_package(component, ROOT / "tfhub_blocks", folder / "code")

    def install(self, wheel):
        """As somebody does it by hand in a running node."""
        uv = Path(sys.executable).with_name("uv")
        subprocess.run(
            [uv, "pip", "install", "-q", "--offline", "--no-deps", "--python", self.python, wheel],
            check=True,
        )

    def run(self, **variables):
        """Run the step as Azure ML does; its status, and what it told on standard error."""
        made = self.folder / "made"
        shutil.rmtree(made, ignore_errors=True)
        program = Path(sys.executable).with_name("mldesigner")
        command = [self.python, program, "execute", "--source", "component.py", "--name", "make"]
        done = subprocess.run(
            [*command, "--outputs", f"made={made}"],
            cwd=self.folder / "code",
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "tfhub_blocks/control/step_site"),
                "PYTHONDONTWRITEBYTECODE": "1",
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        told = done.stderr.replace(self.version, "VERSION")
        return done.returncode, told

    @property
    def facts(self):
        statement = json.loads((self.folder / "made/lineage.json").read_text())
        definition = statement["predicate"]["buildDefinition"]
        return definition["internalParameters"]["facts"]["environment"]


@pytest.fixture
def node(tmp_path):
    """Gives a node whose environment is all that is installed here, or just what is named."""

    def make(*names):
        installed = installed_packages()
        installed.pop("pip", None)
        return Node(tmp_path, {name: installed[name] for name in names or installed})

    return make


REFUSE = {"TFHUB_BLOCKS_ENVIRONMENT_POLICY": "refuse"}
REMEDY = "Run the step in the image of toy-env:VERSION, and install nothing by hand."
PINNED = "the environment differs from toy-env:VERSION, which the step requires"


def test_package_installed_by_hand_is_told_or_refused(node, write_wheel, tmp_path):
    node = node()
    locked = installed_packages()["tomli-w"]
    assert node.run(**REFUSE) == (0, "")
    assert node.facts["other"] == {}

    node.install(write_wheel(tmp_path, "tomli-w", "9.9"))
    difference = f"tomli-w is 9.9, locked is {locked}"
    assert node.run() == (0, f"warning: {PINNED}: {difference}\n")
    assert node.facts["environment"] == f"toy-env:{node.version}"
    assert node.facts["other"] == {"tomli-w": [locked, "9.9"]}
    assert node.run(**REFUSE) == (
        1,
        f"error: [make > environment] {PINNED}: {difference}. Expected exactly the locked "
        "packages. "
        f"{REMEDY}\n",
    )
    assert not (tmp_path / "made/lineage.json").exists()
    assert node.run(TFHUB_BLOCKS_ENVIRONMENT_POLICY="record") == (0, "")
    assert node.facts["other"] == {"tomli-w": [locked, "9.9"]}


def test_package_beside_the_lock_is_recorded_and_refused(node, write_wheel, tmp_path):
    node = node()
    node.run()
    assert node.facts["extra"]["count"] == 0
    node.install(write_wheel(tmp_path, "sneaky", "1.0"))
    assert node.run() == (0, "")
    assert node.facts["extra"]["count"] == 1
    status, told = node.run(**REFUSE)
    assert status == 1
    assert f"{PINNED}: sneaky 1.0 is not in the lock. Expected" in told


def test_first_differences_are_named_and_the_rest_counted(node):
    node = node("tomli-w")
    lock = node.folder / "code/tfhub_blocks/environment.lock"
    lock.write_text(lock.read_text() + "".join(f"absent-{n}==1\n" for n in range(5)))
    assert node.run() == (
        0,
        f"warning: {PINNED}: absent-0 1 is missing, absent-1 1 is missing, absent-2 1 is missing, "
        "and 2 more\n",
    )


def test_file_edited_by_hand_is_found_where_files_are_checked(node, write_wheel, tmp_path):
    node = node("tomli-w")
    version = installed_packages()["tomli-w"]
    node.install(write_wheel(tmp_path, "tomli-w", version, {"edited.py": "x = 1\n"}))
    check = {"TFHUB_BLOCKS_CHECK_FILES": "1"}
    assert node.run(**check) == (0, "")
    assert node.facts["tampered"] == {}
    (node.site / "edited.py").write_text("x = 2\n")
    assert node.run() == (0, "")
    assert node.facts["tampered"] is None
    difference = "tomli-w was changed after it was installed (edited.py)"
    assert node.run(**check) == (0, f"warning: {PINNED}: {difference}\n")
    assert node.facts["tampered"] == {"tomli-w": ["edited.py"]}


def test_step_without_a_lock_is_refused_where_differences_are(node):
    node = node("tomli-w")
    (node.folder / "code/tfhub_blocks/environment.lock").unlink()
    assert node.run() == (0, "")
    assert node.facts == {"environment": None}
    assert node.run(**REFUSE) == (
        1,
        "error: [make > environment] the step's code snapshot contains no environment lock. "
        "Expected the lock of the environment that component.py names. Name a defined environment "
        "in component.py; `tfhub-blocks env check` lists the faults.\n",
    )


def test_unknown_policy_is_told(node):
    assert node("tomli-w").run(TFHUB_BLOCKS_ENVIRONMENT_POLICY="refues") == (
        1,
        "error: [make > TFHUB_BLOCKS_ENVIRONMENT_POLICY] 'refues' is not a known policy. "
        "Expected one of record, warn, refuse. Did you mean 'refuse'?\n",
    )


def test_tensorflow_is_asked_what_it_sees_only_where_it_was_imported(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert environment_check.accelerator_facts() == {}
    assert "tensorflow" not in sys.modules
    build = {"cuda_version": "12.5.1", "cudnn_version": "9"}
    gpu = {"device_name": "Tesla T4", "compute_capability": (7, 5)}
    experimental = SimpleNamespace(get_device_details=lambda _: gpu)
    tensorflow = SimpleNamespace(
        __version__="2.21.0",
        version=SimpleNamespace(GIT_VERSION="v2.21.0-1", COMPILER_VERSION="Clang 18"),
        sysconfig=SimpleNamespace(get_build_info=lambda: build),
        config=SimpleNamespace(
            list_physical_devices=lambda kind: [kind],
            experimental=experimental,
            threading=SimpleNamespace(
                get_intra_op_parallelism_threads=lambda: 2,
                get_inter_op_parallelism_threads=lambda: 0,
            ),
        ),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    (tmp_path / "version").write_text("NVRM version: 570.1\nGCC version: 12\n")
    monkeypatch.setattr(environment_check, "DRIVER_FILE", tmp_path / "version")
    assert environment_check.accelerator_facts()["tensorflow"] == {
        "version": "2.21.0",
        "build": "v2.21.0-1, Clang 18",
        "threads": [2, 0],
        "cuda": "12.5.1",
        "cudnn": "9",
        "gpus": ["Tesla T4"],
        "driver": "NVRM version: 570.1",
    }


def test_guard_needs_few_calls(tmp_path):
    """With a real lock, from the import on; in so many calls less than a tenth of a second."""
    component = ROOT / "components/snapshot_data/component.py"
    write_step_package(component, ROOT / "tfhub_blocks", tmp_path)
    script = (
        "from tfhub_blocks.compute.step.environment_check import check_environment\n"
        "assert check_environment('x')['environment']\n"
    )
    calls = calls_of(script, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert calls < 120_000  # it was 57,000
