"""The code of a step's first run: kept by a run, or this checkout if the digest is the same."""

# decision 36

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.control.lineage.run_archive import StepOfRun
from tfhub_blocks.control.repository.catalog import component_files
from tfhub_blocks.records.base.digests import CACHE_FOLDERS, sources_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import package_folder
from tfhub_blocks.records.environment.code_snapshots import copy_code, write_step_package
from tfhub_blocks.records.environment.environment_references import environment_reference
from tfhub_blocks.records.environment.package_locks import STEP_LOCK_NAME, Lock, parse_lock

COMPONENT_NAME = "component.py"
CODE_FOLDER = "code"


@dataclass(frozen=True)
class StepCode:
    """A step's code snapshot, and the declarations in its component.py, read without import.

    ``origin`` names the place in words; ``output_types`` are the types by port.
    """

    folder: Path
    origin: str
    output_types: dict[str, str]
    environment: str
    role: str

    @property
    def lock(self) -> Lock | None:
        """The lock of the environment to which the step is pinned, or None."""
        path = self.folder / "tfhub_blocks" / STEP_LOCK_NAME
        return parse_lock(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else None


def find_code(
    step: str, digest: str, places: tuple[StepOfRun, ...], scratch: Path
) -> StepCode | None:
    """Find the code of a step by its digest, or return None if it does not exist locally.

    Args:
        step: The component's name.
        digest: The code digest in the step's statement, or empty to take any code.
        places: The steps of runs that used the code.
        scratch: A folder for a copy of this checkout's code.

    Raises:
        BlocksError: The code exists, and is not a readable component.
    """
    for place in places:
        folder = place.folder / "steps" / place.name / CODE_FOLDER
        if folder.is_dir() and (not digest or _digest(folder) == digest):
            return _read(step, folder, f"run {place.run.run}")
    own = component_files().get(step)
    if own is None or not digest:
        return None
    folder = scratch / step / CODE_FOLDER
    if not folder.exists():
        copy_code(own.path.parent, folder)
        write_step_package(own.path, package_folder(), folder)
    return _read(step, folder, "this checkout") if _digest(folder) == digest else None


def _digest(folder: Path) -> str:
    return tree_digest(sources_sha256(folder, omit=CACHE_FOLDERS))


def _read(step: str, folder: Path, origin: str) -> StepCode:
    path = folder / COMPONENT_NAME
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    functions = (it for it in ast.walk(tree) if isinstance(it, ast.FunctionDef))
    function = next((it for it in functions if it.name == step), None)
    outputs = dict(_outputs(function)) if function else {}
    if function is None or not outputs:
        raise BlocksError(
            "reproduce",
            str(path),
            f"the file declares no component {step!r} with outputs",
            "outputs as annotations, each with its type as a literal",
            "Check out the commit that the model was built with, and run the command again",
        )
    reference = environment_reference(path)
    environment = f"azureml:{reference}" if reference else ""
    return StepCode(folder, origin, outputs, environment, _role(function))


def _outputs(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    arguments = function.args
    for argument in (*arguments.args, *arguments.kwonlyargs):
        call = argument.annotation
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Output":
            kinds = {keyword.arg: keyword.value for keyword in call.keywords}
            kind = kinds.get("type")
            if isinstance(kind, ast.Constant):
                yield argument.arg, str(kind.value)


def _role(function: ast.FunctionDef) -> str:
    """Return the role in the tags of a step's decorator, to which a profile sets the time limit."""
    calls = (it for it in function.decorator_list if isinstance(it, ast.Call))
    for keyword in (keyword for call in calls for keyword in call.keywords):
        if keyword.arg == "tags":
            return str(ast.literal_eval(keyword.value).get("role", "cpu"))
    return "cpu"
