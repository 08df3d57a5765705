import io

import numpy as np
import pytest
from PIL import Image

from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.tf.tensorflow_setup import tf

IMAGES = Images((20, 30), (0.0, 1.0))
SMOOTH = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
).resize((61, 47), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sixteen_bit() -> Image.Image:
    grey = np.asarray(SMOOTH.convert("L")).astype(np.uint16) * 257
    return Image.fromarray(grey)


FILES = {
    "jpeg": encoded(SMOOTH, "JPEG"),
    "progressive jpeg": encoded(SMOOTH, "JPEG", progressive=True),
    "grey jpeg": encoded(SMOOTH.convert("L"), "JPEG"),
    "cmyk jpeg": encoded(SMOOTH.convert("CMYK"), "JPEG"),
    "png": encoded(SMOOTH, "PNG"),
    "png with alpha": encoded(SMOOTH.convert("RGBA"), "PNG"),
    "palette png": encoded(SMOOTH.convert("P"), "PNG"),
    "grey png": encoded(SMOOTH.convert("L"), "PNG"),
    "16-bit png": encoded(sixteen_bit(), "PNG"),
    "gif": encoded(SMOOTH, "GIF"),
    "animated gif": encoded(SMOOTH, "GIF", save_all=True, append_images=[SMOOTH.rotate(90)]),
    "bmp": encoded(SMOOTH, "BMP"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_image_becomes_three_channels_that_look_like_it(name: str) -> None:
    (image,) = IMAGES.prepare([FILES[name]])

    assert image.shape == (20, 30, 3)
    assert image.dtype == np.float32
    like = SMOOTH.convert("L" if "grey" in name or "16-bit" in name else "RGB").convert("RGB")
    expected = np.asarray(like.resize((30, 20), Image.Resampling.BILINEAR)) / 255
    assert np.abs(image - expected).mean() < (0.06 if "cmyk" in name else 0.03)


def test_the_bare_signature_equals_preparation_on_ordinary_files() -> None:
    ordinary = [FILES[name] for name in FILES if name != "cmyk jpeg"]
    bare = IMAGES.preprocess(tf.constant(ordinary)).numpy()
    assert np.abs(bare - IMAGES.prepare(ordinary)).max() < 7e-6
    assert "rejects AVIF" in IMAGES.bare_limits


def test_eager_traced_and_saved_bare_signatures_agree_to_the_bit(tmp_path) -> None:
    preprocess = Images((32, 32), (-1.0, 1.0)).preprocess
    contents = tf.constant(list(FILES.values()))
    module = tf.Module()
    module.call = tf.function(preprocess, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "saved"))

    eager = preprocess(contents).numpy()
    saved = tf.saved_model.load(str(tmp_path / "saved")).call(contents).numpy()

    assert module.call(contents).numpy().tobytes() == eager.tobytes() == saved.tobytes()
    assert -1.00001 < eager.min() < -0.5 < 0.5 < eager.max() < 1.00001


def test_resize_filters_before_it_leaves_pixels_out() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    content = encoded(Image.fromarray(stripes), "PNG")

    image = Images((8, 8), (0.0, 1.0)).prepare([content])

    assert image[0, :, 1:-1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("size", "fraction"),
    [((478, 640), 1), ((479, 640), 2), ((1000, 1279), 4), ((1920, 1281), 8), ((4800, 6500), 8)],
    ids=str,
)
def test_a_large_jpeg_is_decoded_at_the_fraction_that_is_still_large_enough(
    size: tuple[int, int], fraction: int
) -> None:
    height, width = size
    large = SMOOTH.resize((width, height), Image.Resampling.BICUBIC)
    content = encoded(large, "JPEG")
    images = Images((240, 160), (0.0, 255.0))

    (given,) = images.prepare([content])

    decoded = tf.io.decode_jpeg(content, channels=3, ratio=fraction)
    expected = tf.image.resize(decoded, (240, 160), antialias=True).numpy()
    assert np.abs(given - expected).max() < 7e-6 * 255
    like = tf.image.resize(np.asarray(large), (240, 160), antialias=True).numpy()
    assert np.abs(given - like).mean() < 2
