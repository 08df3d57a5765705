"""The sample audio encoder: Basic Pitch, the unmodified SavedModel that its package ships.

Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note Transcription"
(https://arxiv.org/abs/2203.09893), Apache License 2.0, from the package ``basic-pitch``.
"""

import importlib.util
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import Pin, copy_files, files_digest
from tfhub_blocks.samples.pinned_samples import write_pinned

PACKAGE = "basic_pitch"
NAME = "basic-pitch"
HANDLE = "pkg:pypi/basic-pitch@0.4.0"
DIGEST = "2eb9e66640f573f66a82104f5a8ca570f41177fb8b1b33bfa1fddc045547bc72"
# The output "note": for each of a piano's 88 keys, mean and standard deviation over the frames.
FACTS = "rate_hz=22050, output=note, pooling=mean_std, licence=Apache-2.0"


def write_sample(folder: Path) -> Pin:
    """Write the sample audio encoder with its pin, as a team would keep it; return the pin.

    The encoder takes windows of 43,844 samples at 22,050 Hz and returns 88 notes in each of 172
    frames. Its features are 176 numbers: mean and standard deviation of each note.

    Raises:
        BlocksError: The folder exists already, or the installed SavedModel is not the expected
            one.
    """
    return write_pinned(folder, _copy_packaged, NAME, HANDLE, FACTS)


def _copy_packaged(folder: Path) -> None:
    specification = importlib.util.find_spec(PACKAGE)
    if specification is None:
        raise BlocksError(
            "samples audio-encoder",
            "basic-pitch",
            "package basic-pitch is not installed",
            "",
            "Run pip install --no-deps basic-pitch==0.4.0",
        )
    (root,) = specification.submodule_search_locations or [""]
    source = Path(root) / "saved_models" / "icassp_2022" / "nmp"
    digest = files_digest(copy_files(source, folder)) if root and source.is_dir() else "none"
    if digest != DIGEST:
        raise BlocksError(
            "samples audio-encoder",
            "saved_models/icassp_2022/nmp",
            f"the installed SavedModel of basic-pitch has digest {digest}",
            f"digest {DIGEST}",
            "Run `pip install --force-reinstall --no-deps basic-pitch==0.4.0`",
        )
