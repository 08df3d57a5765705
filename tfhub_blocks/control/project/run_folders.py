"""The folder of the runs: its name, and the addresses below it for MLflow."""

# decision 71

import re
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.foreign_text import is_utf_8

# A bracket expression, as in glob: TensorFlow looks for a model's variables by a pattern.
_PATTERN = re.compile(r"\[[^\]]*\]")


def check_folder_name(where: str, option: str, folder: Path) -> None:
    """Check that all programs of a run can read and write below a folder of this name.

    Raises:
        BlocksError: The path contains a pattern, or a character that is no text.
    """
    text = str(folder)
    if match := _PATTERN.search(text):
        problem = f"{text!r} contains {match[0]!r}, which TensorFlow takes for a pattern"
    elif "\0" in text or not is_utf_8(text):
        problem = f"{text!r} contains a byte that is no text"
    elif re.search(r"[\x00-\x1f\x7f]", text):
        problem = f"{text!r} contains a control character"
    else:
        return
    remedy = f"Pass another folder with {option}" if option.startswith("--") else "Rename it"
    raise BlocksError(where, option, problem, "a path without such characters", remedy)


def sqlite_uri(database: Path) -> str:
    """Return the address of an SQLite database for MLflow, whatever its path contains.

    MLflow decodes the path in an address, and would end it at a question mark.
    """
    return f"sqlite:///{str(database).replace('%', '%25').replace('?', '%3F')}"


def artifact_root(folder: Path) -> str:
    """Return the address of a folder for MLflow's artifacts: its path, unless MLflow decodes it."""
    return folder.as_uri() if set("%?#") & set(str(folder)) else str(folder)
