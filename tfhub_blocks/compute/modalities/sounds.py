"""Sounds: files that libsndfile reads, such as WAV, FLAC, MP3 and AIFF."""

# decisions 8, 77 and 95

import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from tfhub_blocks.compute.modalities.modality import Decoder, Limits, Modality, Shown
from tfhub_blocks.records.pins.pins import Pooling

FREE = -1
# A little more than networks for speech and sounds need for their first frame.
LEAST_SECONDS = 1.0
# A fixed vector of fewer numbers is no window of sound.
LEAST_WINDOW = 256
DTYPES = ("float32", "float16", "bfloat16", "float64", "int16")
INT16_SCALE = 32767.0
SHOWN_SECONDS, SHOWN_RATE_HZ = 5, 16000
HIGHEST_RATE_HZ = 384_000
# A note, as those of ``waveforms``.
CONSTANT = "have one value throughout, so nothing is heard"


@dataclass(frozen=True)
class Sounds(Modality):
    """The conversion of audio files to mono waveforms, float32 from -1 to 1, at the encoder's rate.

    ``shape`` is the shape of the encoder's input, with -1 for any length:

    - ``[-1]``: one waveform of any length;
    - ``[-1, -1]``: waveforms of any length;
    - ``[-1, samples]`` or ``[-1, samples, 1]``: windows. A waveform is cut into consecutive
      windows, and the last window is padded with silence;
    - ``[samples]``, ``[1, samples]``, ``[1, samples, 1]`` and ``[1, -1]``: one window or waveform
      a call.

    An encoder with ``dtype`` int16 gets the same waveform times 32767, rounded.

    A waveform of any length is padded to at least one second. Frames of padding are not pooled.
    """

    name: ClassVar[str] = "audio"
    extensions: ClassVar[frozenset[str]] = frozenset(
        {".wav", ".flac", ".mp3", ".ogg", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64"}
    )
    requirements: ClassVar[tuple[str, ...]] = ("soundfile", "soxr")
    usual_pooling: ClassVar[Pooling] = "mean"
    preparation: ClassVar[str] = "2"

    shape: tuple[int, ...]
    rate_hz: int
    dtype: Literal["float32", "float16", "bfloat16", "float64", "int16"] = "float32"

    @classmethod
    def examine(
        cls,
        content: bytes,
        limits: Limits,
        detail_px: int = 1,  # noqa: ARG003
    ) -> tuple[str | None, tuple[str, ...], Any]:
        """Return the reason why the content cannot be used, notes, and the samples and rate."""
        from tfhub_blocks.compute.modalities import waveforms

        try:
            samples, rate_hz = waveforms.read(content, limits.max_seconds)
        except ValueError as error:
            return str(error), (), None
        if fault := waveforms.silence_fault(samples):
            return fault, (), None
        notes = waveforms.notes(samples)
        if (samples == samples[0]).all():
            notes = (*notes, CONSTANT)
        return None, notes, (samples, rate_hz)

    @classmethod
    def content_fault(cls, content: bytes, limits: Limits) -> str | None:
        """Return the reason why the content cannot be used as a sound, or None."""
        return cls.examine(content, limits)[0]

    @classmethod
    def header_fault(cls, content: bytes, limits: Limits) -> str | None:
        """Return a sentence if the content is another format or too long by its header."""
        import soundfile

        from tfhub_blocks.compute.modalities import waveforms

        if not waveforms.is_audio(content):
            return waveforms.FOREIGN
        try:
            header = soundfile.info(io.BytesIO(content))
        except soundfile.LibsndfileError as error:
            return f"the audio cannot be decoded: {error.error_string}"
        seconds = header.frames / header.samplerate
        if seconds > limits.max_seconds:
            return f"the audio lasts {seconds:.0f} seconds, more than {limits.max_seconds:g}"
        if header.frames * header.channels > limits.max_seconds * HIGHEST_RATE_HZ:
            size = f"{header.frames} samples in each of {header.channels} channels"
            return f"the audio has {size}: too many"
        return None

    @classmethod
    def shown(cls, content: bytes) -> Shown:
        """Return the first five seconds as MP3."""
        import soundfile

        from tfhub_blocks.compute.modalities.waveforms import decode

        waveform = np.frombuffer(decode(content, SHOWN_RATE_HZ), "<f4")
        file = io.BytesIO()
        start = waveform[: SHOWN_SECONDS * SHOWN_RATE_HZ]
        soundfile.write(file, start, SHOWN_RATE_HZ, format="MP3")
        return Shown(media=file.getvalue(), media_type="audio/mpeg")

    @classmethod
    def samples(cls) -> tuple[bytes, ...]:
        """Return a short click, a rising tone, and two tones in stereo at another rate, as WAV."""
        click = np.zeros((400, 1))
        click[100] = 0.5
        time = np.arange(24000)[:, None] / 16000
        rising = np.sin(2 * np.pi * (200 + 800 * time) * time) / 2
        chord = np.sin(2 * np.pi * time[:, :1] * (330, 440)) / 4
        return _wav(click, 16000), _wav(rising, 16000), _wav(chord, 22050)

    @classmethod
    def recognise(
        cls,
        spec: Any,
        operations: Collection[str] = (),  # noqa: ARG003
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Recognise waveforms in one of the shapes of the class.

        A SavedModel does not state its rate, and no rate is usual, so the user must pass it.
        """
        if spec.dtype.name not in DTYPES or spec.shape.rank not in (1, 2, 3):
            return None
        shape = [FREE if side is None else side for side in spec.shape.as_list()]
        if not _is_shape(tuple(shape)):
            return None
        stated = {"shape": shape}
        return (
            stated if spec.dtype.name == "float32" else {**stated, "dtype": spec.dtype.name}
        ), {}

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield a fault for an unknown shape, and for a rate outside the range."""
        if not _is_shape(self.shape):
            problem = f"{list(self.shape)} is no shape of waveforms"
            expected = "[-1], [-1, samples] or [-1, samples, 1], or one window a call"
            yield "shape", problem, expected
        if not 1000 <= self.rate_hz <= HIGHEST_RATE_HZ:
            yield "rate_hz", f"{self.rate_hz} is out of range", f"1000 to {HIGHEST_RATE_HZ}"

    @property
    def decoder(self) -> Decoder:
        """The program that decodes and resamples: TensorFlow reads neither FLAC nor MP3."""
        from tfhub_blocks.compute.modalities import waveforms

        return Decoder(Path(waveforms.__file__), {"rate_hz": self.rate_hz})

    def decode(self, content: bytes) -> bytes:
        """Return the waveform: float32, little-endian."""
        from tfhub_blocks.compute.modalities.waveforms import decode

        return decode(content, self.rate_hz)

    @property
    def bare_limits(self) -> str:
        """``preprocess`` takes decoded waveforms."""
        return (
            f"It takes decoded waveforms: mono, {self.rate_hz} Hz, float32 as little-endian bytes."
            " Bytes of a file give a wrong answer there. Use the MLflow model for files."
        )

    def preprocess(self, contents: Any) -> Any:
        """Return the waveforms unchanged, as strings, because their lengths differ."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        return tf.identity(contents)

    def encode(self, call: Callable[[Any], Any], inputs: Any, pooling: Pooling) -> Any:
        """Return the vectors; waveforms are encoded one after the other."""
        from tfhub_blocks.compute.modalities.pooling import pooled
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        window = self.shape[1] if self.shape[1:] else self.shape[0]
        is_single = self.shape[0] != FREE

        def vector(content: Any) -> Any:
            waveform = tf.io.decode_raw(content, tf.float32)
            heard = tf.shape(waveform)[0]
            least = window if window != FREE else int(LEAST_SECONDS * self.rate_hz)
            filled = tf.maximum(heard, least)
            if window != FREE:
                filled = -(-heard // window) * window
            waveform = tf.pad(waveform, [[0, filled - heard]])
            waveform = self._taken(waveform)
            if is_single and window != FREE:
                windows = tf.reshape(waveform, [-1, window])
                frames = tf.map_fn(
                    lambda one: call(tf.reshape(one, self.shape)),
                    windows,
                    fn_output_signature=tf.float32,
                    parallel_iterations=1,
                )
            else:
                frames = call(tf.reshape(waveform, self._shape_of_one()))
            frames = tf.reshape(frames, [-1, frames.shape[-1]])
            # Integer arithmetic: a frame counts if any of its samples is not padding.
            heard, filled = tf.cast(heard, tf.int64), tf.cast(filled, tf.int64)
            count = -(-heard * tf.shape(frames, tf.int64)[0] // filled)
            return pooled(frames[None, :count], pooling)[0]

        # One at a time: their lengths differ, and the caller fills the cores with batches.
        return tf.map_fn(vector, inputs, fn_output_signature=tf.float32, parallel_iterations=1)

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the encoder's input besides the contents."""
        number_type = {} if self.dtype == "float32" else {"dtype": self.dtype}
        return {
            "modality": self.name,
            "preparation": self.preparation,
            "decode": "libsndfile, channels averaged, scaled to a peak of 1 if above",
            "resample": "soxr, HQ",
            "rate_hz": self.rate_hz,
            "shape": list(self.shape),
            **number_type,
        }

    def _taken(self, waveform: Any) -> Any:
        """Return a waveform in the encoder's number type."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        if self.dtype == "int16":
            return tf.saturate_cast(tf.round(waveform * INT16_SCALE), tf.int16)
        return waveform if self.dtype == "float32" else tf.cast(waveform, self.dtype)

    def _shape_of_one(self) -> tuple[int, ...]:
        """Return the shape of the input for all samples of one item."""
        if self.shape[1:2] == (FREE,):
            return (1, FREE, *self.shape[2:])
        return self.shape


def _is_shape(shape: tuple[int, ...]) -> bool:
    """Return True if waveforms can have this shape."""
    if len(shape) == 1:
        return shape[0] == FREE or shape[0] >= LEAST_WINDOW
    return (
        len(shape) in (2, 3)
        and shape[0] in (FREE, 1)
        and (shape[1] == FREE or shape[1] > 0)
        and shape[2:] in ((), (1,))
    )


def _wav(samples: Any, rate_hz: int) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()
