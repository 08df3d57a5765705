"""Steps as Azure runs them: ``mldesigner execute`` in a folder with the step's code alone."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import tfhub_blocks
from tfhub_blocks.records.environment import environment_drift
from tfhub_blocks.records.environment.code_snapshots import write_step_package
from tfhub_blocks.records.pins import encoder_decisions

# These tests run in what develops the project, not in what steps are pinned to.
POLICIES = {
    environment_drift.POLICY_VARIABLE: "record",
    encoder_decisions.POLICY_VARIABLE: "experiment",
}
PACKAGE = Path(tfhub_blocks.__file__).parent
COMPONENTS = PACKAGE.parent / "components"


def write_step_code(name: str, folder: Path, edit: tuple[ModuleType, str] | None = None) -> Path:
    """Fill a folder with a step's code; ``edit`` is a module and what is added to its code."""
    component = shutil.copy(COMPONENTS / name / "component.py", folder)
    write_step_package(Path(component), PACKAGE, folder)
    if edit:
        module, text = edit
        path = folder / Path(str(module.__file__)).relative_to(PACKAGE.parent)
        path.write_text(path.read_text() + text)
    return folder


def step_command(name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[str]:
    """Return the command for a shell that Azure runs in the folder with the step's code."""
    command = f"mldesigner execute --source component.py --name {name} --inputs "
    command += " ".join(f"{port}='{value}'" for port, value in inputs.items())
    command += " --outputs " + " ".join(f"{port}='{path}'" for port, path in outputs.items())
    return ["/bin/sh", "-c", f"exec {command}"]
