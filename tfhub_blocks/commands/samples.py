"""``samples``: data and an encoder that need no download but the installed packages."""

import argparse
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    samples = commands.add_parser(
        "samples", help="write sample data that needs no download but the installed packages"
    ).add_subparsers(metavar="WHAT", required=True)
    images = samples.add_parser(
        "images",
        help="about 900 OpenMoji pictures in six classes",
        description="Write about 900 OpenMoji pictures (CC BY-SA 4.0) in six classes, one folder "
        "a class. With your own data, give --set source=DIR a folder of the same layout.",
    )
    images.add_argument("folder", metavar="DIR", type=Path)
    images.set_defaults(command=_sample_images)
    encoder = samples.add_parser(
        "encoder",
        help="EfficientNet-Lite0 with ImageNet weights, pinned",
        description="Write EfficientNet-Lite0 with its ImageNet weights (Apache-2.0) as a pinned "
        "TF Hub style SavedModel. With internet, run a pipeline with the TF Hub handle instead: "
        "--set handle=https://tfhub.dev/tensorflow/efficientnet/lite0/feature-vector/2",
    )
    encoder.add_argument("folder", metavar="DIR", type=Path)
    encoder.set_defaults(command=_sample_encoder)


def _sample_images(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.samples.images import write_sample_images
    from tfhub_blocks.records.progress import Progress

    count = write_sample_images(options.folder, progress=Progress("images"))
    print(f"{options.folder}: {count} images, OpenMoji, CC BY-SA 4.0 (ATTRIBUTION.txt)")
    return DONE


def _sample_encoder(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.samples.encoder import write_pinned_sample_encoder

    pin = write_pinned_sample_encoder(options.folder)
    print(f"{options.folder}: {pin.name}, {pin.output.dimension} features, digest {pin.digest}")
    return DONE
