"""Workflow files in the working folder: written from the settings, and compared with them."""

# decision 109

import difflib
from collections.abc import Mapping
from pathlib import Path

from tfhub_blocks.control.automation import azure_pipelines, github_workflows
from tfhub_blocks.control.automation.ci_settings import CiProject
from tfhub_blocks.records.base.folders import write_file

SYSTEMS = {
    "github": (github_workflows.FOLDER, github_workflows.github_files),
    "azure-devops": (azure_pipelines.FOLDER, azure_pipelines.azure_files),
}
PREFIX = "tfhub-blocks-"


def wanted_files(project: CiProject, system: str) -> dict[Path, str]:
    """Return the text of each file of a system, by its path."""
    return {Path(name): text for name, text in SYSTEMS[system][1](project).items()}


def written_systems() -> list[str]:
    """Return the systems for which the working folder has files."""
    return [name for name, (folder, _) in SYSTEMS.items() if any(_written(Path(folder)))]


def write_files(files: Mapping[Path, str], system: str) -> list[tuple[Path, str]]:
    """Write the files, delete those that are not needed any more; return each path and its state.

    Files whose names do not begin with ``tfhub-blocks-`` are left alone.
    """
    states = []
    for path, text in files.items():
        there = path.read_text(encoding="utf-8") if path.is_file() else None
        if there != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, text.encode())
        states.append((path, "up to date" if there == text else "changed" if there else "created"))
    for path in _written(Path(SYSTEMS[system][0])):
        if path not in files:
            path.unlink()
            states.append((path, "deleted"))
    return states


def file_differences(files: Mapping[Path, str], system: str) -> str:
    """Return the differences of the working folder from the files, as a unified diff."""
    paths = sorted({*files, *_written(Path(SYSTEMS[system][0]))})
    lines: list[str] = []
    for path in paths:
        there = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        wanted = files.get(path, "").splitlines()
        lines += difflib.unified_diff(there, wanted, f"{path}", f"{path} (wanted)", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _written(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*.yml"))
