"""Cuts of graphs whose shape is known."""

import numpy as np
import pytest

from tfhub_blocks.compute.tf.flat_graph import trainable_order
from tfhub_blocks.compute.tf.tensorflow_setup import inlined_graph, tf

INPUT = tf.TensorSpec([None, 4], tf.float32)


class Chain(tf.Module):
    """Products by a, b and d in a row; b's with a residual connection around it and c inside."""

    def __init__(self) -> None:
        super().__init__()
        self.d, self.c, self.b, self.a, self.unused = (
            tf.Variable(np.eye(4, dtype=np.float32), name=name)
            for name in ("d", "c", "b", "a", "u")
        )

    @tf.function
    def block(self, x):
        return x + tf.nn.relu(x @ self.b) @ self.c

    @tf.function(input_signature=[INPUT])
    def __call__(self, x):
        return self.block(tf.nn.relu(x @ self.a)) @ self.d


def names_and_cuts(call, variables) -> tuple[list[str], list[int]]:
    function = tf.function(call).get_concrete_function(INPUT)
    ordered, cuts = trainable_order(function, variables)
    return [variable.name.removesuffix(":0") for variable in ordered], cuts


def test_the_inliner_that_is_private_to_tensorflow_is_still_there() -> None:
    """If this fails, ``runtime.inlined_graph`` needs another way to flatten a function."""
    module = Chain()
    graph = inlined_graph(module.__call__.get_concrete_function())

    assert not any("Call" in node.op for node in graph.node)
    assert sum(node.op == "MatMul" for node in graph.node) == 4


def test_variables_come_in_the_order_of_the_graph_with_cuts_around_a_residual_block() -> None:
    module = Chain()
    variables = [module.d, module.c, module.b, module.a, module.unused]

    assert names_and_cuts(module, variables) == (["a", "b", "c", "d"], [1, 3])


def test_a_variable_used_twice_allows_no_cut_between_its_uses() -> None:
    module = Chain()

    def call(x):
        return ((x @ module.a) @ module.b) @ module.a @ module.c

    assert names_and_cuts(call, [module.a, module.b, module.c]) == (["a", "b", "c"], [2])


def test_parallel_ways_have_no_cut() -> None:
    module = Chain()

    def call(x):
        return (x @ module.a) + (x @ module.b)

    names, cuts = names_and_cuts(call, [module.a, module.b])
    assert (sorted(names), cuts) == (["a", "b"], [])


def test_two_outputs_of_one_operation_are_two_tensors() -> None:
    module = Chain()

    def call(x):
        left, right = tf.split(x @ module.a, 2, axis=1)
        return tf.concat([right, left], axis=1) @ module.b

    names, cuts = names_and_cuts(call, [module.a, module.b])
    assert (names, cuts) == (["a", "b"], [1])


@pytest.mark.parametrize("kind", ["gather", "loop"])
def test_variables_that_enter_by_other_operations_are_found(kind: str) -> None:
    module = Chain()

    def call(x):
        if kind == "gather":
            x = x @ module.a
            return x + tf.gather(module.b, tf.cast(x[:, 0], tf.int32))
        return tf.map_fn(lambda row: row * module.b[0], x @ module.a)

    assert names_and_cuts(call, [module.a, module.b]) == (["a", "b"], [1])
