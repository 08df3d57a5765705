"""Augmented views: of each content the same, within the encoder's range, and used in turn."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.texts import Texts
from tfhub_blocks.compute.tuning.caching import Examples
from tfhub_blocks.compute.tuning.views import check_viewable, viewed
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.snapshots import Snapshot

IMAGES = Images((32, 32), (-1.0, 1.0))


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def noisy(seed: int) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 256, (40, 50, 3)))


def views(contents: list[bytes], view: int, images: Images = IMAGES) -> np.ndarray:
    return viewed(images, view)(contents).numpy()


def test_view_depends_on_content_and_number_alone() -> None:
    contents = [noisy(seed) for seed in range(5)]
    first = views(contents, 1)
    np.testing.assert_array_equal(first, views(contents, 1))
    np.testing.assert_array_equal(first[3:4], views(contents[3:4], 1))
    other = views(contents, 2)
    plain = IMAGES.prepare(contents)
    for number in range(5):
        assert np.abs(first[number] - other[number]).mean() > 0.1
        assert np.abs(first[number] - plain[number]).mean() > 0.1


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_views_stay_in_the_range_of_the_encoder(limits: tuple[float, float]) -> None:
    contents = [png(np.full((9, 9, 3), shade)) for shade in (0, 255)] + [noisy(1)]
    made = views(contents, 3, Images((32, 32), limits))
    assert made.min() >= limits[0] - 1e-5 * (limits[1] - limits[0])
    assert made.max() <= limits[1] + 1e-5 * (limits[1] - limits[0])
    assert made.shape == (3, 32, 32, 3)


def test_half_of_views_are_flipped_and_all_are_parts_of_the_image() -> None:
    """Of images that are dark at the left, grey in the middle and light at the right."""
    slope = np.repeat(np.linspace(40, 215, 64), 64).reshape(64, 64).T[..., None].repeat(3, 2)
    shades = np.random.default_rng(0).integers(0, 20, (200, 3))
    made = (views([png(slope + each) for each in shades], 1) + 1) / 2
    rises = made[:, :, -4:].mean(axis=(1, 2, 3)) - made[:, :, :4].mean(axis=(1, 2, 3))
    assert 0.3 < (rises < 0).mean() < 0.7
    # Of half of the area at least, at most a third wider than high, and not of one contrast.
    whole = (215 - 40) / 255
    assert np.abs(rises).min() > 0.5 * 0.8 * whole * 0.8
    assert np.abs(rises).max() < 1.3 * 1.2 * whole
    assert np.abs(rises).std() > 0.03


def test_views_of_texts_are_refused() -> None:
    with pytest.raises(BlocksError) as caught:
        check_viewable(Texts(), "fine_tune")
    assert str(caught.value) == (
        "[fine_tune > augment_views] augmented views of text items do not exist. Expected images. "
        "Set augment_views=0, and mixup above 0 to augment items of any modality."
    )


def test_views_are_cached_of_training_items_alone(
    snapshot: Snapshot,
    tunable: CutEncoder,
    cut: Cut,
    data: Examples,
    cache_of: Callable,
    tmp_path: Path,
) -> None:
    done: list[tuple[int, int]] = []
    cache = cache_of(snapshot, tunable, cut, tmp_path / "cache")
    made = cache.examples(2, None, lambda *n: done.append(n))

    items = 3 * len(data.train) + len(data.validation)
    assert done[-1] == (items, items)
    assert [n for n, _ in done] == sorted(n for n, _ in done)
    assert len(made.views) == 3
    assert {each.ids for each in made.views} == {data.train.ids}
    assert made.validation.ids == data.validation.ids
    plain, *others = (np.concatenate([rows for rows, _ in v.in_order(64)]) for v in made.views)
    np.testing.assert_array_equal(plain, np.concatenate([r for r, _ in data.train.in_order(64)]))
    for other in others:
        assert np.abs(other - plain).mean() > 0.02 * np.abs(plain).mean()


def test_each_epoch_takes_the_next_view(
    tunable: CutEncoder, cut: Cut, data: Examples, classifier_of, tmp_path: Path
) -> None:
    from test_tuning_steps import trained

    class Seen:
        def __init__(self, name: str) -> None:
            self.name = name

        def __len__(self) -> int:
            return len(data.train)

        def __getattr__(self, name: str):
            return getattr(data.train, name)

        def shuffled(self, *given):
            seen.append(self.name)
            return data.train.shuffled(*given)

    seen: list[str] = []
    examples = Examples((Seen("plain"), Seen("view 1")), data.validation)
    trained(classifier_of(tunable, cut), examples, tmp_path)
    assert seen == ["plain", "view 1", "plain"]
