"""Rewriting of graphs so that they are fast to train, with results equal up to rounding."""

# decision 46

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tfhub_blocks.compute.cutting import depthwise
from tfhub_blocks.compute.tf.tensorflow_setup import tf

CONVOLUTIONS = ("Conv2D", depthwise.OPERATION)
NORMALIZATIONS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")


def fast_to_train(definition: Any) -> Any:
    """Return a flat graph whose convolutions are fast to train.

    Wide depthwise filters get the gradient of ``depthwise.py``. A batch normalization with the
    published moments multiplies each channel by a number and adds another: the filter of the
    convolution before it absorbs the first, the bias the second (Jacob et al., Quantization and
    Training of Neural Networks, 2018, section 3.2). So the normalization no longer passes over
    images, forward or backward, and gradients still reach scale and offset.

    Args:
        definition: A GraphDef without function calls. Tensors keep their names, but the values
            between a convolution and its normalization change.
    """
    nodes = {node.name: node for node in definition.node}
    used = Counter(name.removesuffix(":0") for node in definition.node for name in node.input)
    rewritten = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
    folded = {
        convolution.name: node
        for node in definition.node
        if (convolution := _folded_into(node, nodes, used)) is not None
    }
    normalizations = {node.name for node in folded.values()}
    for node in definition.node:
        if node.name in normalizations:
            continue
        kept = rewritten.node.add()
        kept.CopyFrom(node)
        if node.op == depthwise.OPERATION:
            kept.attr["_gradient_op_type"].s = depthwise.GRADIENT.encode()
        if node.name in folded:
            _fold(folded[node.name], kept, rewritten)
    return rewritten


def _folded_into(node: Any, nodes: Mapping[str, Any], used: Mapping[str, int]) -> Any | None:
    """Return the convolution that a normalization can be folded into, or None."""
    if node.op not in NORMALIZATIONS or any(
        used[f"{node.name}:{output}"] for output in range(1, 6)
    ):
        return None
    convolution = nodes.get(node.input[0].removesuffix(":0"))
    # Functions of Keras pass their results on by one or more Identity nodes.
    while convolution is not None and convolution.op == "Identity" and used[convolution.name] == 1:
        convolution = nodes.get(convolution.input[0].removesuffix(":0"))
    if convolution is None or convolution.op not in CONVOLUTIONS or used[convolution.name] != 1:
        return None
    is_fixed = not node.attr["is_training"].b and node.attr["data_format"].s != b"NCHW"
    is_float32 = convolution.attr["T"].type == tf.float32.as_datatype_enum
    return convolution if is_fixed and is_float32 else None


def _fold(normalization: Any, convolution: Any, graph: Any) -> None:
    """Fold a normalization into a convolution; the sum with the bias gets its name."""

    def node(operation: str, name: str, *inputs: str, **attributes: Any) -> str:
        added = graph.node.add(op=operation, name=name, input=inputs)
        added.attr["T"].type = tf.float32.as_datatype_enum
        for key, value in attributes.items():
            added.attr[key].CopyFrom(value)
        return name

    def constant(name: str, value: Any, dtype: Any) -> str:
        added = graph.node.add(op="Const", name=name)
        added.attr["dtype"].type = dtype.as_datatype_enum
        added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
        return name

    own = f"{normalization.name}/folded"
    _, scale, offset, mean, variance = normalization.input
    epsilon = constant(f"{own}/epsilon", normalization.attr["epsilon"].f, tf.float32)
    deviation = node("Rsqrt", f"{own}/rsqrt", node("AddV2", f"{own}/add", variance, epsilon))
    factor = node("Mul", f"{own}/factor", scale, deviation)
    filters = convolution.input[1]
    by_filter = factor
    if convolution.op == depthwise.OPERATION:
        # The last two dimensions of a depthwise filter are the channels and their multiplier.
        int32 = tf.compat.v1.AttrValue(type=tf.int32.as_datatype_enum)
        shape = node("Shape", f"{own}/shape", filters, out_type=int32)
        bounds = [constant(f"{own}/{name}", [value], tf.int32) for name, value in _LAST_TWO]
        last = node(
            "StridedSlice",
            f"{own}/last_two",
            shape,
            *bounds,
            T=int32,
            Index=int32,
            end_mask=tf.compat.v1.AttrValue(i=1),
        )
        by_filter = node("Reshape", f"{own}/by_filter", factor, last, Tshape=int32)
    convolution.input[1] = node("Mul", f"{own}/filters", filters, by_filter)
    shift = node("Sub", f"{own}/bias", offset, node("Mul", f"{own}/shift", mean, factor))
    node("BiasAdd", normalization.name, convolution.name, shift)


_LAST_TWO = (("begin", -2), ("end", 0), ("step", 1))
