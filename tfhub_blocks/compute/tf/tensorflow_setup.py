"""TensorFlow, imported once for all of ``compute``: quiet, and with threads set on purpose.

What is not part of its public interface comes through here as well, to be found in one place.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "core_count",
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
    """Drops what native code writes; an exception still comes through."""
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
    """Keeps TensorFlow from importing Keras, which is two fifths of what importing it takes.

    It does so for optimizers that register as parts of SavedModels; those of Keras 3 do not. Keras
    is still there for who asks for it, ``tf.keras`` included.
    """
    name = "keras.src.optimizers"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # which importing it takes as: not there
    try:
        yield
    finally:
        del sys.modules[name]


# Errors and worse; the lines below that TensorFlow writes before it reads this are dropped.
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

    # Looks for a GPU driver now, so that where there is none it complains now.
    tf.config.list_physical_devices()


def traced(function: Any, **options: Any) -> Any:
    """``tf.function`` of one of ours, none of which has Python's own branches on tensors.

    So AutoGraph has nothing to rewrite, and to find that out takes it a tenth of a second each.
    """
    return tf.function(function, autograph=False, **options)


def registered_operations() -> frozenset[str]:
    """The operations that this process has, those of imported packages included."""
    buffer = pywrap_tf_session.TF_GetAllOpList()
    operations = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))
    pywrap_tf_session.TF_DeleteBuffer(buffer)
    return frozenset(operation.name for operation in operations.op)


def inlined_graph(function: Any) -> Any:
    """The GraphDef of a concrete function with every call in it replaced by what is called.

    The function that does it is private to TensorFlow; ``tests/compute/test_cuts.py`` says so if
    it goes away.
    """
    logger = logging.getLogger("tensorflow")
    level = logger.level
    # It warns of tables elsewhere in the process, which do not matter here.
    logger.setLevel(logging.ERROR)
    try:
        return convert_to_constants._run_inline_graph_optimization(function, False, True)
    finally:
        logger.setLevel(level)


# A graph with constants in it must stay below protobuf's 2 GiB.
MAX_FROZEN_BYTES = 1.5 * 2**30


def is_freezable(function: Any) -> bool:
    """Whether the variables of a concrete function can become constants; a table cannot."""
    size_bytes = sum(v.dtype.size * v.shape.num_elements() for v in function.variables)
    has_tables = len(function.captured_inputs) > len(function.variables)
    return size_bytes <= MAX_FROZEN_BYTES and not has_tables


def rewritten(function: Any, rewriter: str) -> Any:
    """A frozen concrete function after one of Grappler's rewriters, such as mixed precision.

    TensorFlow has a switch for it, which counts for the whole process and so for the reference.
    """
    graph = function.graph
    meta_graph = export_meta_graph(graph_def=graph.as_graph_def(), graph=graph)
    kept = meta_graph_pb2.CollectionDef()
    names = [tensor.name for tensor in (*function.inputs, *function.outputs)]
    kept.node_list.value.extend(names)
    meta_graph.collection_def["train_op"].CopyFrom(kept)  # what it must not prune
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
    """Whether TensorFlow computes on a GPU here."""
    return bool(tf.config.list_logical_devices("GPU"))


def core_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def use_one_thread_per_operation() -> None:
    """Keep each operation on one core, for work that fills the cores by itself.

    Raises:
        RuntimeError: TensorFlow has computed something in this process before.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)


def use_threads(count: int) -> None:
    """Set how many threads share an operation, and how many operations run at once.

    A sum's rounding depends on how it is shared out, so what is computed depends on the first.

    Raises:
        RuntimeError: TensorFlow has computed something in this process before.
    """
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
