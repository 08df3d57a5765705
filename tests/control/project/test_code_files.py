"""The files of code snapshots: ignore files, folders of runs, and code without a folder."""

from pathlib import Path

import pytest
from azure.ai.ml.entities import CommandComponent

from tfhub_blocks.control.project.code_files import snapshot_files
from tfhub_blocks.records.base.errors import BlocksError


def component(code: Path | None) -> CommandComponent:
    return CommandComponent(
        name="c", command="ls", environment="azureml:x:1", code=str(code) if code else None
    )


def names(code: Path | None) -> list[str]:
    with snapshot_files(component(code)) as files:
        return list(files)


def write(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_runs_are_never_part_of_code_whatever_their_folder_is_called(tmp_path):
    write(tmp_path, "step.py", "data/1.txt", ".runs/jobs/j/run.json", "mine/mlflow.db")
    write(tmp_path, "mine/runs/r/steps/s/code/step.py", "mine/store/k/o", "runs/kept.txt")
    assert names(tmp_path) == ["data/1.txt", "runs/kept.txt", "step.py"]


def test_amlignore_hides_gitignore_and_counts_at_the_top_only(tmp_path):
    write(tmp_path, "step.py", "a.csv", "b.bin", "below/a.csv", "below/.amlignore")
    (tmp_path / ".amlignore").write_text("*.csv\n")
    (tmp_path / ".gitignore").write_text("*.bin\n")
    (tmp_path / "below" / ".amlignore").write_text("*\n")
    assert names(tmp_path) == [
        ".amlignore", ".gitignore", "b.bin", "below/.amlignore", "step.py",
    ]  # fmt: skip


def test_links_in_left_out_folders_do_not_count(tmp_path):
    write(tmp_path, "step.py", ".venv/lib/x.py")
    (tmp_path / ".venv" / "lib64").symlink_to("lib")
    with pytest.raises(BlocksError, match="is a link to a folder"):
        names(tmp_path)
    (tmp_path / ".gitignore").write_text(".venv/\n")
    assert names(tmp_path) == [".gitignore", "step.py"]


def test_one_file_or_no_code(tmp_path):
    write(tmp_path, "step.py", "other.py")
    assert names(tmp_path / "step.py") == ["step.py"]
    assert names(None) == []
