"""TensorFlow, imported once for all of ``compute``: quiet, and with threads set on purpose.

What is not part of its public interface comes through here as well, to be found in one place.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "convert_variables_to_constants_v2",
    "core_count",
    "function_pb2",
    "inlined_graph",
    "registered_operations",
    "saved_model_pb2",
    "tf",
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


# Errors and worse; the lines below that TensorFlow writes before it reads this are dropped.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with _silent_standard_error():
    import tensorflow as tf
    from tensorflow.core.framework import function_pb2, op_def_pb2
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.client import pywrap_tf_session
    from tensorflow.python.framework import convert_to_constants
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Looks for a GPU driver now, so that where there is none it complains now.
    tf.config.list_physical_devices()


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
