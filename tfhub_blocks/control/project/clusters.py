"""The rules that release a cluster's nodes after each step."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.project.profiles import Cluster

# Beyond this, idle time costs more than the wait for a new node.
MAX_IDLE_S = 1800
# Azure's names of machines with a GPU.
GPU_SIZE = re.compile(r"Standard_N[A-Z]", re.I)


def would_stay_up(cluster: Cluster) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and expectation of each setting that keeps unused nodes running."""
    if cluster.min_nodes != 0:
        yield "min_nodes", f"min_nodes is {cluster.min_nodes}", "0"
    if not 0 < cluster.idle_s <= MAX_IDLE_S:
        yield "idle_s", f"idle_s is {cluster.idle_s}", f"1 to {MAX_IDLE_S}"
    if cluster.max_nodes < 1:
        yield "max_nodes", f"max_nodes is {cluster.max_nodes}", "at least 1"
