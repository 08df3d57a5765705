"""TensorFlow, imported once for all of ``compute``: without log output, and with chosen threads.

All uses of TensorFlow's private interface are in this module too, so that they are easy to find.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "checkpoint_shapes",
    "frozen",
    "function_pb2",
    "has_gpu",
    "inlined_graph",
    "is_freezable",
    "registered_operations",
    "rewritten",
    "saved_model_pb2",
    "tf",
    "traced",
    "use_one_thread_per_operation",
    "use_threads",
]


@contextmanager
def _silent_standard_error() -> Iterator[None]:
    """Discard the output of native code. Exceptions still propagate."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


@contextmanager
def _without_optimizers_of_keras() -> Iterator[None]:
    """Keep TensorFlow from importing Keras, which takes two fifths of TensorFlow's import time.

    TensorFlow imports Keras for optimizers that register as parts of SavedModels; those of Keras 3
    do not. Keras, including ``tf.keras``, can still be imported later.
    """
    name = "keras.src.optimizers"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # import then fails as if it were absent
    try:
        yield
    finally:
        del sys.modules[name]


# Log errors only. Lines that TensorFlow writes before it reads this variable are discarded below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with _silent_standard_error(), _without_optimizers_of_keras():
    import tensorflow as tf
    from tensorflow.core.framework import function_pb2, op_def_pb2
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2
    from tensorflow.python.client import pywrap_tf_session
    from tensorflow.python.framework import convert_to_constants
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2 as frozen,
    )
    from tensorflow.python.grappler import tf_optimizer
    from tensorflow.python.training.saver import export_meta_graph

    # Looks for a GPU driver now, so that the warning for a missing driver is discarded too.
    tf.config.list_physical_devices()


def traced(function: Any, **options: Any) -> Any:
    """Return ``tf.function`` of a function without Python branches on tensors.

    AutoGraph is off: it would have nothing to rewrite, and needs a tenth of a second to find out.
    """
    return tf.function(function, autograph=False, **options)


def registered_operations() -> frozenset[str]:
    """Return the operations of this process, including those of imported packages."""
    buffer = pywrap_tf_session.TF_GetAllOpList()
    operations = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))
    pywrap_tf_session.TF_DeleteBuffer(buffer)
    return frozenset(operation.name for operation in operations.op)


def checkpoint_shapes(folder: Path) -> Iterator[tuple[Any, list[int]]]:
    """Yield the dtype and the shape of each variable in a SavedModel's folder ``variables``.

    Only the index is read.
    """
    reader = tf.train.load_checkpoint(str(folder / "variables"))
    types = reader.get_variable_to_dtype_map()
    for name, sides in reader.get_variable_to_shape_map().items():
        yield types[name], list(sides)


def inlined_graph(function: Any) -> Any:
    """Return the GraphDef of a concrete function with every call replaced by the called body.

    The function that does this is private to TensorFlow; ``tests/compute/tf/test_flat_graph.py``
    fails if TensorFlow removes it.
    """
    logger = logging.getLogger("tensorflow")
    level = logger.level
    # TensorFlow warns about tables elsewhere in the process, which do not matter for this graph.
    logger.setLevel(logging.ERROR)
    try:
        return convert_to_constants._run_inline_graph_optimization(function, False, True)
    finally:
        logger.setLevel(level)


# A graph with constants in it must stay below protobuf's 2 GiB.
MAX_FROZEN_BYTES = 1.5 * 2**30


def is_freezable(function: Any) -> bool:
    """Return True if the variables of a concrete function can become constants; tables cannot."""
    size_bytes = sum(v.dtype.size * v.shape.num_elements() for v in function.variables)
    has_tables = len(function.captured_inputs) > len(function.variables)
    return size_bytes <= MAX_FROZEN_BYTES and not has_tables


def rewritten(function: Any, rewriter: str) -> Any:
    """Return a frozen concrete function rewritten by Grappler, for example for mixed precision.

    TensorFlow's own switch applies to the complete process, and so to the reference as well.
    """
    graph = function.graph
    meta_graph = export_meta_graph(graph_def=graph.as_graph_def(), graph=graph)
    kept = meta_graph_pb2.CollectionDef()
    names = [tensor.name for tensor in (*function.inputs, *function.outputs)]
    kept.node_list.value.extend(names)
    meta_graph.collection_def["train_op"].CopyFrom(kept)  # protects these nodes from pruning
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.min_graph_nodes = -1
    options.optimizers.append(rewriter)
    graph_def = tf_optimizer.OptimizeGraph(config, meta_graph)
    imported = tf.compat.v1.wrap_function(
        lambda: tf.graph_util.import_graph_def(graph_def, name=""), []
    )
    inputs, outputs = (
        [imported.graph.as_graph_element(tensor.name) for tensor in tensors]
        for tensors in (function.inputs, function.outputs)
    )
    return imported.prune(inputs, outputs)


def has_gpu() -> bool:
    """Return True if TensorFlow computes on a GPU in this process."""
    return bool(tf.config.list_logical_devices("GPU"))


def use_one_thread_per_operation() -> None:
    """Limit each operation to one core, for work that occupies the cores by itself.

    Raises:
        RuntimeError: TensorFlow has computed something in this process before.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)


def use_threads(count: int) -> None:
    """Set the number of threads that share an operation, and of operations that run at once.

    The rounding of a sum depends on the number of threads that share it, so results do too.

    Raises:
        RuntimeError: TensorFlow has computed something in this process before.
    """
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
