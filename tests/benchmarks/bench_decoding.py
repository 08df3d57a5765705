"""What preparing a JPEG takes, decoded whole and as preprocessing decodes it, and how they differ.

Photograph-like images of three sizes are brought to the sizes of two encoders, one core at work.
Exits with 1 if an image of 12 megapixels is not prepared at least 1.5 times faster.

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

LEAST_RATIO = 1.5
SIZES = ((500, 375), (1600, 1200), (4000, 3000))
SIDES_PX = (160, 224)
REPEATS = 7


def jpeg(width: int, height: int) -> bytes:
    """Smooth colours under sensor noise, quality 85."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    smooth = Image.fromarray(blocks).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(smooth) + random.normal(0, 8, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def whole(contents: Any, side_px: int) -> Any:
    """Images, float32 within 0 and 255, of all the pixels that there are."""

    def image(content: Any) -> Any:
        pixels = tf.io.decode_image(content, channels=3, expand_animations=False)
        return tf.image.resize(pixels, (side_px, side_px), antialias=True)

    spec = tf.TensorSpec([side_px, side_px, 3], tf.float32)
    return tf.map_fn(image, contents, fn_output_signature=spec, parallel_iterations=1)


def measured(ways: Sequence[Callable[[Any], Any]], contents: Any) -> list[tuple[float, Any]]:
    """For each way the images, and milliseconds of processor time for one, the least of some calls.

    In turns, and in a thread of a pool, as the step does it: there large buffers are not reused.
    """
    spec = tf.TensorSpec.from_tensor(contents)
    calls = [tf.function(way).get_concrete_function(spec) for way in ways]
    times_ms: list[list[float]] = [[] for _ in calls]
    with ThreadPoolExecutor(1) as pool:
        images = [pool.submit(call, contents).result().numpy() for call in calls]
        for _ in range(REPEATS):
            for call, own_ms in zip(calls, times_ms, strict=True):
                begun = time.process_time()
                pool.submit(call, contents).result()
                own_ms.append(1000 * (time.process_time() - begun) / len(contents))
    return [(min(own_ms), image) for own_ms, image in zip(times_ms, images, strict=True)]


def main() -> int:
    """Measure and print; 0 if large images are prepared as much faster as they are to be."""
    use_one_thread_per_operation()
    passed = True
    for width, height in SIZES:
        contents = tf.constant([jpeg(width, height)] * CPU_BATCH_SIZE)
        for side_px in SIDES_PX:
            images = Images((side_px, side_px), (0.0, 255.0))
            (full_ms, full), (ours_ms, ours) = measured(
                [lambda c, side=side_px: whole(c, side), images.preprocess], contents
            )
            print(
                f"{width} x {height} to {side_px} px: whole {full_ms:.1f} ms, ours {ours_ms:.1f} "
                f"ms, ratio {full_ms / ours_ms:.2f}, mean difference "
                f"{np.abs(full - ours).mean():.1f} of 255"
            )
            passed &= width < max(SIZES)[0] or full_ms / ours_ms >= LEAST_RATIO
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
