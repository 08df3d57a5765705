"""Local processes that stand for the nodes of one step."""

# decision 18

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack

from tfhub_blocks.control.local.step_process import StepProcess, stop


def free_addresses(count: int) -> list[str]:
    """Return a number of local addresses on which nothing listens."""
    with ExitStack() as stack:
        # All ports are open at once, so that none is returned twice.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def run_together(processes: Sequence[StepProcess]) -> tuple[int, int]:
    """Run the workers of one step in parallel to their end.

    When a worker fails, the others are stopped, as Azure ML does it.

    Returns:
        Index and exit status of the first worker that failed; otherwise those of worker 0.
    """
    failed: tuple[int, int] | None = None
    with ThreadPoolExecutor(len(processes)) as pool:
        running = {pool.submit(process.run): i for i, process in enumerate(processes)}
        for future in as_completed(running):
            index, status = running[future], 0
            try:
                status = future.result()
            except BaseException:
                stop(processes)
                raise
            if failed is None and (status or processes[index].stopped):
                failed = index, status
                stop(processes)
    return failed or (0, 0)
