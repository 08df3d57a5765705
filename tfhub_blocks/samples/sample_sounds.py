"""Sample sounds with labels: synthesised notes, one folder for each name of a note."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tfhub_blocks.samples.pinned_samples import refuse_existing

# Semitones above C.
NOTES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SOUNDS_PER_NOTE = 40
OCTAVES = (3, 4, 5)
A4_HZ, A4_SEMITONE = 440.0, 57
SECONDS = (0.8, 2.5)
RATES_HZ = (22050, 44100, 32000)
KINDS = ("wav", "flac", "mp3")
OVERTONES = 8
# In parts of a semitone and of full scale; enough to make some notes hard to classify.
DETUNED, NOISE = 0.45, 0.1


def write_sample_sounds(folder: Path, progress: Callable[[int, int], None]) -> int:
    """Write labelled sample sounds and return their number.

    Each file is ``NOTE/NUMBER.wav``, ``.flac`` or ``.mp3``: one note of a synthetic instrument, in
    one of three octaves, from 0.8 to 2.5 seconds long, at one of three rates, with some noise. The
    same packages give the same bytes. The folder is complete or absent.

    Args:
        folder: The new folder.
        progress: A function that is called with the number of written sounds and of all sounds.

    Raises:
        BlocksError: The folder exists already.
    """
    refuse_existing(folder)
    random = np.random.default_rng(0)
    total = SOUNDS_PER_NOTE * len(NOTES)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        unfinished = Path(temporary) / folder.name
        for number in range(total):
            note = list(NOTES)[number % len(NOTES)]
            kind, rate_hz = KINDS[number % len(KINDS)], int(random.choice(RATES_HZ))
            semitone = NOTES[note] + 12 * int(random.choice(OCTAVES))
            path = unfinished / note / f"{number:03}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, _note(semitone, rate_hz, random), rate_hz)
            progress(number + 1, total)
        unfinished.rename(folder)
    return total


def _note(semitone: float, rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return a note with random overtones, attack and decay, float64 from -1 to 1."""
    time = np.arange(int(random.uniform(*SECONDS) * rate_hz)) / rate_hz
    semitone = semitone + random.uniform(-DETUNED, DETUNED)
    frequency_hz = A4_HZ * 2 ** ((semitone - A4_SEMITONE) / 12)
    overtones = np.arange(1, OVERTONES + 1)
    strengths = random.uniform(0.2, 1, OVERTONES) / overtones ** random.uniform(0.8, 2)
    waves = np.sin(2 * np.pi * frequency_hz * np.outer(overtones, time))
    attack_s, decay_s = random.uniform(0.005, 0.08), random.uniform(0.3, 1.5)
    envelope = np.minimum(time / attack_s, 1) * np.exp(-time / decay_s)
    sound = strengths @ waves / strengths.sum() * envelope * random.uniform(0.3, 0.9)
    noisy: NDArray[np.float64] = sound + random.normal(0, random.uniform(0, NOISE), len(time))
    return noisy
