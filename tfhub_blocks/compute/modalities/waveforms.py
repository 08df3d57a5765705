"""Waveforms of audio files. Models contain a copy of this file, so it imports no tfhub_blocks."""

# decisions 8, 75 and 77

import io
import struct

import numpy as np
import soundfile
import soxr

# The bound for any sound that is decoded, 1 GiB as float32. A header can claim any number.
MAX_SAMPLES = 2**28
# The version of everything that this file decides. A new number computes all features again.
PREPARATION = "2"
# -100 dB of full scale: below the smallest step of a 16-bit file.
SILENCE = 1e-5
# Of channels that cancel out, rounding leaves a mean this far below their peak, -60 dB.
CANCELLED_SHARE = 1e-3
# So many equal samples in a row at the limit of a format are a wave that was cut off.
FULL_SCALE, CLIPPED_RUN = 0.999, 5

# The notes of ``notes``, as a warning about several sounds states them.
LOUD = "exceed full scale, and are scaled so that their peak is 1"
CLIPPED = "are clipped: their waves are cut off at full scale"
CANCELLED = "lose most of their sound when channels are averaged, because the channels cancel out"

FOREIGN = (
    "the file is not WAV, FLAC, MP3, OGG, AIFF, AU, CAF or W64: convert it to one of these formats"
)
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


def decode(content: bytes, rate_hz: int) -> bytes:
    """Return the samples of an audio file: float32, little-endian, mono, from -1 to 1, at a rate.

    Channels are averaged, then resampled by soxr in its high quality. A waveform with a peak above
    1, before or after resampling, is divided by its peak; no other waveform is scaled. Equal
    contents give equal bytes.

    Raises:
        ValueError: The content cannot be decoded, or is silent; the message is the reason.
    """
    samples, from_hz = read(content)
    if fault := silence_fault(samples):
        raise ValueError(fault)
    mono = _limited(mixed(samples))
    if from_hz != rate_hz:
        mono = _limited(soxr.resample(mono, from_hz, rate_hz, quality="HQ"))
    waveform: bytes = mono.astype("<f4").tobytes()
    return waveform


def mixed(samples: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, float32 [samples]."""
    mono: np.ndarray = samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mono


def silence_fault(samples: np.ndarray) -> str | None:
    """Return a sentence if the mean of the channels, which an encoder gets, is silent."""
    peak = np.abs(samples).max()
    if peak < SILENCE:
        return "the audio is silent throughout"
    if np.abs(mixed(samples)).max() < max(SILENCE, CANCELLED_SHARE * peak):
        return "the audio is silent as mono: its channels cancel out"
    return None


def notes(samples: np.ndarray) -> tuple[str, ...]:
    """Return the properties of a sound that a user may not expect, in a fixed order."""
    peak, peak_of_mean = np.abs(samples).max(), np.abs(mixed(samples)).max()
    found = {
        LOUD: peak_of_mean > 1,
        CLIPPED: _is_clipped(samples, samples.max()) or _is_clipped(-samples, -samples.min()),
        CANCELLED: peak_of_mean < peak / 10,
    }
    return tuple(phrase for phrase, is_so in found.items() if is_so)


def is_audio(content: bytes) -> bool:
    """Return True if a content begins like a file of a format that ``read`` takes."""
    if content[:4] in (b"RIFF", b"RF64"):
        return content[8:12] == b"WAVE"
    if content[:4] == b"FORM":
        return content[8:12] in (b"AIFF", b"AIFC")
    if content[:4] in (b"fLaC", b"OggS", b"caff", b".snd") or content[:3] == b"ID3":
        return True
    if content[:16] == _W64:
        return True
    # An MPEG frame: eleven set bits, then neither the reserved version nor the reserved layer.
    return (
        len(content) > 1
        and content[0] == 0xFF
        and content[1] >= 0xE0
        and content[1] & 0x18 != 0x08
        and content[1] & 0x06 != 0
    )


def read(content: bytes, max_seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Return the samples of an audio file, float32 [samples, channels], and their rate in Hz.

    Raises:
        ValueError: The content cannot be decoded, ends early, or has no samples or samples that
            are not finite; or it is longer than ``max_seconds``, which is checked before decoding.
    """
    if not is_audio(content):
        raise ValueError(FOREIGN)
    if _stated_bytes(content) > len(content) + 1:
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


def _stated_bytes(content: bytes) -> int:
    """Return the length of a file by its header, which libsndfile ignores; 0 if it is unknown.

    Some programs forget the last pad byte. A recorder that streams does not know the length.
    """
    head, unknown = content[:40].ljust(40, b"\0"), 0xFFFFFFFF
    stated = 0
    if head[:4] == b"RIFF":
        (length,) = struct.unpack_from("<I", head, 4)
        stated = length + 8 if length != unknown else 0
    elif head[:4] == b"FORM":
        (length,) = struct.unpack_from(">I", head, 4)
        stated = length + 8 if length != unknown else 0
    elif head[:4] == b".snd":
        start, length = struct.unpack_from(">II", head, 4)
        stated = start + length if length != unknown else 0
    elif head[:16] == _W64:
        (stated,) = struct.unpack_from("<Q", head, 16)
    elif head[:4] == b"caff":
        stated = _stated_caf_bytes(content)
    return int(stated)


def _stated_caf_bytes(content: bytes) -> int:
    at = 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">q", content, at + 4)
        # A length of -1 is the rest of the file.
        if length < 0:
            return 0
        at += 12 + length
    return at


def _limited(mono: np.ndarray) -> np.ndarray:
    peak = np.abs(mono).max(initial=0)
    return mono / peak if peak > 1 else mono


def _is_clipped(samples: np.ndarray, highest: float) -> bool:
    """Return True if enough consecutive samples of a channel are the highest, at full scale."""
    if highest < FULL_SCALE:
        return False
    at_limit = samples == highest
    for _ in range(CLIPPED_RUN - 1):
        at_limit = at_limit[1:] & at_limit[:-1]
    return bool(at_limit.any())
