"""The files of a step's code snapshot, as Azure ML would receive them."""

# decision 102

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.ai.ml._utils._asset_utils import IgnoreFile
from azure.ai.ml.entities._component.code import ComponentIgnoreFile

from tfhub_blocks.control.project.tracking_store import DATABASE_NAME
from tfhub_blocks.records.base.digests import CACHE_FOLDERS, source_files

_RUNS = ".runs"


@contextmanager
def snapshot_files(component: Any) -> Iterator[dict[str, Path]]:
    """Yield each file of a component's code snapshot by its POSIX path, sorted.

    Files that ``.amlignore``, or else ``.gitignore``, at the top of the code names are left out, as
    azure-ai-ml does it. Folders of runs are left out too, so that no run is part of a snapshot. A
    component without code has no files.

    Raises:
        BlocksError: The code contains a link to a folder, a broken link or a device.
    """
    origin = component._get_origin_code_in_str()
    if origin is None and not component._generate_additional_includes_obj().with_includes:
        yield {}
    elif component._generate_additional_includes_obj().with_includes:
        with component._build_code() as code:  # a folder in which the SDK joins the parts
            yield _files(Path(code.path), code._ignore_file)
    else:
        # Not by _build_code, which reads every byte, also of the files that are left out.
        folder = Path(component._get_base_path_for_code()) / origin
        yield _files(folder, ComponentIgnoreFile(folder))


def _files(folder: Path, ignore: IgnoreFile | None) -> dict[str, Path]:
    if folder.is_file():
        return {folder.name: folder}
    leave_out = _left_out(ignore or IgnoreFile())
    return source_files(folder, omit=CACHE_FOLDERS, leave_out=leave_out)


def _left_out(ignore: IgnoreFile) -> Callable[[Path, bool], bool]:
    """Return a function that is True for a path that is not part of the code."""
    # An entry that takes files back in may name one inside a folder that is left out.
    takes_back = any(line.startswith("!") for line in ignore._get_ignore_list())

    def is_left_out(path: Path, is_folder: bool) -> bool:
        if is_folder:
            if is_runs_folder(path):
                return True
            # A pattern such as data/ matches only what is inside the folder.
            return not takes_back and bool(ignore.is_file_excluded(path / "inside"))
        return bool(ignore.is_file_excluded(path))

    return is_left_out


def is_runs_folder(path: Path) -> bool:
    """Return True for a folder that ``run`` writes to, whatever its name is."""
    return path.name == _RUNS or ((path / DATABASE_NAME).is_file() and (path / "runs").is_dir())
