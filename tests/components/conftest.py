"""Steps run as Azure runs them: ``mldesigner execute`` in a folder with the step's code alone."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from step_programs import POLICIES, step_command, write_step_code

from tfhub_blocks.control.local.step_process import step_environment

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
        return write_step_code(name, tmp_path_factory.mktemp(name), edit)

    def start(
        name: str,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        edit: tuple[ModuleType, str] | None = None,
        **variables: str,
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            step_command(name, inputs, outputs),
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
