"""Milliseconds of preparing a picture: by TensorFlow, as earlier versions did, and by ``pictures``.

Photograph-like JPEGs of three sizes and PNGs of 224 and 500 px are brought to the sizes of two
encoders, one core at work. The first column decodes all pixels in TensorFlow, the second decodes a
large JPEG at a fraction in TensorFlow, and the third is preparation without TensorFlow. Exits with
1 if preparation is not at least twice as fast as the second for JPEGs of 500 x 375, or not faster
for other pictures.

    python tests/benchmarks/bench_decoding.py
"""

import io
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from tfhub_blocks.compute.extraction.extraction import CPU_BATCH_SIZE
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.tf.tensorflow_setup import tf, use_one_thread_per_operation

# By format, width and height.
LEAST_RATIOS = {("JPEG", 500, 375): 2.0}
PICTURES = (
    ("JPEG", 500, 375),
    ("JPEG", 1600, 1200),
    ("JPEG", 4000, 3000),
    ("PNG", 224, 224),
    ("PNG", 500, 375),
)
SIDES_PX = (160, 224)
REPEATS = 7


def picture(kind: str, width: int, height: int) -> bytes:
    """Smooth colours under sensor noise; a JPEG of quality 85."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    smooth = Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(smooth) + random.normal(0, 8, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, kind, quality=85)
    return file.getvalue()


def whole(contents: Any, side_px: int) -> Any:
    """Images, float32 within 0 and 255, of all the pixels that there are."""

    def image(content: Any) -> Any:
        pixels = tf.io.decode_image(content, channels=3, expand_animations=False)
        return tf.image.resize(pixels, (side_px, side_px), antialias=True)

    spec = tf.TensorSpec([side_px, side_px, 3], tf.float32)
    return tf.map_fn(image, contents, fn_output_signature=spec, parallel_iterations=1)


def measured(
    ways: Sequence[Callable[[list[bytes]], Any]], contents: list[bytes]
) -> list[tuple[float, Any]]:
    """For each way the images, and milliseconds of processor time for one, the least of some calls.

    In turns, and in a thread of a pool, as the step does it: there large buffers are not reused.
    """
    times_ms: list[list[float]] = [[] for _ in ways]
    with ThreadPoolExecutor(1) as pool:
        images = [np.asarray(pool.submit(way, contents).result()) for way in ways]
        for _ in range(REPEATS):
            for way, own_ms in zip(ways, times_ms, strict=True):
                begun = time.process_time()
                pool.submit(way, contents).result()
                own_ms.append(1000 * (time.process_time() - begun) / len(contents))
    return [(min(own_ms), image) for own_ms, image in zip(times_ms, images, strict=True)]


def in_graph(function: Callable[[Any], Any]) -> Callable[[list[bytes]], Any]:
    """A TensorFlow function of a batch of contents, as a graph."""
    graph = tf.function(function).get_concrete_function(tf.TensorSpec([CPU_BATCH_SIZE], tf.string))
    return lambda contents: graph(tf.constant(contents))


def main() -> int:
    """Measure and print; 0 if pictures are prepared as much faster as they are to be."""
    use_one_thread_per_operation()
    passed = True
    for kind, width, height in PICTURES:
        contents = [picture(kind, width, height)] * CPU_BATCH_SIZE
        for side_px in SIDES_PX:
            images = Images((side_px, side_px), (0.0, 255.0))
            (full_ms, full), (before_ms, before), (ours_ms, ours) = measured(
                [
                    in_graph(lambda c, side=side_px: whole(c, side)),
                    in_graph(images.preprocess),
                    images.prepare,
                ],
                contents,
            )
            ratio = before_ms / ours_ms
            print(
                f"{kind} {width} x {height} to {side_px} px: whole {full_ms:.2f} ms, in TensorFlow "
                f"{before_ms:.2f} ms, ours {ours_ms:.2f} ms, ratio {ratio:.2f}; largest difference "
                f"{np.abs(before - ours).max():.1g} of 255, mean difference from whole "
                f"{np.abs(full - ours).mean():.1f}",
                flush=True,
            )
            passed &= ratio >= LEAST_RATIOS.get((kind, width, height), 1.0)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
