import io
import struct

import numpy as np
import pytest
import soundfile

from tfhub_blocks.compute.modalities import waveforms
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.modalities.sounds import Sounds
from tfhub_blocks.compute.tf.tensorflow_setup import tf

LIMITS = Limits(max_pixels=1, max_seconds=10)
TIME = np.arange(44100) / 44100
TONE = (np.sin(2 * np.pi * 440 * TIME) / 2).astype(np.float32)


def encoded(samples=TONE, kind: str = "WAV", rate_hz: int = 44100, **options) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, **options)
    return file.getvalue()


FILES = {
    "wav": encoded(),
    "8-bit wav": encoded(subtype="PCM_U8"),
    "24-bit wav": encoded(subtype="PCM_24"),
    "float wav": encoded(subtype="FLOAT"),
    "flac": encoded(kind="FLAC"),
    "mp3": encoded(kind="MP3"),
    "ogg": encoded(kind="OGG"),
    "aiff": encoded(kind="AIFF"),
    "au": encoded(kind="AU"),
    "caf": encoded(kind="CAF"),
    "w64": encoded(kind="W64"),
    "stereo": encoded(np.stack([TONE, TONE], axis=1), kind="FLAC"),
    "wav that was streamed": encoded()[:4] + b"\xff\xff\xff\xff" + encoded()[8:],
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_becomes_the_same_mono_waveform_at_the_rate(name: str) -> None:
    assert Sounds.content_fault(FILES[name], LIMITS) is None

    waveform = np.frombuffer(Sounds((-1,), 16000).decode(FILES[name]), np.float32)

    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000) / 2
    assert len(waveform) == pytest.approx(16000, abs=1)
    # The edges ring, and codecs fade in.
    middle = slice(2000, 14000)
    assert waveform[middle] == pytest.approx(expected[middle], abs=0.02)


@pytest.mark.parametrize("name", FILES.keys() - {"wav that was streamed"})
def test_truncated_sound_is_rejected(name: str) -> None:
    fault = Sounds.content_fault(FILES[name][: len(FILES[name]) // 2], LIMITS)
    assert fault is not None
    assert "truncated" in fault or "the audio cannot be decoded" in fault
    assert "\n" not in fault


FOREIGN = (
    "the file is not WAV, FLAC, MP3, OGG, AIFF, AU, CAF or W64: convert it to one of these formats"
)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"hello", FOREIGN),
        (b"FORM\0\0\0\4ILBM", FOREIGN),
        (
            encoded(np.stack([TONE, -TONE], axis=1)),
            "the audio is silent as mono: its channels cancel out",
        ),
        (b"\xff\xd8\xff\xe0", FOREIGN),
        (b"RIFF\x24\0\0\0WEBPVP8 ", FOREIGN),
        (b"RIFF", FOREIGN),
        (b"RIFF\4\0\0\0WAVE", "the audio cannot be decoded: Error in WAV file. No 'data' chunk"),
        (FILES["flac"][:60], "the audio cannot be decoded: Error : unknown error in flac decod"),
        (encoded(TONE[:0]), "the audio has no samples"),
        (encoded(np.zeros(44100)), "the audio is silent throughout"),
        (encoded(TONE * 1e-5, kind="FLAC", subtype="PCM_24"), "the audio is silent throughout"),
        (encoded(TONE * np.nan, subtype="FLOAT"), "the audio has samples that are NaN or infinite"),
        (encoded(np.tile(TONE, 11), kind="FLAC"), "the audio lasts 11 seconds, more than 10"),
    ],
)
def test_what_cannot_be_heard_is_rejected_with_its_reason(content: bytes, fault: str) -> None:
    found = Sounds.content_fault(content, LIMITS)
    assert found is not None
    assert found.startswith(fault)
    assert "0x" not in found  # no address of an object


def test_a_long_sound_is_rejected_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    day = bytearray(FILES["flac"])
    # The last 36 bits of what follows rate, channels and depth are the number of samples.
    day[21:26] = bytes([day[21] & 0xF0]) + struct.pack(">I", 2**32 - 1)
    assert Sounds.content_fault(bytes(day), LIMITS) == "the audio lasts 97392 seconds, more than 10"


def test_any_bytes_are_judged_without_an_exception() -> None:
    random = np.random.default_rng(0)
    for content in FILES.values():
        for _ in range(20):
            changed = bytearray(content)
            for index in random.integers(0, min(200, len(changed)), 8):
                changed[index] ^= 1 << int(random.integers(8))
            Sounds.content_fault(bytes(changed), Limits(1, 60))


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("gain", [20, 1e30])
def test_a_sound_above_full_scale_is_scaled_to_a_peak_of_one(gain: float, subtype: str) -> None:
    loud = encoded(gain * TONE.astype(float), subtype=subtype)
    quiet = encoded(TONE * 1.9, subtype="FLOAT")
    decoded = [np.frombuffer(Sounds((-1,), 16000).decode(each), "<f4") for each in (loud, quiet)]
    assert np.abs(decoded[0]).max() <= 1
    np.testing.assert_allclose(decoded[0] * 0.95, decoded[1], atol=0.02)
    assert Sounds.examined(loud, LIMITS) == (None, (waveforms.LOUD,))
    assert Sounds.examined(quiet, LIMITS) == (None, ())


def test_resampling_does_not_exceed_full_scale() -> None:
    square = encoded(np.sign(TONE) * 0.999)
    assert np.abs(np.frombuffer(Sounds((-1,), 16000).decode(square), "<f4")).max() <= 1


@pytest.mark.parametrize("side", [1, -1])
def test_clipping_and_cancelling_channels_are_noted(side: int) -> None:
    waves = np.abs(TONE) * side
    assert Sounds.examined(encoded((waves * 3).clip(-1, 1)), LIMITS) == (None, (waveforms.CLIPPED,))
    assert Sounds.examined(encoded(waves * 2), LIMITS) == (None, ())
    nearly = np.stack([TONE, -0.99 * TONE], axis=1)
    assert Sounds.examined(encoded(nearly), LIMITS) == (None, (waveforms.CANCELLED,))


def summed(given: Sounds, samples: int, pooling="mean"):
    """What an encoder that gives back its samples is pooled to, and the shapes that it saw."""
    seen = []

    def call(waveforms):
        seen.append(tuple(waveforms.shape))
        return tf.reshape(
            waveforms, [-1, tf.shape(waveforms)[-2], 1] if waveforms.shape.rank == 3 else [-1, 1]
        )

    content = np.arange(1, samples + 1, dtype="<f4").tobytes()
    return given.encode(call, tf.constant([content]), pooling).numpy().tolist(), seen


@pytest.mark.parametrize(
    ("shape", "samples", "passed"),
    [
        ((-1,), 3000, (3000,)),
        ((-1, -1), 3000, (1, 3000)),
        ((-1, -1, 1), 3000, (1, 3000, 1)),
        # Shorter than a second: filled up.
        ((-1,), 10, (1000,)),
        ((-1, -1), 10, (1, 1000)),
        ((-1, 400), 1000, (3, 400)),
        ((-1, 400, 1), 10, (1, 400, 1)),
        ((-1, 400, 1), 400, (1, 400, 1)),
        ((-1, 400, 1), 401, (2, 400, 1)),
    ],
)
def test_a_waveform_is_passed_in_the_encoders_shape_and_its_filling_is_not_pooled(
    shape, samples: int, passed
) -> None:
    pooled, seen = summed(Sounds(shape, 1000), samples)

    assert seen == [passed]
    assert pooled == [[pytest.approx((samples + 1) / 2, rel=1e-4)]]


def test_poolings() -> None:
    values = np.arange(1, 1001)
    given = Sounds((-1,), 1000)
    assert summed(given, 1000, "max")[0] == [[1000]]
    assert summed(given, 1000, "mean_std")[0] == [
        [pytest.approx(values.mean()), pytest.approx(values.std(), rel=1e-5)]
    ]


def test_a_batch_is_encoded_as_each_of_it_alone() -> None:
    given = Sounds((-1, 300), 1000)
    contents = [np.arange(count, dtype="<f4").tobytes() for count in (1, 299, 300, 1000)]

    def call(windows):
        return tf.stack([tf.reduce_sum(windows, 1), tf.reduce_max(windows, 1)], axis=1)

    together = given.encode(call, tf.constant(contents), "mean").numpy()
    for row, content in zip(together, contents, strict=True):
        assert (
            row.tolist() == given.encode(call, tf.constant([content]), "mean")[0].numpy().tolist()
        )


def test_a_sound_is_shown_by_its_first_seconds() -> None:
    shown = Sounds.shown(encoded(np.tile(TONE, 9)))
    assert shown.media_type == "audio/mpeg"
    with soundfile.SoundFile(io.BytesIO(shown.media)) as file:
        assert file.frames == pytest.approx(5 * 16000, rel=0.05)
