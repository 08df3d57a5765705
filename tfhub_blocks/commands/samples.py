"""``samples``: sample data and encoders from installed packages, without further downloads."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE

# By the name of the sample: the help in one line, and the full description.
DESCRIPTIONS = {
    "images": (
        "Write about 900 OpenMoji images in six classes.",
        "Write about 900 OpenMoji images (CC BY-SA 4.0) in six classes, with one folder for each "
        "class. To use your own data, pass a folder of the same layout with --set source=DIR.",
    ),
    "text": (
        "Write a table of about 900 emoji names in six classes.",
        "Write a table of about 900 emoji names, labelled with their Unicode group. To use your "
        "own data, pass a folder with a table of the same columns with --set source=DIR.",
    ),
    "audio": (
        "Write 280 synthesised notes in seven classes.",
        "Write 280 synthesised notes as WAV, FLAC and MP3, with one folder for each note. To use "
        "your own data, pass a folder of the same layout with --set source=DIR.",
    ),
    "encoder": (
        "Write EfficientNet-Lite0 with ImageNet weights, pinned.",
        "Write EfficientNet-Lite0 with its ImageNet weights (Apache-2.0) as a pinned SavedModel in "
        "the style of TF Hub. With an internet connection, you can run a pipeline with the TF Hub "
        "handle instead: "
        "--set handle=https://tfhub.dev/tensorflow/efficientnet/lite0/feature-vector/2",
    ),
    "text-encoder": (
        "Write the sentence encoder all-MiniLM-L6-v2, pinned.",
        "Write the sentence encoder all-MiniLM-L6-v2 (Apache-2.0) as a pinned SavedModel, with its "
        "preprocessor in the same folder, as TF Hub publishes BERT.",
    ),
    "audio-encoder": (
        "Write the note recogniser Basic Pitch, pinned.",
        "Write the note recogniser Basic Pitch (Apache-2.0) with a pin, as its package ships it.",
    ),
}


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    samples = commands.add_parser(
        "samples", help="Write sample data and encoders from installed packages."
    ).add_subparsers(metavar="SAMPLE", required=True)
    for what, (line, description) in DESCRIPTIONS.items():
        parser = samples.add_parser(what, help=line, description=description)
        parser.add_argument("folder", metavar="DIR", type=Path, help="new folder for the sample")
        parser.set_defaults(command=_DATA.get(what, _encoder), what=what)


def _images(options: argparse.Namespace) -> int:
    from tfhub_blocks.records.base.progress import Progress
    from tfhub_blocks.samples.sample_images import write_sample_images

    count = write_sample_images(options.folder, progress=Progress("images"))
    print(f"{options.folder}: {count} images, OpenMoji, CC BY-SA 4.0 (ATTRIBUTION.txt)")
    return DONE


def _text(options: argparse.Namespace) -> int:
    from tfhub_blocks.samples.sample_texts import write_sample_texts

    print(f"{options.folder}: {write_sample_texts(options.folder)} emoji names")
    return DONE


def _audio(options: argparse.Namespace) -> int:
    from tfhub_blocks.records.base.progress import Progress
    from tfhub_blocks.samples.sample_sounds import write_sample_sounds

    count = write_sample_sounds(options.folder, Progress("sounds"))
    print(f"{options.folder}: {count} notes")
    return DONE


def _encoder(options: argparse.Namespace) -> int:
    name = "image_encoder" if options.what == "encoder" else options.what.replace("-", "_")
    module = import_module(f"tfhub_blocks.samples.{name}")
    pin = module.write_sample(options.folder)
    print(f"{options.folder}: {pin.name}, {pin.output.dimension} features, digest {pin.digest}")
    return DONE


_DATA = {"images": _images, "text": _text, "audio": _audio}
