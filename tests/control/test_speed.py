"""What must stay light."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def seconds(command):
    """The least processor time of several runs, since other tests run beside this one."""

    def used():
        times = os.times()
        return times.children_user + times.children_system

    def once():
        begun = used()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        return used() - begun

    return min(once() for _ in range(5))


def loaded(statement):
    script = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"azure", "tensorflow", "tf_keras", "mlflow", "pandas", "numpy", "pyarrow"}


def test_help_is_quick_and_imports_nothing_heavy():
    assert seconds([sys.executable, "-m", "tfhub_blocks.cli", "--help"]) < 0.3
    call = (
        "import tfhub_blocks.cli as c\ntry:\n    c.main(['--help'])\nexcept SystemExit:\n    pass"
    )
    assert not loaded(call) & HEAVY


def test_import_of_the_package_is_quick_and_light():
    assert seconds([sys.executable, "-c", "import tfhub_blocks"]) < 0.2
    assert not loaded("import tfhub_blocks") & HEAVY


def test_control_never_imports_tensorflow():
    names = [
        "cli",
        "control.repository.catalog",
        "control.local.run_display",
        "control.local.local_engine",
        "control.project.run_requests",
    ]
    statement = "import " + ", ".join(f"tfhub_blocks.{name}" for name in names)
    assert not loaded(statement) & {"tensorflow", "tf_keras", "tensorflow_hub"}


def test_commands_that_need_no_azure_import_neither_it_nor_tensorflow():
    calls = [["env", "check"], ["env", "show"], ["env", "diff", "cpu", "gpu"]]
    calls += [["list"], ["encoder", "list", ".samples"]]
    statement = f"import tfhub_blocks.cli as c\nassert not any(map(c.main, {calls}))"
    statement += "\nimport tfhub_blocks.control.environments.environment_locks"
    assert not loaded(statement) & HEAVY


@pytest.mark.parametrize(
    "module", ["compute.step.step_frame", "records.base.shards", "records.formats.snapshots"]
)
def test_frame_of_a_step_imports_no_tensorflow(module):
    assert not loaded(f"import tfhub_blocks.{module}") & {"tensorflow", "azure", "mlflow"}


def test_step_without_tensorflow_costs_less_than_a_second(project):
    times = []
    for _ in range(2):
        record = project.run("--no-reuse").record
        times += [step["seconds"] for step in record["steps"].values()]
    assert statistics.median(times) < 1.0
