"""What must not be decoded, told by as little as the header."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.modalities.sounds import Sounds
from tfhub_blocks.compute.modalities.texts import Texts

LIMITS = Limits(max_pixels=10_000, max_seconds=1.0)


def image(kind, size, frames=1):
    file = io.BytesIO()
    pictures = [Image.new("RGB", size, (40 * number, 0, 0)) for number in range(frames)]
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(file, kind, **more)
    return file.getvalue()


def sound(seconds, channels=1, kind="WAV"):
    file = io.BytesIO()
    samples = np.full((int(8000 * seconds), channels), 0.1)
    soundfile.write(file, samples, 8000, format=kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_an_image_is_told_by_its_size(kind):
    assert Images.header_fault(image(kind, (100, 100)), LIMITS) is None
    fault = Images.header_fault(image(kind, (101, 100)), LIMITS)
    assert fault == "the image has 101 x 100 pixels, more than 10000 pixels"


def test_nothing_of_an_image_is_decoded_but_of_a_gif_each_frame_counts():
    whole = image("PNG", (100, 100))
    assert Images.header_fault(whole[: len(whole) // 2], LIMITS) is None
    fault = Images.header_fault(image("GIF", (60, 60), frames=3), LIMITS)
    size = "60 x 60 pixels in each of 3 frames or more"
    assert fault == f"the image has {size}, more than 10000 pixels"


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_sound_is_told_by_its_length(kind):
    assert Sounds.header_fault(sound(0.9, kind=kind), LIMITS) is None
    fault = Sounds.header_fault(sound(1.6, kind=kind), LIMITS)
    assert fault == "the audio lasts 2 seconds, more than 1"


def test_channels_count_as_samples_do():
    fault = Sounds.header_fault(sound(0.9, channels=200), LIMITS)
    assert fault == "the audio has 7200 samples in each of 200 channels: too many"


def test_what_is_something_else_is_said_so():
    assert Images.header_fault(b"%PDF-1.7", LIMITS).startswith("the file is PDF")
    assert Images.header_fault(b"hello", LIMITS) == "the file is not an image"
    assert Sounds.header_fault(b"hello", LIMITS).startswith("the file is not WAV")
    assert Sounds.header_fault(sound(0.1)[:20], LIMITS).startswith("the audio cannot be decoded")
    assert Texts.header_fault(b" \n", LIMITS) == "the text is empty"
