"""Parts of a flat graph as separate functions, which share the variables of the graph."""

# decision 21

from collections.abc import Mapping
from typing import Any

from tfhub_blocks.compute.cutting.training_graphs import fast_to_train
from tfhub_blocks.compute.tf.flat_graph import FlatGraph, data_inputs
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced


def part_function(
    flat: FlatGraph, start: str, end: str, spec: Any, is_trained: bool = False
) -> Any:
    """Return the part of a graph between two tensors, as a concrete function.

    The function computes with the graph's own variables. Gradients reach its trainable variables,
    with the same numbers as through the complete graph.

    Args:
        flat: The graph.
        start: The tensor that becomes the argument; all paths from the input go through it.
        end: The tensor to return.
        spec: The argument's ``tf.TensorSpec``.
        is_trained: True to rewrite the part so that it is fast to train, equal up to rounding.
    """
    definition = _trimmed(flat.definition, start, end)
    if is_trained:
        definition = fast_to_train(definition)
    nodes = {node.name for node in definition.node}
    captures = {name: tensor for name, tensor in flat.captures.items() if name in nodes}
    handles = {id(tensor) for tensor in captures.values()}
    watched = [variable for variable in flat.variables if id(variable.handle) in handles]

    def call(argument: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        given = {start: argument, **{n: graph.capture(tensor) for n, tensor in captures.items()}}
        # Imported operations do not register the variables that they read with the graph.
        for variable in watched:
            graph.watch_variable(variable)
        return tf.graph_util.import_graph_def(definition, given, [_full(end)], name="")[0]

    part = traced(call).get_concrete_function(spec)
    # A function refers to variables weakly, and the complete graph may be gone before its part.
    part.held_variables = watched
    return part


def lower_function(flat: FlatGraph, tensor: str, spec: Any) -> Any:
    """Return the function from the graph's input, of this spec, to a cut's tensor."""
    if tensor == flat.input:
        return traced(tf.identity).get_concrete_function(spec)
    return part_function(flat, flat.input, tensor, spec)


def upper_function(flat: FlatGraph, tensor: str, spec: Any) -> Any:
    """Return the function from a cut's tensor, of this spec, to the graph's output."""
    return part_function(flat, tensor, flat.output, spec)


def trainable_upper_function(flat: FlatGraph, tensor: str, spec: Any) -> Any:
    """Return a function equal to ``upper_function`` up to rounding, which is fast to train.

    ``training_graphs.py`` rewrites the graph.
    """
    return part_function(flat, tensor, flat.output, spec, is_trained=True)


def _trimmed(definition: Any, start: str, end: str) -> Any:
    """Return the nodes between ``start`` and ``end``, without control inputs and devices."""
    nodes: Mapping[str, Any] = {node.name: node for node in definition.node}
    needed: set[str] = set()
    waiting = [end]
    while waiting:
        tensor = waiting.pop()
        name = tensor.partition(":")[0]
        if _full(tensor) != _full(start) and name not in needed:
            needed.add(name)
            waiting += data_inputs(nodes[name])
    trimmed = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
    for node in definition.node:
        if node.name in needed:
            kept = trimmed.node.add()
            kept.CopyFrom(node)
            del kept.input[:]
            kept.input.extend(data_inputs(node))
            kept.attr.pop("_class", None)
            kept.device = ""
            if _is_swish(node, nodes):
                kept.attr.pop("_gradient_op_type", None)
    return trimmed


def _is_swish(node: Any, nodes: Mapping[str, Any]) -> bool:
    """Return True for the result of ``tf.nn.silu``, x * sigmoid(beta * x).

    It has a gradient of its own, which saves memory and captures ``beta`` from the graph that was
    saved. A part is another graph, where that tensor does not exist. The operations before this one
    have the same gradient without it.
    """
    if node.op != "IdentityN" or not node.attr["_gradient_op_type"].s.startswith(b"CustomGradient"):
        return False
    product = nodes.get(node.input[0].partition(":")[0])
    factors = [nodes.get(it.partition(":")[0]) for it in product.input] if product else []
    return (
        product is not None
        and product.op == "Mul"
        and any(it is not None and it.op == "Sigmoid" for it in factors)
    )


def _full(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"
