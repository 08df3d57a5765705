"""The floating-point operations of each operation of a graph, from static shapes."""

from collections.abc import Iterable
from math import prod
from typing import Any


def flops_of(operation: Any) -> int | None:
    """Return the floating-point operations of an operation of a ``tf.Graph``.

    The value is None if a shape is unknown. A product and its addition count as two. Convolutions
    and matrix products are counted by their definition, any other operation as one for each number
    in its first output.
    """
    inputs = [_sides(tensor) for tensor in operation.inputs]
    # Further outputs are by-products, such as the statistics of a normalisation.
    first = [_sides(tensor) for tensor in operation.outputs[:1]]
    if None in first:
        return None
    given = sum(prod(sides) for sides in first if sides is not None)
    kind = operation.type
    if kind in ("Conv2D", "Conv3D"):
        return None if inputs[1] is None else 2 * given * prod(inputs[1][:-1])
    if kind == "DepthwiseConv2dNative":
        return None if inputs[1] is None else 2 * given * prod(inputs[1][:2])
    if kind in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
        flag = "transpose_a" if kind == "MatMul" else "adj_x"
        shared = -2 if operation.get_attr(flag) else -1
        return None if inputs[0] is None else 2 * given * inputs[0][shared]
    if kind == "Einsum":
        return _einsum(operation.get_attr("equation").decode(), inputs)
    return given


def _einsum(equation: str, inputs: Iterable[tuple[int, ...] | None]) -> int | None:
    sides: dict[str, int] = {}
    for letters, shape in zip(equation.partition("->")[0].split(","), inputs, strict=True):
        if shape is None or "..." in letters:
            return None
        sides |= dict(zip(letters, shape, strict=True))
    return 2 * prod(sides.values())


def _sides(tensor: Any) -> tuple[int, ...] | None:
    return tuple(tensor.shape.as_list()) if tensor.shape.is_fully_defined() else None
