"""The gradient of depthwise convolutions, by the fast kernels of oneDNN."""

# decision 46

from typing import Any

from tfhub_blocks.compute.tf.tensorflow_setup import has_gpu, tf

OPERATION = "DepthwiseConv2dNative"
GRADIENT = "TfhubBlocksDepthwiseConv2d"
# For wider filters oneDNN computes the gradient by its kernel for grouped convolutions, which pads
# the single channel of each group to sixteen (`ONEDNN_VERBOSE=1`: `jit:` instead of `jit_dw:`).
MOST_COLUMNS = 3


@tf.RegisterGradient(GRADIENT)  # type: ignore[untyped-decorator]
def _gradients(operation: Any, given: Any) -> list[Any]:
    """Return the gradients by input and filter, equal to those of TensorFlow up to rounding."""
    images, filters = operation.inputs
    attributes = {
        name: operation.get_attr(name)
        for name in ("strides", "padding", "explicit_paddings", "data_format", "dilations")
    }
    by_input = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(images), filter=filters, out_backprop=given, **attributes
    )
    if _is_split(images.shape, filters.shape, attributes):
        return [by_input, _by_columns(images, filters.shape.as_list(), given)]
    by_filter = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=images, filter_sizes=filters.shape, out_backprop=given, **attributes
    )
    return [by_input, by_filter]


def _is_split(images: Any, filters: Any, attributes: dict[str, Any]) -> bool:
    """Return True if outputs are centred on their inputs, with neither stride nor dilation."""
    columns = filters[1]
    return (
        not has_gpu()
        and columns > MOST_COLUMNS
        and columns % 2 == 1
        and images[2] is not None
        and images[2] > columns // 2
        and attributes["padding"] == b"SAME"
        and attributes["data_format"] == b"NHWC"
        and set(attributes["strides"]) == set(attributes["dilations"]) == {1}
    )


def _by_columns(images: Any, filters: list[int], given: Any) -> Any:
    """Return the gradient by the filter: middle columns in one call, each other column alone.

    A column at a distance from the middle gets the image shifted by this distance.
    """

    def of(seen: Any, given: Any, columns: int) -> Any:
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=seen,
            filter_sizes=[filters[0], columns, *filters[2:]],
            out_backprop=given,
            strides=[1, 1, 1, 1],
            padding="SAME",
        )

    far = range(2, filters[1] // 2 + 1)
    left = [of(images[:, :, :-shift], given[:, :, shift:], 1) for shift in reversed(far)]
    right = [of(images[:, :, shift:], given[:, :, :-shift], 1) for shift in far]
    return tf.concat([*left, of(images, given, MOST_COLUMNS), *right], axis=1)
