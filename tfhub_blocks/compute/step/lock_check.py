"""What a step that replays a release lock does first: see that it was given what is locked."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats.locked_expectations import (
    VARIABLE,
    code_digest,
    has_content,
    parse_expected,
)

_NAMED = 3
_SHOWN_DIGITS = 12


def check_expected(
    step_name: str,
    code_files: Mapping[str, str],
    environment: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Path],
) -> str | None:
    """The name of the lock that is replayed, everything as it says; None if there is none.

    Args:
        step_name: The step, for the error.
        code_files: The SHA-256 of each file of the code that runs.
        environment: NAME:VERSION that the code is pinned to, or nothing.
        parameters: As they arrived.
        inputs: The path of each input by port; those that the lock knows are read in full, and
            other folders have to come from steps that replayed a lock.

    Raises:
        BlocksError: Something is not as it is locked; all of it is told.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        expected = parse_expected(text)
    except ValueError as error:
        raise BlocksError(
            step_name, VARIABLE, f"it cannot be read ({error})", "what submit wrote", "submit again"
        ) from error
    seen = replace(
        expected,
        code=code_digest(code_files),
        environment=environment,
        parameters={name: value for name, value in parameters.items() if value is not None},
        policies={name: os.environ.get(name, "") for name in expected.policies},
    )
    problems = [
        f"{what} is {_short(found)}, locked is {_short(wanted)}"
        for what, wanted, found in expected.differences(seen)
    ]
    for port, digest in sorted(expected.inputs.items()):
        path = inputs.get(port)
        if path is None:
            problems.append(f"input {port} was not given")
        elif not has_content(path, digest):
            problems.append(f"input {port} has other content than {_short(digest)}")
    problems += [
        f"input {port} comes from a step that replayed no lock"
        for port, path in sorted(inputs.items())
        if port not in expected.inputs and path.is_dir() and not _is_released(path)
    ]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise BlocksError(
            step_name,
            f"release lock {expected.lock}",
            f"this is not what was locked: {'; '.join(problems[:_NAMED])}{more}",
            "exactly that, whatever was changed after the submission",
            "see who changed it, and submit the lock again",
        )
    return expected.lock


def _is_released(output: Path) -> bool:
    """Whether the step that made a folder compared what it was given with a lock, as this one."""
    if not (output / STATEMENT_NAME).is_file():
        return False
    return bool(read_lineage(output).provenance.facts.get("release_lock"))


def _short(text: str) -> str:
    is_digest = len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
    return f"{text[:_SHOWN_DIGITS]}…" if is_digest else text
