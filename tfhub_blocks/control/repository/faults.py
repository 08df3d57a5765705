"""Mistakes in the files of a project: where each one is, and several of them as one error."""

# decision 100

import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import tfhub_blocks
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import origin_path
from tfhub_blocks.records.base.source_imports import is_installed

_OWN = Path(str(tfhub_blocks.__file__)).parent
# The folders of the package that contain steps and pipelines, which are a user's files too.
_GROUPS = ("components", "pipelines")
_LONGEST = 300
_MESSAGE = re.compile(r'"message": "((?:[^"\\]|\\.)*)"')


class FaultsError(BlocksError):
    """Several mistakes. The command line prints each on a line of its own."""

    def __init__(self, faults: Sequence[BlocksError]) -> None:
        first = faults[0]
        super().__init__(first.where, first.what, first.problem, first.expected, first.remedy)
        self.faults = tuple(faults)
        self.args = ("\n".join(map(str, faults)),)


def raise_all(faults: Sequence[BlocksError]) -> None:
    """Raise the only one of some mistakes, or all of them as one error; do nothing without any."""
    each = {str(it): it for fault in faults for it in getattr(fault, "faults", (fault,))}
    if len(each) == 1:
        raise next(iter(each.values()))
    if each:
        raise FaultsError(list(each.values()))


@dataclass(frozen=True)
class UserLine:
    """A line of a file or notebook cell that a user wrote."""

    path: Path
    line: int

    def __str__(self) -> str:
        """Return FILE:LINE, relative to the working folder if the file is below it."""
        if not self.path.is_file():  # a cell, under whatever name the notebook compiled it
            return f"cell line {self.line}"
        path = origin_path(self.path)
        here = Path.cwd()
        return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{self.line}"


def is_user_file(name: str) -> bool:
    """Return True for the code of a step, a pipeline or a script; False for a library's."""
    if name.startswith("<"):
        return False
    path = Path(name)
    if path.is_relative_to(_OWN):
        return path.relative_to(_OWN).parts[0] in _GROUPS and path.name != "__init__.py"
    return not is_installed(path)


def calling_line() -> UserLine | None:
    """Return the line of the user's code that is running, or None."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return frame and UserLine(Path(frame.f_code.co_filename), frame.f_lineno)


def error_line(error: BaseException) -> UserLine | None:
    """Return the line of the user's code that raised an error, or None."""
    if isinstance(error, SyntaxError) and error.filename and is_user_file(error.filename):
        return UserLine(Path(error.filename), error.lineno or 1)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [it for it in frames if is_user_file(it.filename)]
    return UserLine(Path(lines[-1].filename), lines[-1].lineno or 1) if lines else None


def error_text(error: BaseException) -> str:
    """Return the message of an error on one line, with the name of its class."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    if messages := _MESSAGE.findall(text):  # azure-ai-ml prints the result of its checks as JSON
        text = "; ".join(dict.fromkeys(messages))
    text = " ".join(text.split())
    return f"{type(error).__name__}: {text[:_LONGEST]}" if text else type(error).__name__
