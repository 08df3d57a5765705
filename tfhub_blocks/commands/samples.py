"""``samples``: data and encoders that need no download but the installed packages."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE

# By what is written: in a line, and in full.
DESCRIPTIONS = {
    "images": (
        "about 900 OpenMoji pictures in six classes",
        "Write about 900 OpenMoji pictures (CC BY-SA 4.0) in six classes, one folder a class. With "
        "your own data, give --set source=DIR a folder of the same layout.",
    ),
    "text": (
        "about 900 names of emoji in six classes",
        "Write a table of about 900 names of emoji and the groups that Unicode has them in. With "
        "your own data, give --set source=DIR a folder with such a table.",
    ),
    "audio": (
        "280 synthesised notes in seven classes",
        "Write 280 synthesised notes as WAV, FLAC and MP3, one folder a note. With your own data, "
        "give --set source=DIR a folder of the same layout.",
    ),
    "encoder": (
        "EfficientNet-Lite0 with ImageNet weights, pinned",
        "Write EfficientNet-Lite0 with its ImageNet weights (Apache-2.0) as a pinned TF Hub style "
        "SavedModel. With internet, run a pipeline with the TF Hub handle instead: "
        "--set handle=https://tfhub.dev/tensorflow/efficientnet/lite0/feature-vector/2",
    ),
    "text-encoder": (
        "the sentence encoder all-MiniLM-L6-v2, pinned",
        "Write all-MiniLM-L6-v2 (Apache-2.0) as a pinned SavedModel, its preprocessor beside it, "
        "as TF Hub has BERT.",
    ),
    "audio-encoder": (
        "Basic Pitch, which hears notes, pinned",
        "Write Basic Pitch (Apache-2.0) as its package ships it, with a pin.",
    ),
}


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    samples = commands.add_parser(
        "samples", help="write sample data that needs no download but the installed packages"
    ).add_subparsers(metavar="WHAT", required=True)
    for what, (line, description) in DESCRIPTIONS.items():
        parser = samples.add_parser(what, help=line, description=description)
        parser.add_argument("folder", metavar="DIR", type=Path)
        parser.set_defaults(command=_DATA.get(what, _encoder), what=what)


def _images(options: argparse.Namespace) -> int:
    from tfhub_blocks.records.base.progress import Progress
    from tfhub_blocks.samples.sample_images import write_sample_images

    count = write_sample_images(options.folder, progress=Progress("images"))
    print(f"{options.folder}: {count} images, OpenMoji, CC BY-SA 4.0 (ATTRIBUTION.txt)")
    return DONE


def _text(options: argparse.Namespace) -> int:
    from tfhub_blocks.samples.sample_texts import write_sample_texts

    print(f"{options.folder}: {write_sample_texts(options.folder)} names of emoji")
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
