"""What must stay light: counted here, timed by tests/benchmarks/bench_starts.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from call_counts import calls_of

ROOT = Path(__file__).parents[2]


def loaded(statement):
    script = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"azure", "tensorflow", "tf_keras", "mlflow", "pandas", "numpy", "pyarrow"}


# In as many calls numpy is imported twice.
FEW_CALLS = 100_000


def test_help_needs_few_calls_and_imports_nothing_heavy():
    run = "import runpy; runpy.run_module('tfhub_blocks.cli', run_name='__main__')"
    assert calls_of(run, "--help", cwd=ROOT) < FEW_CALLS
    call = (
        "import tfhub_blocks.cli as c\ntry:\n    c.main(['--help'])\nexcept SystemExit:\n    pass"
    )
    assert not loaded(call) & HEAVY


def test_import_of_the_package_needs_few_calls_and_is_light():
    assert calls_of("import tfhub_blocks", cwd=ROOT) < FEW_CALLS / 2
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


def test_step_without_tensorflow_imports_little(project):
    project.effect('import json, sys\n(folder / "modules").write_text(json.dumps([*sys.modules]))')
    record = project.run().record
    modules = json.loads((Path(record["steps"]["left"]["outputs"]["made"]) / "modules").read_text())
    # mldesigner's frame imports a namespace azure, of which there is nothing.
    assert not {name.partition(".")[0] for name in modules} & (HEAVY - {"azure"})
    assert "azure.ai" not in modules
    # It was 271; azure-ai-ml alone has 1,500.
    assert len(modules) < 500
