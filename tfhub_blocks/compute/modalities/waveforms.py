"""Waveforms of audio files. A copy of this file travels inside models: it imports none of ours."""

import io
import struct

import numpy as np
import soundfile
import soxr


def decode(content: bytes, rate_hz: int) -> bytes:
    """The samples of a WAV, FLAC, MP3 or OGG file: float32, little-endian, mono, at a rate.

    Channels are averaged, then resampled by soxr at its high quality. Same content, same bytes.

    Raises:
        ValueError: It cannot be decoded; the message is the reason.
    """
    samples, from_hz = read(content)
    mono = samples.mean(axis=1, dtype=np.float32)
    if from_hz != rate_hz:
        mono = soxr.resample(mono, from_hz, rate_hz, quality="HQ")
    waveform: bytes = mono.astype("<f4").tobytes()
    return waveform


def read(content: bytes, max_seconds: float | None = None) -> tuple[np.ndarray, int]:
    """The samples of an audio file, float32 [samples, channels], and their rate in Hz.

    Raises:
        ValueError: It cannot be decoded, ends early, holds no sample or one that is no number, or
            is longer than ``max_seconds``, which is told before it is decoded.
    """
    if content[:4] == b"RIFF" and _is_cut(content):
        raise ValueError("it is truncated: its header promises more bytes")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            promised, rate_hz = file.frames, file.samplerate
            # Without such a tag the length of an MP3 is an estimate.
            is_exact = (
                file.format != "MP3" or b"Xing" in content[:4096] or b"Info" in content[:4096]
            )
            if max_seconds is not None and promised > max_seconds * rate_hz:
                seconds = promised / rate_hz
                raise ValueError(f"it lasts {seconds:.0f} seconds, more than {max_seconds:g}")
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"it cannot be decoded as audio: {error.error_string}") from error
    if not len(samples):
        raise ValueError("it holds no samples")
    if is_exact and len(samples) < promised:
        raise ValueError(f"it is truncated: it has {len(samples)} of {promised} samples")
    if not np.isfinite(samples).all():
        raise ValueError("it holds samples that are no numbers")
    return samples, rate_hz


def _is_cut(wav: bytes) -> bool:
    """Whether a WAV is shorter than its header says, which libsndfile passes over."""
    (promised,) = struct.unpack_from("<I", wav.ljust(8, b"\0"), 4)
    # A recorder that streams does not know the size beforehand; some forget the last pad byte.
    return bool(promised != 0xFFFFFFFF and promised + 8 > len(wav) + 1)
