"""Thresholds of a step that a snapshot cannot reach, found before the step's other inputs exist.

A step with the tag ``judges_by`` names its input with the snapshot that it measures a model on. Its
thresholds matter if another step of the pipeline reads its evidence.
"""

# decision 79

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.champion_comparison import MIN_GAIN
from tfhub_blocks.records.formats.gate_floors import (
    MIN_CLASS_TEST_ITEMS,
    MIN_TEST_ITEMS,
    unreachable,
)
from tfhub_blocks.records.formats.snapshots import Snapshot, open_snapshot

EVIDENCE_PORT = "evidence"


def check_reachable(node: Node, path: Path, where: str) -> None:
    """Check that the thresholds of a step can be reached with the test items of a snapshot.

    A folder that is no finished snapshot passes: the step that reads it reports the reason.

    Args:
        node: The step.
        path: The folder of the snapshot.
        where: The command that the user started.

    Raises:
        BlocksError: A threshold cannot be reached, even if all answers are right.
    """
    try:
        snapshot = open_snapshot(path, node.name)
        counts, twins = judged_items(snapshot)
    except (BlocksError, OSError, ValueError):
        return
    items, of_class, gain = (
        node.inputs.get(name) for name in (MIN_TEST_ITEMS, MIN_CLASS_TEST_ITEMS, MIN_GAIN)
    )
    asked = (int(items or 0), int(of_class or 0), None if gain is None else float(gain))
    for name, problem, remedy in unreachable(counts, *asked, twins):
        raise BlocksError(where, f"{node.name}.{name}", problem, "", remedy)


def gates(graph: Graph) -> Iterator[tuple[Node, Any]]:
    """Yield each step whose evidence another step reads, and the source of its snapshot."""
    read = [value for node in graph.nodes.values() for value in node.inputs.values()]
    for node in graph.nodes.values():
        if node.judges_by in node.inputs and OutputOf(node.name, EVIDENCE_PORT) in read:
            yield node, node.inputs[node.judges_by]


def check_given_snapshots(graph: Graph, where: str) -> None:
    """Check the thresholds of all gates whose snapshot is a folder that the user passes.

    Raises:
        BlocksError: A threshold cannot be reached.
    """
    for node, source in gates(graph):
        if isinstance(source, Path):
            check_reachable(node, source, where)


def judged_items(snapshot: Snapshot) -> tuple[dict[str, int], int]:
    """Return the test items of each class without twins in training, and the number of twins."""
    counts = Counter(snapshot.manifest.counts.get("test", {}))
    twins = snapshot.twins()
    if twins:
        index = snapshot.index()
        tested = index.filter(pc.equal(index["split"], "test"))
        pairs = zip(tested["id"].to_pylist(), tested["label"].to_pylist(), strict=True)
        counts.subtract(label for item, label in pairs if item in twins)
    return dict(counts), len(twins)
