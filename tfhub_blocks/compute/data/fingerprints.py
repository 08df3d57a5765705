"""Fingerprints of items: short descriptions that near duplicates share.

A fingerprint has 64 bits, by which similar items are found, and a small vector, by which a pair is
confirmed. Texts have no fingerprint: their words are compared (see ``near_duplicates``).
"""

# decision 81

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct

HASH_PX = 32
# The least size at which a JPEG is decoded for its fingerprint.
FINGERPRINT_PX = 2 * HASH_PX
HASH_SIDE = 8
THUMBNAIL_PX = 8
BANDS, FRAMES = 16, 16
# A picture or sound without contrast has no features to compare.
LEAST_CONTRAST = 2.0

_THIRDS = np.full(3, 1 / 3, np.float32)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The fingerprint of one item; ``vector`` has zero mean and length one, float16."""

    bits: int
    vector: NDArray[np.float16]


def fingerprint_of(decoded: Any, modality: str) -> Fingerprint | None:
    """Return the fingerprint of an item that ``Modality.examine`` decoded, or None."""
    if modality == "image":
        return image_fingerprint(decoded)
    if modality == "audio":
        return sound_fingerprint(*decoded)
    return None


def image_fingerprint(pixels: NDArray[np.uint8]) -> Fingerprint | None:
    """Return a fingerprint that small crops, other sizes and other compression hardly change.

    The bits are the signs of the lowest frequencies of the brightness, as in pHash (Zauner,
    Implementation and benchmarking of perceptual image hash functions, 2010). The vector is a
    picture of 8 x 8 pixels in colour.

    Args:
        pixels: The upright picture on white, uint8 [height, width, 3].
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    small = image.resize((HASH_PX, HASH_PX), Image.Resampling.BOX, reducing_gap=4)
    found = np.asarray(small, np.float32)
    return _fingerprint(found @ _THIRDS, _pooled(found))


def sound_fingerprint(samples: NDArray[np.float32], rate_hz: int) -> Fingerprint | None:
    """Return a fingerprint that other compression and other loudness hardly change.

    It is that of a picture of the sound: the logarithm of its energy in 16 bands of frequency and
    16 parts of its time, after silence at both ends is cut off.

    Args:
        samples: The channels, float32 [samples, channels].
        rate_hz: The rate of the samples.
    """
    mono = samples.mean(axis=1)
    loud = np.flatnonzero(np.abs(mono) > 0.01 * np.abs(mono).max(initial=0))
    if loud.size < 64 * FRAMES:
        return None
    mono = mono[loud[0] : loud[-1] + 1]
    window = 512
    starts = np.linspace(0, max(len(mono) - window, 0), 4 * FRAMES).astype(int)
    frames = np.stack([np.resize(mono[start : start + window], window) for start in starts])
    energy = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)) ** 2
    top_hz = min(rate_hz / 2, 8000.0)
    edges = np.geomspace(60, top_hz, BANDS + 1) / (rate_hz / window)
    of_band = np.clip(np.searchsorted(edges, np.arange(energy.shape[1])), 0, BANDS)
    bands = np.stack([energy[:, of_band == b + 1].sum(axis=1) for b in range(BANDS)], axis=1)
    decibels = 10 * np.log10(bands.reshape(FRAMES, 4, BANDS).mean(axis=1) + 1e-10)
    return _fingerprint(decibels.astype(np.float32), decibels.astype(np.float32))


def _pooled(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    step = HASH_PX // THUMBNAIL_PX
    pooled: NDArray[np.float32] = pixels.reshape(THUMBNAIL_PX, step, THUMBNAIL_PX, step, 3).mean(
        axis=(1, 3)
    )
    return pooled


@cache
def _lowest_cosines(size: int) -> NDArray[np.float32]:
    """Return the rows of the cosine transform for the lowest frequencies.

    A product with these rows is faster than the whole transform.
    """
    rows: NDArray[np.float32] = dct(np.eye(size, dtype=np.float32), axis=0, norm="ortho")
    return rows[: HASH_SIDE + 1]


def _fingerprint(
    brightness: NDArray[np.float32], description: NDArray[np.float32]
) -> Fingerprint | None:
    if min(brightness.std(), description.std()) < LEAST_CONTRAST:
        return None
    cosines = _lowest_cosines(len(brightness))
    low = (cosines @ brightness @ cosines.T).ravel()[1:65]
    middle = np.sort(low)[31:33].mean()
    bits = int.from_bytes(np.packbits(low > middle).tobytes())
    centred = description.ravel() - description.mean()
    return Fingerprint(bits, (centred / np.linalg.norm(centred)).astype(np.float16))
