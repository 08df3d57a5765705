"""The command line: parses, prints, delegates. A command imports its modules when it runs."""

import argparse
import logging
import os
import select
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tfhub_blocks import __version__
from tfhub_blocks.commands import (
    automation,
    checks,
    completions,
    compute,
    costs,
    data,
    deployments,
    doctor,
    encoders,
    environments,
    jobs,
    lineages,
    locks,
    monitorings,
    owners,
    pipelines,
    promotions,
    publishing,
    reproductions,
    reviews,
    runs,
    samples,
    schedules,
    schemas,
    serving,
    withdrawals,
)
from tfhub_blocks.commands.missing_packages import missing_package
from tfhub_blocks.commands.status import DONE, FAILED, INTERRUPTED, WRONG_REQUEST
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError, unforeseen
from tfhub_blocks.records.base.foreign_text import printable, printable_output
from tfhub_blocks.records.base.redaction import environment_secrets, redacted
from tfhub_blocks.records.base.system_errors import system_error

# In the order in which --help lists them.
GROUPS = (
    pipelines,
    checks,
    reviews,
    samples,
    data,
    encoders,
    environments,
    compute,
    publishing,
    locks,
    jobs,
    runs,
    lineages,
    withdrawals,
    reproductions,
    promotions,
    serving,
    monitorings,
    schedules,
    deployments,
    owners,
    costs,
    doctor,
    automation,
    completions,
    schemas,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    The status is 0 if the command is done, 1 if a step failed or a check found a fault, 2 if the
    request was wrong, and 130 if the user interrupted the command. What is printed is escaped
    (decision 69). No exception leaves this function: the traceback of an unforeseen one is
    written to a file, and one line names the file.
    """
    with printable_output():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    warnings.filterwarnings("ignore")
    # azure-ai-ml logs a dozen lines on experimental classes at each import.
    logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)
    try:
        options = command_parser().parse_args(arguments)
        status: int = options.command(options)
        sys.stdout.flush()
    except BlocksError as error:
        for fault in getattr(error, "faults", (error,)):  # a file may contain several mistakes
            print(f"{ERROR_PREFIX}{fault}", file=sys.stderr)
        return WRONG_REQUEST
    except ModuleNotFoundError as error:
        if (hint := missing_package(error.name or "")) is None:
            return _failed(error)
        print(f"{ERROR_PREFIX}{hint}", file=sys.stderr)
        return WRONG_REQUEST
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError as error:
        if not _is_reader_gone():  # then the pipe of another connection broke
            return _failed(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        told = system_error(error, str((arguments or sys.argv[1:])[0]))
        if told is None:
            return _failed(error)
        print(f"{ERROR_PREFIX}{told}", file=sys.stderr)
        return FAILED
    return status


def _failed(error: Exception) -> int:
    """Write the traceback of an unforeseen error to a file, and name the file in one line."""
    text = redacted("".join(traceback.format_exception(error)), environment_secrets(os.environ))
    try:
        number, name = tempfile.mkstemp(".txt", "tfhub-blocks-error-", _place_of_tracebacks())
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        place = name
    except OSError as problem:
        place = f"no file, because none could be written ({problem})"
    print(f"{ERROR_PREFIX}{unforeseen('tfhub-blocks', error, place)}", file=sys.stderr)
    return FAILED


def _place_of_tracebacks() -> Path | None:
    """Return the folder of the runs below the working folder, or None for the temporary folder."""
    runs = Path(".runs").absolute()
    return runs if runs.is_dir() and os.access(runs, os.W_OK) else None


def _is_reader_gone() -> bool:
    """Return True if the reader of standard output has closed it, as `| head` does."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


class _Parser(argparse.ArgumentParser):
    """A parser whose messages are one line and contain no secret, whatever the words are."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(redacted(message)))


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with all commands."""
    parser = _Parser(
        prog="tfhub-blocks",
        description="Pretrained TensorFlow Hub models as stable blocks of Azure ML pipelines.",
    )
    parser.add_argument("--version", action="version", version=f"tfhub-blocks {__version__}")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in GROUPS:
        group.register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
