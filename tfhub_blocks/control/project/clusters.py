"""The rules that make a cluster's nodes end after each step."""

from collections.abc import Iterator

from tfhub_blocks.control.project.profiles import Cluster

# A node that idles longer is paid for more than it is waited for.
MAX_IDLE_S = 1800


def would_stay_up(cluster: Cluster) -> Iterator[tuple[str, str, str]]:
    """Key, problem and expectation of what would let nodes stay that no step uses."""
    if cluster.min_nodes != 0:
        yield "min_nodes", f"it is {cluster.min_nodes}", "0"
    if not 0 < cluster.idle_s <= MAX_IDLE_S:
        yield "idle_s", f"it is {cluster.idle_s}", f"1 to {MAX_IDLE_S}"
    if cluster.max_nodes < 1:
        yield "max_nodes", f"it is {cluster.max_nodes}", "at least 1"
