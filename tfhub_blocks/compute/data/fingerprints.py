"""Fingerprints of items: short descriptions that near duplicates share.

A fingerprint has 64 bits, by which similar items are found, and a small vector, by which a pair is
confirmed. Texts have no fingerprint: their words are compared (see ``near_duplicates``).
"""

# decision 81

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from tfhub_blocks.compute.modalities import waveforms

HASH_PX = 32
HASH_SIDE = 8
THUMBNAIL_PX = 8
BANDS, FRAMES = 16, 16
# A picture or sound without contrast has no features to compare.
LEAST_CONTRAST = 2.0


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The fingerprint of one item; ``vector`` has zero mean and length one, float16."""

    bits: int
    vector: NDArray[np.float16]


def fingerprint(content: bytes, modality: str) -> Fingerprint | None:
    """Return the fingerprint of an item, or None if the item has none.

    The content is a valid item of its modality.
    """
    if modality == "image":
        return image_fingerprint(content)
    if modality == "audio":
        return sound_fingerprint(content)
    return None


def image_fingerprint(content: bytes) -> Fingerprint | None:
    """Return a fingerprint that small crops, other sizes and other compression hardly change.

    The bits are the signs of the lowest frequencies of the brightness, as in pHash (Zauner,
    Implementation and benchmarking of perceptual image hash functions, 2010). The vector is a
    picture of 8 x 8 pixels in colour.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # snapshot_data reports faults of its own
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.draft("RGB", (4 * HASH_PX, 4 * HASH_PX))
                small = image.convert("RGBA").resize((HASH_PX, HASH_PX), Image.Resampling.BOX)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
    white = Image.new("RGBA", small.size, "white")
    pixels = np.asarray(Image.alpha_composite(white, small).convert("RGB"), np.float32)
    return _fingerprint(pixels.mean(axis=2), _pooled(pixels))


def sound_fingerprint(content: bytes) -> Fingerprint | None:
    """Return a fingerprint that other compression and other loudness hardly change.

    It is that of a picture of the sound: the logarithm of its energy in 16 bands of frequency and
    16 parts of its time, after silence at both ends is cut off.
    """
    try:
        samples, rate_hz = waveforms.read(content)
    except (OSError, ValueError, RuntimeError):
        return None
    mono = samples.mean(axis=1) if samples.ndim > 1 else samples
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


def _fingerprint(
    brightness: NDArray[np.float32], description: NDArray[np.float32]
) -> Fingerprint | None:
    if min(brightness.std(), description.std()) < LEAST_CONTRAST:
        return None
    low = dctn(brightness, norm="ortho")[: HASH_SIDE + 1, : HASH_SIDE + 1].ravel()[1:65]
    bits = int.from_bytes(np.packbits(low > np.median(low)).tobytes())
    centred = description.ravel() - description.mean()
    return Fingerprint(bits, (centred / np.linalg.norm(centred)).astype(np.float16))
