"""Steps run as Azure runs them: ``mldesigner execute`` in a folder with the step's code alone."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tfhub_blocks
from tfhub_blocks.control.local.step_process import step_environment
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

StartStep = Callable[..., "subprocess.Popen[str]"]
ExecuteStep = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def start_step(tmp_path_factory: pytest.TempPathFactory) -> StartStep:
    """Starts a step: ``start_step(name, inputs, outputs)`` gives its process, output in pipes.

    It gets further environment variables by name; ``edit`` is a module of tfhub_blocks and what is
    added to its code.
    """

    @cache
    def code(name: str, edit: tuple[ModuleType, str] | None) -> Path:
        folder = tmp_path_factory.mktemp(name)
        component = shutil.copy(COMPONENTS / name / "component.py", folder)
        write_step_package(Path(component), PACKAGE, folder)
        if edit:
            module, text = edit
            path = folder / Path(str(module.__file__)).relative_to(PACKAGE.parent)
            path.write_text(path.read_text() + text)
        return folder

    def start(
        name: str,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        edit: tuple[ModuleType, str] | None = None,
        **variables: str,
    ) -> "subprocess.Popen[str]":
        command = f"mldesigner execute --source component.py --name {name} --inputs "
        command += " ".join(f"{port}='{value}'" for port, value in inputs.items())
        command += " --outputs " + " ".join(f"{port}='{path}'" for port, path in outputs.items())
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=code(name, edit),
            env=step_environment({**POLICIES, **variables}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def execute_step(start_step: StartStep) -> ExecuteStep:
    """Runs a step to its end: ``execute_step(name, inputs, outputs)`` gives a CompletedProcess."""

    def execute(
        name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        process = start_step(name, inputs, outputs, **variables)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return execute


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of 8 MB, or of so many kilobytes as the test's parameter says."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={getattr(request, 'param', 8192)}k", "tmpfs"]
    if os.geteuid() != 0 or subprocess.run(["mount", *options, str(folder)]).returncode:
        pytest.skip(
            "Mounting a small disk is forbidden. Run this test as root, where root may mount "
            "(CAP_SYS_ADMIN)"
        )
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
