"""What somebody does to a chain: edits, swaps, and records forged to fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.output_store import _digests


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file, written as the records write theirs."""
    record = json.loads(path.read_text())
    change(record)
    # Not in place: the store and what a run shows of it are hard links.
    path.unlink()
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def forge(output: Path) -> None:
    """Let the store's record say that an output was always as it is now."""
    digest, whole = _digests(output)

    def change(record: Any) -> None:
        record["digests"][output.name], record["whole"][output.name] = digest, whole

    edit_json(output.parent / "step.json", change)


def swap(output: Path, other: Path) -> None:
    """Put a copy of something else in place of an output."""
    if output.is_dir():
        shutil.rmtree(output)
        shutil.copytree(other, output)
    else:
        output.unlink()
        shutil.copy(other, output)
