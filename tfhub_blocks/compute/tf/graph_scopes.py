"""The graphs of one MetaGraphDef as scopes: nodes by name, calls, and the sources of a tensor."""

# decision 66

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# The name of the scope of the main graph; no function has an empty name.
MAIN = ""
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Operations whose output is, or is joined from, some of their inputs: the first and last index.
_PASSED = {
    "Identity": (0, 1),
    "Pack": (0, None),
    "PlaceholderWithDefault": (0, 1),
    "Select": (1, 3),
    "SelectV2": (1, 3),
    "ShardedFilename": (0, 1),
    "StringJoin": (0, None),
}
# Operations that take the handle of a variable and do not change the variable.
_READS = ("ReadVariableOp", "VarIsInitializedOp", "VariableShape")


@dataclass(frozen=True)
class Source:
    """A source of a tensor: ``kind`` is asset, checkpoint, text, or other."""

    kind: str
    text: str = ""


@dataclass
class GraphScopes:
    """The main graph and the functions of a MetaGraphDef, by name.

    ``users`` lists, for each function, the scopes and nodes that name it in any way.
    """

    meta_graph: Any
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    arguments: dict[str, list[str]] = field(default_factory=dict)
    users: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.meta_graph.graph_def
        self.nodes[MAIN] = {node.name: node for node in graph.node}
        self.arguments[MAIN] = []
        for function in graph.library.function:
            name = function.signature.name
            self.nodes[name] = {node.name: node for node in function.node_def}
            self.arguments[name] = [argument.name for argument in function.signature.input_arg]
        for scope, node in self.all_nodes():
            for name in called(node):
                self.users.setdefault(name, []).append((scope, node))

    def all_nodes(self) -> Iterator[tuple[str, Any]]:
        """Yield each node with the name of its scope. Nodes of the same name are all yielded."""
        graph = self.meta_graph.graph_def
        yield from ((MAIN, node) for node in graph.node)
        for function in graph.library.function:
            yield from ((function.signature.name, node) for node in function.node_def)

    def functions_below(self, names: set[str]) -> set[str]:
        """Return functions and all functions that they name, directly or through others."""
        seen: set[str] = set()
        waiting = [name for name in names if name in self.nodes]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                nodes = self.nodes[name].values()
                waiting += [n for node in nodes for n in called(node) if n in self.nodes]
        return seen

    def nodes_before(self, names: set[str]) -> set[str]:
        """Return nodes of the main graph and all nodes that they depend on."""
        seen: set[str] = set()
        waiting = [plain(name) for name in names]
        while waiting:
            name = waiting.pop()
            if name in self.nodes[MAIN] and name not in seen:
                seen.add(name)
                waiting += map(plain, self.nodes[MAIN][name].input)
        return seen

    def functions_of(self, names: set[str]) -> set[str]:
        """Return the functions that nodes of the main graph name, and all functions below them."""
        nodes = self.nodes[MAIN]
        return self.functions_below({f for name in names for f in called(nodes[name])})

    def sources(self, scope: str, tensor: str) -> set[Source]:
        """Return the sources of a string tensor, through calls, joins and selections.

        A tensor that comes from any other operation has a source of kind other.
        """
        found: set[Source] = set()
        seen: set[tuple[str, str]] = set()
        waiting = [(scope, tensor)]
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            waiting += self._step(*place, found)
        return found

    def _step(self, scope: str, tensor: str, found: set[Source]) -> list[tuple[str, str]]:
        name = plain(tensor)
        if scope != MAIN and name in self.arguments[scope] and ":" not in tensor:
            return self._passed_in(scope, self.arguments[scope].index(name), found)
        node = self.nodes[scope].get(name)
        if scope == MAIN and name == plain(self.meta_graph.saver_def.filename_tensor_name):
            found.add(Source("checkpoint"))
        elif scope == MAIN and name in self._asset_nodes():
            found.add(Source("asset"))
        elif node is None:
            found.add(Source("other", name))
        elif node.op == "Const":
            texts = node.attr["value"].tensor.string_val
            found.update(Source("text", each.decode("utf-8", "replace")) for each in texts)
        elif node.op == "ReadVariableOp" and scope == MAIN:
            return self._assigned(plain(node.input[0]), found)
        elif node.op in _PASSED:
            first, last = _PASSED[node.op]
            data = [each for each in node.input if not each.startswith("^")]
            return [(scope, each) for each in data[first:last]]
        else:
            found.add(Source("other", node.op))
        return []

    def _passed_in(self, function: str, index: int, found: set[Source]) -> list[tuple[str, str]]:
        """Return the tensors that callers pass as an argument, and add what Python passes."""
        callers = []
        for scope, node in self.users.get(function, ()):
            data = [each for each in node.input if not each.startswith("^")]
            if (node.op in CALLS or node.op == function) and index < len(data):
                callers.append((scope, data[index]))
            else:
                found.add(Source("other", node.op))
        objects = self.meta_graph.object_graph_def
        if function in objects.concrete_functions:
            bound = objects.concrete_functions[function].bound_inputs
            position = index - (len(self.arguments[function]) - len(bound))
            is_bound = 0 <= position < len(bound) and 0 <= bound[position] < len(objects.nodes)
            kind = objects.nodes[bound[position]].WhichOneof("kind") if is_bound else "argument"
            found.add(Source("asset") if kind == "asset" else Source("other", str(kind)))
        elif not callers:
            found.add(Source("other", "argument"))
        return callers

    def _assigned(self, variable: str, found: set[Source]) -> list[tuple[str, str]]:
        """Return the tensors that the main graph assigns to a variable, if nothing else can."""
        handle = self.nodes[MAIN].get(variable)
        if handle is None or handle.op != "VarHandleOp":
            found.add(Source("other", "variable"))
            return []
        values = []
        for scope, node in self.all_nodes():
            is_alias = (
                node.op == "VarHandleOp"
                and node.attr["shared_name"] == (handle.attr["shared_name"])
            )
            users = [plain(each) for each in node.input if not each.startswith("^")]
            if scope == MAIN and node.op == "AssignVariableOp" and users[:1] == [variable]:
                values.append((MAIN, node.input[1]))
            elif (is_alias and (scope, node.name) != (MAIN, variable)) or (
                scope == MAIN and variable in users and node.op not in _READS
            ):
                found.add(Source("other", node.op))
        return values

    def _asset_nodes(self) -> set[str]:
        return {plain(each.tensor_info.name) for each in self.meta_graph.asset_file_def}


def plain(tensor: str) -> str:
    """Return the name of the node of a tensor or of a control input."""
    return tensor.removeprefix("^").partition(":")[0]


def called(node: Any) -> Iterator[str]:
    """Yield each function that a node names: as its operation, or in an attribute."""
    yield node.op
    for value in node.attr.values():
        yield from _named(value)


def _named(value: Any) -> Iterator[str]:
    functions = [value.func] if value.HasField("func") else list(value.list.func)
    for function in functions:
        yield function.name
        for nested in function.attr.values():
            yield from _named(nested)


def tensors_of(node: Any) -> Iterator[Any]:
    """Yield each constant in the attributes of a node."""
    value: Mapping[str, Any] = node.attr
    for attribute in value.values():
        if attribute.HasField("tensor"):
            yield attribute.tensor
        yield from attribute.list.tensor
