"""The gradient of depthwise convolutions by kernels that oneDNN is fast with."""

from typing import Any

from tfhub_blocks.compute.runtime import has_gpu, tf

OPERATION = "DepthwiseConv2dNative"
GRADIENT = "TfhubBlocksDepthwiseConv2d"
# Its kernel for the gradient of wider filters is that of grouped convolutions, which pads each
# group's one channel to sixteen (`ONEDNN_VERBOSE=1`: `jit:` in place of `jit_dw:`).
MOST_COLUMNS = 3


@tf.RegisterGradient(GRADIENT)  # type: ignore[untyped-decorator]
def _gradients(operation: Any, given: Any) -> list[Any]:
    """The gradients by input and filter: the numbers of TensorFlow's own, to rounding."""
    images, filters = operation.inputs
    attributes = {
        name: operation.get_attr(name)
        for name in ("strides", "padding", "explicit_paddings", "data_format", "dilations")
    }
    by_input = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(images), filter=filters, out_backprop=given, **attributes
    )
    if _is_split(images.shape, filters.shape, attributes):
        return [by_input, _by_columns(images, filters.shape.as_list(), given, attributes)]
    by_filter = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=images, filter_sizes=filters.shape, out_backprop=given, **attributes
    )
    return [by_input, by_filter]


def _is_split(images: Any, filters: Any, attributes: dict[str, Any]) -> bool:
    return (
        not has_gpu()
        and filters[1] > MOST_COLUMNS
        and images[1:3].is_fully_defined()
        and attributes["data_format"] == b"NHWC"
        and set(attributes["dilations"]) == {1}
    )


def _by_columns(images: Any, filters: list[int], given: Any, attributes: dict[str, Any]) -> Any:
    """The gradient by the filter, a few of its columns at a time.

    Columns see a part of the image that begins where they do, as a whole filter of their width.
    """
    stride = attributes["strides"][2]
    rows, columns = (_padding(images.shape[d], filters[d - 1], attributes, d) for d in (1, 2))
    reach = (given.shape[2] - 1) * stride
    parts = []
    for start in range(0, filters[1], MOST_COLUMNS):
        width = min(MOST_COLUMNS, filters[1] - start)
        low = start - columns[0]
        high = low + reach + width
        seen = images[:, :, max(low, 0) : min(high, images.shape[2])]
        around = (max(-low, 0), max(high - images.shape[2], 0))
        parts.append(
            tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=tf.pad(seen, [(0, 0), rows, around, (0, 0)]),
                filter_sizes=[filters[0], width, *filters[2:]],
                out_backprop=given,
                strides=attributes["strides"],
                padding="VALID",
            )
        )
    return tf.concat(parts, axis=1)


def _padding(size: int, width: int, attributes: dict[str, Any], dimension: int) -> tuple[int, int]:
    """How many zeros TensorFlow puts before and after a dimension."""
    if attributes["padding"] == b"VALID":
        return 0, 0
    if attributes["padding"] == b"EXPLICIT":
        before, after = attributes["explicit_paddings"][2 * dimension : 2 * dimension + 2]
        return before, after
    stride = attributes["strides"][dimension]
    needed = max((-(-size // stride) - 1) * stride + width - size, 0)
    return needed // 2, needed - needed // 2
