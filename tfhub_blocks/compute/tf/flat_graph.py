"""Flat graphs, and the tensors that separate the lower part of an encoder's graph from the upper.

Fine-tuning that trains only variables above a cut can compute the part below once for each item.
"""

# decision 21

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tfhub_blocks.compute.tf.tensorflow_setup import inlined_graph, tf

Edges = dict[str, list[str]]


@dataclass(frozen=True)
class CutTensor:
    """A single tensor that separates the graph.

    Its lower side has everything from the input to the first ``below`` trainable variables, and no
    other trainable variable.
    """

    below: int
    tensor: str  # NAME or NAME:INDEX, as in a GraphDef


@dataclass(frozen=True, eq=False)
class FlatGraph:
    """A function's graph with every call replaced by the body of the called function.

    ``captures`` are the tensors from outside (handles of variables, tables) by the names of their
    placeholder nodes. ``variables`` are all variables. ``trainable`` are the trainable variables
    that affect the output, in the order of their first use from input to output. ``between`` are
    the nodes that depend on the input and affect the output, each after the nodes that it uses.
    """

    definition: Any
    input: str
    output: str
    captures: Mapping[str, Any]
    variables: tuple[Any, ...]
    trainable: tuple[Any, ...]
    between: tuple[str, ...]
    places: tuple[CutTensor, ...]


def flat_graph(function: Any, variables: list[Any]) -> FlatGraph:
    """Return the flat graph of a function, with all tensors at which it can be cut.

    Args:
        function: A concrete function of the encoder, from one tensor to one tensor.
        variables: The encoder's trainable variables.
    """
    graph = inlined_graph(function)
    sources = {node.name: data_inputs(node) for node in graph.node}
    captures = len(function.captured_inputs)
    inputs = [tensor.op.name for tensor in function.inputs[: len(function.inputs) - captures]]
    consumers = _consumers(sources)
    between = _reachable(inputs, consumers) & _reachable(
        [tensor.op.name for tensor in function.outputs], {n: _names(t) for n, t in sources.items()}
    )
    path = list(_topological(between, sources))
    positions = {name: position for position, name in enumerate(path)}
    captured = {
        placeholder.op.name: tensor
        for tensor, placeholder in zip(
            function.captured_inputs, function.inputs[len(inputs) :], strict=True
        )
    }
    holders = {id(tensor): name for name, tensor in captured.items()}
    spans = []
    for variable in variables:
        holder = holders.get(id(variable.handle))
        if holder and (span := _span(holder, consumers, positions)):
            spans.append((span[0], span[1], variable))
    spans.sort(key=lambda each: each[:2])
    return FlatGraph(
        definition=graph,
        input=inputs[0],
        output=function.outputs[0].name,
        captures=captured,
        variables=tuple(function.variables),
        trainable=tuple(each[2] for each in spans),
        between=tuple(path),
        places=tuple(_places(path, sources, positions, spans)),
    )


def copied(flat: FlatGraph, device: str) -> FlatGraph:
    """Return the same graph with copies of its variables on a device."""
    with tf.device(device):
        copies = {id(v.handle): tf.Variable(v, trainable=v.trainable) for v in flat.variables}
    handles = {number: copy.handle for number, copy in copies.items()}
    return replace(
        flat,
        captures={name: handles.get(id(t), t) for name, t in flat.captures.items()},
        variables=tuple(copies.values()),
        trainable=tuple(copies[id(variable.handle)] for variable in flat.trainable),
    )


def trainable_order(function: Any, variables: list[Any]) -> tuple[list[Any], list[int]]:
    """Return the trainable variables in the graph's order, and the cuts between them.

    Args:
        function: A concrete function of the encoder, from one tensor to one tensor.
        variables: The encoder's trainable variables.

    Returns:
        The variables that affect the output, in the order of their first use from input to output;
        and each index of a variable before which a single tensor separates the graph, with the
        input and all earlier variables on one side.
    """
    flat = flat_graph(function, variables)
    return list(flat.trainable), sorted({place.below for place in flat.places})


def data_inputs(node: Any) -> list[str]:
    """Return the tensors, ``NAME`` or ``NAME:INDEX``, that a node computes with."""
    return [name for name in node.input if not name.startswith("^")]


def _places(
    path: list[str],
    sources: Mapping[str, list[str]],
    positions: Mapping[str, int],
    spans: list[tuple[int, int, Any]],
) -> Iterator[CutTensor]:
    last_use: dict[str, int] = {}
    for name in path:
        for tensor in sources[name]:
            if tensor.partition(":")[0] in positions:
                last_use[tensor] = positions[name]
    outputs: dict[str, list[str]] = {}
    for tensor in last_use:
        outputs.setdefault(tensor.partition(":")[0], []).append(tensor)
    crossing: set[str] = set()
    for position, name in enumerate(path):
        crossing |= set(outputs.get(name, ()))
        crossing = {tensor for tensor in crossing if last_use[tensor] > position}
        # Every path from input to output passes this position, and so goes through this tensor.
        if len(crossing) == 1:
            below = sum(first <= position for first, _, _ in spans)
            straddles = any(first <= position < last for first, last, _ in spans)
            if 0 < below < len(spans) and not straddles:
                yield CutTensor(below, next(iter(crossing)))


def _span(
    holder: str, consumers: Mapping[str, list[str]], positions: Mapping[str, int]
) -> tuple[int, int] | None:
    """Return the first and the last position of the path that a variable's value enters."""
    seen, waiting, met = {holder}, [holder], []
    while waiting:
        for consumer in consumers.get(waiting.pop(), ()):
            if consumer in positions:
                met.append(positions[consumer])
            elif consumer not in seen:
                seen.add(consumer)
                waiting.append(consumer)
    return (min(met), max(met)) if met else None


def _names(tensors: list[str]) -> list[str]:
    return [tensor.partition(":")[0] for tensor in tensors]


def _consumers(sources: Mapping[str, list[str]]) -> Edges:
    consumers: Edges = {}
    for name, tensors in sources.items():
        for source in _names(tensors):
            consumers.setdefault(source, []).append(name)
    return consumers


def _reachable(starts: list[str], edges: Mapping[str, list[str]]) -> set[str]:
    seen, waiting = set(starts), list(starts)
    while waiting:
        fresh = set(edges.get(waiting.pop(), ())) - seen
        seen |= fresh
        waiting += fresh
    return seen


def _topological(names: set[str], sources: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield the nodes, each after the nodes that it uses; the order depends on the graph alone."""
    waits = {name: {s for s in _names(sources[name]) if s in names} for name in names}
    consumers: Edges = {}
    for name in sorted(names):
        for source in waits[name]:
            consumers.setdefault(source, []).append(name)
    ready = sorted(name for name, waiting in waits.items() if not waiting)
    while ready:
        name = ready.pop()
        yield name
        for consumer in consumers.get(name, ()):
            waits[consumer].discard(name)
            if not waits[consumer]:
                ready.append(consumer)
