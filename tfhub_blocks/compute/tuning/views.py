"""Augmented views: images with random crops, flips and colours, identical in each run.

A view depends only on the item's content and the view's number. So a view can be computed once and
kept, on any worker and in any batch.
"""

from collections.abc import Callable, Sequence
from math import log
from typing import Any

from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError

LEAST_AREA = 0.5
MOST_ASPECT = 4 / 3
COLOUR = 0.2
_DRAWS = 8


def describe(view: int) -> dict[str, Any]:
    """Return all settings of a view, ready for JSON."""
    colours = {"brightness": COLOUR, "contrast": COLOUR, "saturation": COLOUR}
    crop = {"least_area": LEAST_AREA, "most_aspect": MOST_ASPECT}
    return {"view": view, "version": 1, "crop": crop, "flip": "horizontal", "colour": colours}


def check_viewable(modality: Modality, where: str) -> None:
    """Check that items of a modality can be augmented.

    Raises:
        BlocksError: The modality is not images.
    """
    if not isinstance(modality, Images):
        problem = f"augmented views of {modality.name} items do not exist"
        remedy = "Set augment_views=0, and mixup above 0 to augment items of any modality"
        raise BlocksError(where, "augment_views", problem, "images", remedy)


def viewed(images: Images, view: int) -> Callable[[Sequence[bytes]], Any]:
    """Return a function from contents to a view of the prepared images.

    Crops are stretched to the full size and flipped as in Szegedy et al., Going Deeper with
    Convolutions, 2015. Brightness, contrast and saturation change as in Howard, Some Improvements
    on Deep Convolutional Neural Network Based Image Classification, 2013. Values stay in the
    encoder's range.

    Args:
        images: The modality, with the size and range of the images.
        view: The view's number, counted from 1.
    """
    low, high = images.range

    def changed(contents: Any, prepared: Any) -> Any:
        draws = _draws(contents, view)
        whole = (prepared - low) / (high - low)
        boxes = _boxes(*(draws[:, number] for number in range(5)))
        size_px, numbers = list(images.size_px), tf.range(tf.shape(contents)[0])
        cropped = tf.image.crop_and_resize(whole, boxes, numbers, size_px)
        return low + (high - low) * _coloured(cropped, draws[:, 5:])

    strings = tf.TensorSpec([None], tf.string)
    graph = traced(changed, input_signature=[strings, images.spec(None)])

    def call(contents: Sequence[bytes]) -> Any:
        prepared = tf.convert_to_tensor(images.prepare(contents))
        return graph(tf.constant(list(contents), tf.string), prepared)

    return call


def _draws(contents: Any, view: int) -> Any:
    """Return random numbers from 0 to below 1, [n, draws], that depend on content and view."""
    digests = tf.strings.to_hash_bucket_fast(contents, 2**62)
    seeds = tf.stack([digests, tf.fill(tf.shape(digests), tf.constant(view, tf.int64))], axis=1)

    def draw(seed: Any) -> Any:
        # Named, because the default algorithm differs between kinds of devices.
        return tf.random.stateless_uniform([_DRAWS], seed, alg="philox")

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec([_DRAWS], tf.float32))


def _boxes(area: Any, aspect: Any, down: Any, right: Any, flip: Any) -> Any:
    """Return crops, [n, (top, left, bottom, right)]; left and right are swapped for a flip."""
    share = LEAST_AREA + (1 - LEAST_AREA) * area
    ratio = tf.exp(log(MOST_ASPECT) * (2 * aspect - 1))
    height, width = (tf.minimum(1.0, tf.sqrt(side)) for side in (share / ratio, share * ratio))
    top, left = down * (1 - height), right * (1 - width)
    ends = left, left + width
    is_flipped = flip < 0.5
    first, last = tf.where(is_flipped, ends[1], ends[0]), tf.where(is_flipped, ends[0], ends[1])
    return tf.stack([top, first, top + height, last], axis=1)


def _coloured(images: Any, draws: Any) -> Any:
    """Return images from 0 to 1 with other saturation, contrast and brightness.

    ``draws`` are the random numbers, [n, 3].
    """
    factors = 1 + COLOUR * (2 * draws[:, tf.newaxis, tf.newaxis, :] - 1)
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    saturated = grey + factors[..., 0:1] * (images - grey)
    mean = tf.reduce_mean(saturated, axis=[1, 2, 3], keepdims=True)
    contrasted = mean + factors[..., 1:2] * (saturated - mean)
    return tf.clip_by_value(factors[..., 2:3] * contrasted, 0.0, 1.0)
