"""Causes in a graph for features that depend on more than one item."""

# decision 96

from collections.abc import Iterator
from typing import Any

from tfhub_blocks.compute.tf.tensorflow_setup import tf

RANDOM = frozenset(
    {"RandomUniform", "RandomStandardNormal", "TruncatedNormal", "RandomUniformInt", "Multinomial"}
    | {"RandomShuffle", "StatelessRandomUniform", "StatelessRandomUniformV2"}
    | {"StatelessRandomNormal", "StatelessRandomNormalV2", "StatelessTruncatedNormalV2"}
    | {"StatefulUniform", "StatefulStandardNormalV2", "StatelessRandomGetKeyCounter"}
)
NORMALISATION = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
STATE = frozenset(
    {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "Assign", "AssignAdd"}
    | {"AssignSub", "ResourceScatterUpdate", "ResourceApplyGradientDescent"}
)
REDUCTIONS = frozenset({"Mean", "Sum", "Max", "Min", "EuclideanNorm"})
ROWS = frozenset(
    {"SegmentSum", "SegmentMean", "SegmentMax", "Where", "Unique", "UniqueV2", "DynamicPartition"}
    | {"SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN", "SparseFillEmptyRows"}
)


def dependence_causes(definition: Any) -> list[str]:
    """Return the parts of a graph that may mix items, as phrases, most likely first.

    Args:
        definition: The GraphDef of an encoder, in which calls are inlined.
    """
    nodes = list(definition.node)
    inner = [node for function in definition.library.function for node in function.node_def]
    found: dict[str, str] = {}
    for kind, name in _causes(nodes, inner):
        found.setdefault(kind, name)
    return [f"{kind} ({_short(name)})" for kind, name in found.items()]


def _causes(nodes: list[Any], inner: list[Any]) -> Iterator[tuple[str, str]]:
    for node in (*nodes, *inner):
        if node.op in NORMALISATION and node.attr["is_training"].b:
            yield "batch normalisation in training mode", node.name
    for node in (*nodes, *inner):
        if node.op in RANDOM:
            is_dropout = "dropout" in node.name.lower()
            yield "dropout that is on" if is_dropout else "random numbers", node.name
    for node in (*nodes, *inner):
        if node.op in STATE:
            yield "variables that each call changes", node.name
    constants = {node.name: node for node in nodes if node.op == "Const"}
    for node in nodes:
        is_float = tf.as_dtype(node.attr["T"].type).is_floating if node.attr["T"].type else False
        if node.op in REDUCTIONS and is_float and len(node.input) >= 2:
            axes = constants.get(node.input[1].partition(":")[0])
            if axes is not None and 0 in tf.make_ndarray(axes.attr["value"].tensor).reshape(-1):
                yield "statistics of the batch", node.name
    for node in (*nodes, *inner):
        if node.op in ROWS:
            yield "an operation that drops or joins rows", node.name


def _short(name: str) -> str:
    parts = [part for part in name.split("/") if not part.startswith("StatefulPartitionedCall")]
    return "/".join(parts[-3:]) or name
