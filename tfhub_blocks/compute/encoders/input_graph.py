"""What an encoder's graph shows: the scaling of its pixels at the start, and classes at its end."""

# decision 97

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.tf.flat_graph import data_inputs
from tfhub_blocks.compute.tf.tensorflow_setup import inlined_graph, tf

Array = NDArray[np.float64]
# Operations that hand on pixels with their values.
_UNCHANGED = frozenset(
    {"Identity", "Cast", "StopGradient", "Transpose", "ResizeBilinear", "ResizeNearestNeighbor"}
    | {"ResizeBicubic", "Reshape", "PreventGradient", "CheckNumerics", "EnsureShape", "Bitcast"}
)
_REVERSING = frozenset({"ReverseV2", "StridedSlice", "GatherV2"})
_ENDS = frozenset({"Identity", "Cast", "Reshape", "Squeeze"})
_SLICES = frozenset({"StridedSlice", "Slice"})
# The values that the first real layers of networks get, as (lowest, highest).
_USUAL = ((0, 1), (-1, 1), (-0.5, 0.5), (0, 255), (-128, 127), (-2.1, 2.6), (-123, 131))
RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_MOST_APART = 0.3
# The numbers of classes of the data sets on which published classifiers were trained.
CLASS_COUNTS = frozenset({10, 90, 100, 365, 521, 527, 1000, 1001, 10450, 18291, 21841, 21843})
_SCORE_NAMES = ("logits", "predictions", "classification", "probabilities", "scores", "classifier")


@dataclass(frozen=True, eq=False)
class EncoderGraph:
    """The graph of an encoder's call, with every call inlined.

    ``function`` is the concrete function of the call, and ``output`` its feature tensor.
    """

    function: Any
    output: Any

    @cached_property
    def definition(self) -> Any:
        """The inlined GraphDef."""
        return inlined_graph(self.function)

    @cached_property
    def nodes(self) -> Mapping[str, Any]:
        """The nodes by name."""
        return {node.name: node for node in self.definition.node}

    @cached_property
    def operations(self) -> frozenset[str]:
        """The operations of the graph and of the functions that remain in it."""
        inner = self.definition.library.function
        nodes = [*self.definition.node, *(node for each in inner for node in each.node_def)]
        return frozenset(node.op for node in nodes)

    @cached_property
    def _captured(self) -> Mapping[str, Any]:
        function = self.function
        count = len(function.inputs) - len(function.captured_inputs)
        variables = {id(variable.handle): variable for variable in function.graph.variables}
        pairs = zip(function.inputs[count:], function.captured_inputs, strict=True)
        return {inner.op.name: variables.get(id(outer), outer) for inner, outer in pairs}

    def stated_range(self) -> tuple[tuple[float, float], str] | None:
        """Return the range of pixels that the first operations expect, with the reason, or None."""
        scale, offset, names = self._scaling()
        if not names:
            return None
        found = []
        for low, high in RANGES:
            ends = float(np.mean(scale * low + offset)), float(np.mean(scale * high + offset))
            found += [
                ((abs(ends[0] - least) + abs(ends[1] - most)) / (most - least), (low, high))
                for least, most in _USUAL
            ]
        apart, chosen = min(found)
        if apart > _MOST_APART:
            return None
        return chosen, f"its first operations ({', '.join(names[:3])}) scale such pixels"

    def _scaling(self) -> tuple[Array, Array, list[str]]:
        """Return the factor and the offset by which the first operations scale, and their names."""
        consumers: dict[str, list[Any]] = {}
        for node in self.definition.node:
            for source in data_inputs(node):
                consumers.setdefault(source.partition(":")[0], []).append(node)
        scale, offset = np.ones(1), np.zeros(1)
        names: list[str] = []
        current = self.function.inputs[0].op.name
        for _ in range(len(self.nodes)):
            after = [node for node in consumers.get(current, ()) if node.op != "Shape"]
            if len(after) != 1:
                break
            (node,) = after
            inputs = [source.partition(":")[0] for source in data_inputs(node)]
            if node.op in _REVERSING | _UNCHANGED and inputs[0] == current:
                if node.op in _REVERSING and scale.size > 1:
                    scale, offset = scale[::-1], offset[::-1]
            else:
                changed = self._scaled(node, inputs, current, scale, offset)
                if changed is None:
                    break
                scale, offset = changed
                names.append(_short(node.name))
            current = node.name
        return scale, offset, names

    def _scaled(
        self, node: Any, inputs: list[str], current: str, scale: Array, offset: Array
    ) -> tuple[Array, Array] | None:
        if node.op not in ("Mul", "RealDiv", "Sub", "Add", "AddV2", "BiasAdd") or len(inputs) != 2:
            return None
        is_first = inputs[0] == current
        number = self._number(inputs[1] if is_first else inputs[0])
        if number is None or number.size not in (1, 3):
            return None
        number = number.reshape(-1)
        if node.op == "Mul":
            return scale * number, offset * number
        if node.op == "RealDiv":
            return (scale / number, offset / number) if is_first and number.all() else None
        if node.op == "Sub":
            return (scale, offset - number) if is_first else (-scale, number - offset)
        return scale, offset + number

    def _number(self, name: str, depth: int = 0) -> Array | None:
        """Return the value of a node that does not depend on the input, or None."""
        node = self.nodes.get(name)
        if node is None or depth > 8:
            return None
        if node.op == "Const":
            value = tf.make_ndarray(node.attr["value"].tensor)
            return value.astype(np.float64) if value.dtype.kind in "fiu" else None
        if name in self._captured:
            value = self._captured[name]
            if hasattr(value, "read_value"):
                return np.asarray(value.read_value(), np.float64)
            is_number = hasattr(value, "numpy") and value.dtype.is_floating
            return np.asarray(value.numpy(), np.float64) if is_number else None
        parts = [self._number(source.partition(":")[0], depth + 1) for source in data_inputs(node)]
        if not parts or parts[0] is None:
            return None
        if node.op in ("Identity", "ReadVariableOp", "Cast", "Reshape", "ExpandDims"):
            return parts[0]
        unary = {"Sqrt": np.sqrt, "Neg": np.negative, "Reciprocal": np.reciprocal}
        if node.op in unary:
            return np.asarray(unary[node.op](parts[0]))
        if node.op == "Rsqrt":
            return 1 / np.sqrt(parts[0])
        binary = {
            "Maximum": np.maximum,
            "Mul": np.multiply,
            "AddV2": np.add,
            "Sub": np.subtract,
            "RealDiv": np.divide,
        }
        if node.op in binary and len(parts) == 2 and parts[1] is not None:
            return np.asarray(binary[node.op](parts[0], parts[1]))
        return None

    def classes(self, features: NDArray[np.floating], key: str | None) -> str | None:
        """Return a sentence if the features are a classifier's answer, else None.

        Args:
            features: The features of a few items, [items, dimension].
            key: The name of the output.
        """
        last, product, is_sliced = self._end()
        count = features.shape[1]
        sums_to_one = count > 1 and bool(
            (features >= 0).all() and np.allclose(features.sum(axis=1), 1, atol=1e-3)
        )
        ends_in = self.nodes[last].op if last in self.nodes else ""
        # Features of random layers can have these numbers too; a name or the end must agree.
        names = " ".join([last, product or "", key or ""]).lower()
        is_named = any(name in names for name in _SCORE_NAMES)
        is_linear = product is not None and ends_in in ("BiasAdd", "Add", "AddV2", "MatMul")
        if sums_to_one or ends_in == "Softmax":
            kind = f"probabilities of {count} classes, which sum to 1"
        elif ends_in == "Sigmoid" and product is not None:
            kind = f"probabilities of {count} classes"
        elif is_linear and (is_named or (count in CLASS_COUNTS and count > 100)):
            kind = f"scores of {count} classes"
        else:
            return None
        below = self._below(product, is_sliced)
        better = f"; the layer below, {below}, would be better features" if below else ""
        return f"its output looks like the answer of a classifier: {kind}{better}"

    def _end(self) -> tuple[str, str | None, bool]:
        """Return the node that computes the output, and the last product before it, if near.

        The third value is True if only a part of the product is used.
        """
        name = self._of_output()
        while name in self.nodes and self.nodes[name].op in _ENDS:
            name = _first(self.nodes[name])
        last, product, is_sliced = name, name, False
        passed = (*_ENDS, *_SLICES, "Softmax", "Sigmoid", "BiasAdd", "Add", "AddV2", "RealDiv")
        while product in self.nodes:
            node = self.nodes[product]
            if node.op in ("MatMul", "Conv2D"):
                return last, product, is_sliced
            if node.op not in passed:
                break
            is_sliced |= node.op in _SLICES
            product = _first(node)
        return last, None, False

    def _of_output(self) -> str:
        """Return the node of the output; inlining keeps the name of the function's output."""
        name = str(self.output.name).partition(":")[0]
        return name if name in self.nodes else self.definition.node[-1].name

    def _below(self, product: str | None, is_sliced: bool) -> str | None:
        if product is None:
            return None
        name = product
        while not is_sliced and (name == product or self._is_end(name)):
            name = _first(self.nodes[name])
        node = self.nodes.get(name)
        if node is None or node.op in ("Placeholder", "Const"):
            return None
        kernel = self._number(data_inputs(self.nodes[product])[1].partition(":")[0])
        side = -1 if is_sliced else -2
        count = f" ({kernel.shape[side]} features)" if kernel is not None else ""
        return f"{_short(name)}{count}"

    def _is_end(self, name: str) -> bool:
        return name in self.nodes and self.nodes[name].op in _ENDS


def _first(node: Any) -> str:
    inputs = data_inputs(node)
    return inputs[0].partition(":")[0] if inputs else ""


def _short(name: str) -> str:
    parts: Sequence[str] = [
        part for part in name.split("/") if not part.startswith("StatefulPartitionedCall")
    ]
    return "/".join(parts[-2:]) or name
