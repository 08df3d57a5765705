"""The command line: parses, prints, delegates. A command imports its modules when it runs."""

import argparse
import logging
import os
import select
import sys
import warnings
from collections.abc import Sequence

from tfhub_blocks import __version__
from tfhub_blocks.commands import (
    checks,
    compute,
    costs,
    deployments,
    encoders,
    environments,
    jobs,
    lineages,
    locks,
    pipelines,
    promotions,
    publishing,
    reproductions,
    samples,
    schedules,
    serving,
)
from tfhub_blocks.commands.missing_packages import missing_package
from tfhub_blocks.commands.status import DONE, FAILED, INTERRUPTED, WRONG_REQUEST
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError
from tfhub_blocks.records.base.system_errors import system_error

# In the order in which --help lists them.
GROUPS = (
    pipelines,
    checks,
    samples,
    encoders,
    environments,
    compute,
    publishing,
    locks,
    jobs,
    lineages,
    reproductions,
    promotions,
    serving,
    schedules,
    deployments,
    costs,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    The status is 0 if the command is done, 1 if a step failed or a check found a fault, 2 if the
    request was wrong, and 130 if the user interrupted the command.
    """
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore")
    # azure-ai-ml logs a dozen lines on experimental classes at each import.
    logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)
    try:
        status: int = options.command(options)
    except BlocksError as error:
        print(f"{ERROR_PREFIX}{error}", file=sys.stderr)
        return WRONG_REQUEST
    except ModuleNotFoundError as error:
        if (hint := missing_package(error.name or "")) is None:
            raise
        print(f"{ERROR_PREFIX}{hint}", file=sys.stderr)
        return WRONG_REQUEST
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if not _is_reader_gone():  # then the pipe of another connection broke
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        told = system_error(error, str((arguments or sys.argv[1:])[0]))
        if told is None:
            raise
        print(f"{ERROR_PREFIX}{told}", file=sys.stderr)
        return FAILED
    return status


def _is_reader_gone() -> bool:
    """Return True if the reader of standard output has closed it, as `| head` does."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfhub-blocks",
        description="Pretrained TensorFlow Hub models as stable blocks of Azure ML pipelines.",
    )
    parser.add_argument("--version", action="version", version=f"tfhub-blocks {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in GROUPS:
        group.register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
