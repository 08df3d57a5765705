"""A pin of files that nobody loads."""

from pathlib import Path

from tfhub_blocks.records.pins.pins import (
    Decisions,
    EncoderOutput,
    Golden,
    Operations,
    Pin,
    Training,
    files_digest,
    hashed_files,
)


def toy_pin(name: str, handle: str, folder: Path, decisions: Decisions | None = None) -> Pin:
    """A pin of the files in a folder, as of an encoder of images with 24 features."""
    files = hashed_files(folder)
    return Pin(
        name=name,
        handle=handle,
        digest=files_digest(files),
        loaded_class="reusable",
        modality="image",
        licence="unknown",
        input={"size_px": [32, 32], "range": [0.0, 1.0], "dtype": "float32"},
        output=EncoderOutput(24),
        training=Training(3),
        operations=Operations(("Relu",)),
        golden=Golden(((0.0,),), 1e-4, "2.21.0"),
        files=files,
        decisions=decisions or Decisions(),
    )
