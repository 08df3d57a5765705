"""Augmented views: images as they might have been taken, the same ones in each run.

A view of an item depends on its content and the view's number alone, so it may be computed once and
kept, on any worker and in any batch.
"""

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
    """All that decides a view besides what is viewed, JSON-ready."""
    colours = {"brightness": COLOUR, "contrast": COLOUR, "saturation": COLOUR}
    crop = {"least_area": LEAST_AREA, "most_aspect": MOST_ASPECT}
    return {"view": view, "version": 1, "crop": crop, "flip": "horizontal", "colour": colours}


def check_viewable(modality: Modality, where: str) -> None:
    """Check that there are views of items of a modality.

    Raises:
        BlocksError: There are none.
    """
    if not isinstance(modality, Images):
        problem = f"items are {modality.name}"
        remedy = "set augment_views=0; mixup blends items of any kind"
        raise BlocksError(where, "augment_views", problem, "images", remedy)


def viewed(preprocess: Any, images: Images, view: int) -> Any:
    """A function of decoded contents that gives a view of what preprocessing gives.

    Crop, stretched to the whole, and flip as Szegedy et al., Going Deeper with Convolutions, 2015;
    brightness, contrast and saturation as Howard, Some Improvements on Deep Convolutional Neural
    Network Based Image Classification, 2013. Values stay in the encoder's range.

    Args:
        preprocess: The concrete function of ``images.preprocess``: string [n] to float32
            [n, height, width, 3].
        images: What it prepares.
        view: The view's number, counted from 1.
    """
    low, high = images.range

    def call(contents: Any) -> Any:
        draws = _draws(contents, view)
        whole = (preprocess(contents) - low) / (high - low)
        boxes = _boxes(*(draws[:, number] for number in range(5)))
        size_px, numbers = list(images.size_px), tf.range(tf.shape(contents)[0])
        cropped = tf.image.crop_and_resize(whole, boxes, numbers, size_px)
        return low + (high - low) * _coloured(cropped, draws[:, 5:])

    return traced(call).get_concrete_function(preprocess.inputs[0])


def _draws(contents: Any, view: int) -> Any:
    """Numbers from 0 to below 1, [n, draws], by content and view."""
    digests = tf.strings.to_hash_bucket_fast(contents, 2**62)
    seeds = tf.stack([digests, tf.fill(tf.shape(digests), tf.constant(view, tf.int64))], axis=1)

    def draw(seed: Any) -> Any:
        # Named, for the usual one differs between kinds of devices.
        return tf.random.stateless_uniform([_DRAWS], seed, alg="philox")

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec([_DRAWS], tf.float32))


def _boxes(area: Any, aspect: Any, down: Any, right: Any, flip: Any) -> Any:
    """Parts of images, as [n, (top, left, bottom, right)]; left and right change places to flip."""
    share = LEAST_AREA + (1 - LEAST_AREA) * area
    ratio = tf.exp(log(MOST_ASPECT) * (2 * aspect - 1))
    height, width = (tf.minimum(1.0, tf.sqrt(side)) for side in (share / ratio, share * ratio))
    top, left = down * (1 - height), right * (1 - width)
    ends = left, left + width
    is_flipped = flip < 0.5
    first, last = tf.where(is_flipped, ends[1], ends[0]), tf.where(is_flipped, ends[0], ends[1])
    return tf.stack([top, first, top + height, last], axis=1)


def _coloured(images: Any, draws: Any) -> Any:
    """Images within 0 and 1 with other saturation, contrast and brightness: draws [n, 3]."""
    factors = 1 + COLOUR * (2 * draws[:, tf.newaxis, tf.newaxis, :] - 1)
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    saturated = grey + factors[..., 0:1] * (images - grey)
    mean = tf.reduce_mean(saturated, axis=[1, 2, 3], keepdims=True)
    contrasted = mean + factors[..., 1:2] * (saturated - mean)
    return tf.clip_by_value(factors[..., 2:3] * contrasted, 0.0, 1.0)
