"""The features inside a model: what its encoder returns, next to the probabilities of its head."""

# decision 92

from typing import Any

from tfhub_blocks.compute.tf.tensorflow_setup import inlined_graph, tf, traced
from tfhub_blocks.records.base.errors import BlocksError

# The operations of a linear head after its product of features and weights.
_AFTER_THE_PRODUCT = frozenset({"Identity", "Softmax", "RealDiv", "Mul", "Add", "AddV2", "BiasAdd"})


def with_features(classify: Any, spec: Any, where: str) -> Any:
    """Return a function that computes the features and the probabilities in one forward pass.

    The features are the first factor of the product from which the probabilities follow, so any
    model of ``write_model`` has them, whichever version wrote it.

    Args:
        classify: The concrete function from the encoder's input to probabilities.
        spec: The specification of the input, as ``classify`` takes it.
        where: The calling step, for messages.

    Returns:
        A concrete function whose result is [n, dimension + classes]: the features, then the
        probabilities.

    Raises:
        BlocksError: The probabilities do not follow from a product of features and weights.
    """
    definition = inlined_graph(classify)
    output = classify.outputs[0].name
    features = _first_factor(definition, output)
    if features is None:
        raise BlocksError(
            where,
            "keep_features",
            "the model does not end in a linear head, so its features cannot be kept",
            "a model of train_head or fine_tune",
            "Set keep_features=false, or pass such a model",
        )
    count = len(classify.inputs) - len(classify.captured_inputs)
    given_names = [tensor.op.name for tensor in classify.inputs[:count]]
    captured = {
        placeholder.op.name: tensor
        for tensor, placeholder in zip(
            classify.captured_inputs, classify.inputs[count:], strict=True
        )
    }
    variables = classify.variables

    def call(given: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        mapped = dict(zip(given_names, tf.nest.flatten(given), strict=True))
        mapped |= {name: graph.capture(tensor) for name, tensor in captured.items()}
        # Imported operations do not register the variables that they read with the graph.
        for variable in variables:
            graph.watch_variable(variable)
        both = tf.graph_util.import_graph_def(definition, mapped, [features, output], name="")
        return tf.concat([tf.cast(tensor, tf.float32) for tensor in both], axis=-1)

    function = traced(call).get_concrete_function(spec)
    function.held_variables = variables  # a function refers to its variables weakly
    return function


def _first_factor(definition: Any, output: str) -> str | None:
    """Return the tensor of features, NAME:INDEX, or None if there is no such product."""
    nodes = {node.name: node for node in definition.node}
    name = output.partition(":")[0]
    while name in nodes:
        node = nodes[name]
        if node.op == "MatMul":
            tensor = str(node.input[0])
            return tensor if ":" in tensor else f"{tensor}:0"
        if node.op not in _AFTER_THE_PRODUCT:
            return None
        name = node.input[0].partition(":")[0]
    return None
