"""The first check of a step that replays a release lock: everything is as the lock states."""

# decisions 32 and 35

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


def open_inputs() -> Mapping[str, Mapping[str, str]]:
    """Return the open inputs of the release lock that the step replays, by port.

    Call ``check_expected`` first.
    """
    text = os.environ.get(VARIABLE)
    return parse_expected(text).open if text else {}


def locked_inputs() -> Mapping[str, str]:
    """Return the digests of the inputs that the release lock of the step pins, by port.

    Call ``check_expected`` first.
    """
    text = os.environ.get(VARIABLE)
    return parse_expected(text).inputs if text else {}


def check_expected(
    step_name: str,
    code_files: Mapping[str, str],
    environment: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Path],
) -> str | None:
    """Compare a step with the release lock that it replays, and return the lock's name.

    Return None if the step replays no lock.

    Args:
        step_name: The step, for the error.
        code_files: The SHA-256 of each file of the code that runs.
        environment: The environment of the code as NAME:VERSION, or an empty text.
        parameters: The parameters that the step received.
        inputs: The path of each input by port. Inputs that the lock lists are read in full; other
            folders must be outputs of steps that replayed a lock.

    Raises:
        BlocksError: The step differs from the lock. The message lists the first differences, and
            counts the others.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        expected = parse_expected(text)
    except ValueError as error:
        raise BlocksError(
            step_name,
            VARIABLE,
            f"the value cannot be read ({error})",
            "the value that `tfhub-blocks submit` wrote",
            "Submit the lock again with `tfhub-blocks submit`",
        ) from error
    seen = replace(
        expected,
        code=code_digest(code_files),
        environment=environment,
        parameters={name: value for name, value in parameters.items() if value is not None},
        policies={name: os.environ.get(name, "") for name in expected.policies},
    )
    problems = [
        f"{name} is {_short(found)}, but the lock states {_short(wanted)}"
        for name, wanted, found in expected.differences(seen)
    ]
    for port, digest in sorted(expected.inputs.items()):
        path = inputs.get(port)
        if path is None:
            problems.append(f"input {port} is missing")
        elif not has_content(path, digest):
            problems.append(f"the content of input {port} does not have digest {_short(digest)}")
    problems += [
        f"input {port} is the output of a step that replayed no lock"
        for port, path in sorted(inputs.items())
        if port not in (*expected.inputs, *expected.open)
        and path.is_dir()
        and not _is_released(path)
    ]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise BlocksError(
            step_name,
            f"release lock {expected.lock}",
            f"the step differs from the lock: {'; '.join(problems[:_NAMED])}{more}",
            "the locked code, environment, parameters, policies and inputs",
            "Find out who changed this after the submission, and submit the lock again",
        )
    return expected.lock


def _is_released(output: Path) -> bool:
    """Return True if the folder is the output of a step that replayed a release lock."""
    if not (output / STATEMENT_NAME).is_file():
        return False
    return bool(read_lineage(output).provenance.facts.get("release_lock"))


def _short(text: str) -> str:
    is_digest = len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
    return f"{text[:_SHOWN_DIGITS]}…" if is_digest else text
