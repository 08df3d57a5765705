"""Waveforms of audio files. Models contain a copy of this file, so it imports no tfhub_blocks."""

# decision 8

import io
import struct

import numpy as np
import soundfile
import soxr

# The bound for any sound that is decoded, 1 GiB as float32. A header can claim any number.
MAX_SAMPLES = 2**28


def decode(content: bytes, rate_hz: int) -> bytes:
    """Return the samples of a WAV, FLAC, MP3 or OGG file: float32, little-endian, mono, at a rate.

    Channels are averaged, then resampled by soxr in its high quality. Equal contents give equal
    bytes.

    Raises:
        ValueError: The content cannot be decoded; the message is the reason.
    """
    samples, from_hz = read(content)
    mono = samples.mean(axis=1, dtype=np.float32)
    if from_hz != rate_hz:
        mono = soxr.resample(mono, from_hz, rate_hz, quality="HQ")
    waveform: bytes = mono.astype("<f4").tobytes()
    return waveform


def read(content: bytes, max_seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Return the samples of an audio file, float32 [samples, channels], and their rate in Hz.

    Raises:
        ValueError: The content cannot be decoded, ends early, or has no samples or samples that
            are not finite; or it is longer than ``max_seconds``, which is checked before decoding.
    """
    if content[:4] == b"RIFF" and _is_cut(content):
        raise ValueError("the audio is truncated: its header states more bytes")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            promised, rate_hz = file.frames, file.samplerate
            # Without such a tag the length of an MP3 is an estimate.
            is_exact = (
                file.format != "MP3" or b"Xing" in content[:4096] or b"Info" in content[:4096]
            )
            if max_seconds is not None and promised > max_seconds * rate_hz:
                seconds = promised / rate_hz
                raise ValueError(
                    f"the audio lasts {seconds:.0f} seconds, more than {max_seconds:g}"
                )
            if promised * file.channels > MAX_SAMPLES:
                raise ValueError(
                    f"the audio has {promised * file.channels:,} samples, more than {MAX_SAMPLES:,}"
                )
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"the audio cannot be decoded: {error.error_string}") from error
    if not len(samples):
        raise ValueError("the audio has no samples")
    if is_exact and len(samples) < promised:
        raise ValueError(f"the audio is truncated: it has {len(samples)} of {promised} samples")
    if not np.isfinite(samples).all():
        raise ValueError("the audio has samples that are NaN or infinite")
    return samples, rate_hz


def _is_cut(wav: bytes) -> bool:
    """Return True if a WAV is shorter than its header states, which libsndfile ignores."""
    (promised,) = struct.unpack_from("<I", wav.ljust(8, b"\0"), 4)
    # A recorder that streams does not know the size beforehand; some forget the last pad byte.
    return bool(promised != 0xFFFFFFFF and promised + 8 > len(wav) + 1)
