"""Fixed batches: calls of an encoder that takes exactly so many items at once."""

# decision 95

from collections.abc import Callable
from typing import Any

from tfhub_blocks.records.pins.pins import Pooling

# ``batch`` of an input: any number of items, or one item without a dimension for items.
ANY, UNBATCHED = 0, -1
# More batches than this are computed in a loop, which some engines cannot run.
MOST_UNROLLED = 64


def in_batches(call: Callable[[Any], Any], inputs: Any, batch: int) -> Any:
    """Return one vector for each row of inputs, from calls with ``batch`` rows each.

    The last row is repeated to fill the last batch.

    Args:
        call: Returns vectors, [batch, dimension]; for ``UNBATCHED`` one vector, [dimension].
        inputs: Any tensor with a row for each item.
        batch: The number of items in each call, ``ANY`` or ``UNBATCHED``.
    """
    from tfhub_blocks.compute.tf.tensorflow_setup import tf

    if batch == ANY:
        return call(inputs)
    size = max(batch, 1)

    def rows(group: Any) -> Any:
        if batch == UNBATCHED:
            return call(group[0])[None]
        return call(tf.ensure_shape(group, [size, *inputs.shape[1:]]))

    count = tf.shape(inputs)[0] if inputs.shape[0] is None else inputs.shape[0]
    missing = -count % size
    if size > 1:
        inputs = tf.concat([inputs, tf.repeat(inputs[-1:], missing, axis=0)], axis=0)
    if isinstance(count, int) and count <= MOST_UNROLLED * size:
        groups = [rows(inputs[start : start + size]) for start in range(0, count, size)]
        return tf.concat(groups, axis=0)[:count]
    groups = tf.reshape(inputs, [-1, size, *inputs.shape[1:]])
    vectors = tf.map_fn(rows, groups, fn_output_signature=tf.float32, parallel_iterations=1)
    return tf.reshape(vectors, [-1, vectors.shape[-1]])[:count]


def one_vector(given: Any, pooling: Pooling) -> Any:
    """Return the vector of the only item of a call without a dimension for items."""
    from tfhub_blocks.compute.modalities.pooling import pooled
    from tfhub_blocks.compute.tf.tensorflow_setup import tf

    if pooling != "none":
        return pooled(given[None], pooling)[0]
    is_vector = given.shape.num_elements() == given.shape[-1]
    return tf.reshape(given, [given.shape[-1]]) if is_vector else given
