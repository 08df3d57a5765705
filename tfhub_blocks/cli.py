"""The command line: parses, prints, delegates. What it calls is imported when it is called."""

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
from tfhub_blocks.commands.status import DONE, INTERRUPTED, WRONG_REQUEST
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError

# In the order in which --help tells of them.
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
    """Run one command; the exit status: 0 done, 1 a step failed, 2 the request was wrong."""
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore")
    # A dozen lines on experimental classes, at each import of azure-ai-ml.
    logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)
    try:
        status: int = options.command(options)
    except BlocksError as error:
        print(f"{ERROR_PREFIX}{error}", file=sys.stderr)
        return WRONG_REQUEST
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if not _is_reader_gone():  # a connection's, then
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return status


def _is_reader_gone() -> bool:
    """Whether nobody reads what is printed any more (`| head`)."""
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
