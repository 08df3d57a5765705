"""The file system of Azure ML's jobs, and the steps that write there."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "azureml"))

from mounted_job import Command, MountSession, missing_part
from mounted_steps import CASES, StepCase, outputs_of
from step_programs import POLICIES, step_command, write_step_code

from tfhub_blocks.control.local.step_process import step_environment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep one test of mounts where nothing can be mounted: it is skipped, and gives the reason."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    if here and missing_part():
        kept = next((item for item in here if not item.get_closest_marker("slow")), here[0])
        items[:] = [item for item in items if item is kept or item not in here]


@pytest.fixture(scope="session")
def mounts() -> Iterator[MountSession]:
    """A storage account whose folders are mounted as outputs."""
    if missing := missing_part():
        pytest.skip(missing)
    session = MountSession()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def given(
    keras_encoder: Path,
    coloured_snapshot: Path,
    write_test_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Inputs of steps, on a local disk; what a step writes there is an input of later ones."""
    folder = tmp_path_factory.mktemp("given")
    return {
        "encoder": keras_encoder,
        "saved": keras_encoder.parent / "saved_model",
        "snapshot": coloured_snapshot,
        "source": coloured_snapshot.parent / "source",
        "start": write_test_model(folder / "start", keras_encoder, coloured_snapshot, 0.05),
        "folder": folder,
    }


@pytest.fixture(scope="session")
def step_commands(
    given: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Command]:
    """``step_commands(case, folder)`` gives the command of a step with outputs in a folder."""

    @cache
    def code(name: str) -> Path:
        return write_step_code(name, tmp_path_factory.mktemp(name))

    tracking = tmp_path_factory.mktemp("mlflow")

    def command(case: StepCase, folder: Path, **variables: str) -> Command:
        environment = {
            **POLICIES,
            "MLFLOW_TRACKING_URI": f"sqlite:///{tracking}/{case.name}.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(tracking / "artifacts"),
            **variables,
        }
        return Command(
            step_command(case.name, case.inputs(given), outputs_of(case, folder)),
            code(case.name),
            step_environment(environment),
        )

    return command


@pytest.fixture(scope="session")
def on_disk(
    mounts: MountSession, given: dict[str, Path], step_commands: Callable[..., Command]
) -> Callable[[StepCase], Path]:
    """``on_disk(case)`` gives the folder with the outputs of an undisturbed step on a disk."""

    @cache
    def made(name: str) -> Path:
        case = next(each for each in CASES if each.name == name)
        for needed in case.after:
            made(needed)
        folder = given["folder"] / name
        (done,), _ = mounts.run(step_commands(case, folder))
        assert done.status == 0, done.stderr
        return folder

    return lambda case: made(case.name)
