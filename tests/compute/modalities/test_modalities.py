"""What holds for every modality."""

import json

import pytest

from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.encoder_inputs import read_input
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Limits, Modality
from tfhub_blocks.compute.modalities.sounds import Sounds
from tfhub_blocks.compute.modalities.texts import Texts
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError

LIMITS = Limits(max_pixels=1_000_000, max_seconds=10)
INPUTS = [Images((20, 30), (0.0, 1.0)), Texts(), Sounds((-1,), 16000)]


def test_every_modality_that_encoders_take_is_tried_below() -> None:
    assert {type(each) for each in INPUTS} == set(MODALITIES.values()) - {Modality}


@pytest.mark.parametrize("given", INPUTS, ids=lambda each: each.name)
def test_samples_are_items_and_can_be_decoded(given: Modality) -> None:
    decoded = [given.decode(sample) for sample in given.samples()]

    assert len(decoded) > 2
    assert [given.content_fault(sample, LIMITS) for sample in given.samples()] == [None] * len(
        decoded
    )
    assert given.samples() == given.samples()
    stacked = given.stacked(decoded)
    assert stacked.shape == given.spec(len(decoded)).shape
    assert stacked.dtype == given.spec(None).dtype


@pytest.mark.parametrize("given", INPUTS, ids=lambda each: each.name)
def test_a_description_is_json_and_names_the_modality(given: Modality) -> None:
    assert json.loads(json.dumps(given.describe()))["modality"] == given.name


@pytest.mark.parametrize("given", INPUTS, ids=lambda each: each.name)
def test_an_item_is_shown_as_media_or_as_text(given: Modality) -> None:
    for sample in given.samples():
        shown = given.shown(sample)
        assert bool(shown.text) != bool(shown.media)
        assert bool(shown.media) == bool(shown.media_type)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (tf.TensorSpec([None, 32, 32, 3], tf.float32), "image"),
        (tf.TensorSpec([None, None, None, 3], tf.float32), "image"),
        (tf.TensorSpec([None], tf.string), "text"),
        (tf.TensorSpec([None], tf.float32), "audio"),
        (tf.TensorSpec([None, None], tf.float32), "audio"),
        (tf.TensorSpec([None, 16000], tf.float32), "audio"),
        (tf.TensorSpec([None, 16000, 1], tf.float32), "audio"),
        (tf.TensorSpec([None, 32, 32, 1], tf.float32), "image"),
        (tf.TensorSpec([None, 32, 32, 3], tf.uint8), "image"),
        (tf.TensorSpec([None, 3, 32, 32], tf.bfloat16), "image"),
        (tf.TensorSpec([None, 32, 32, 4], tf.float32), None),
        (tf.TensorSpec([1, 32, 32, 3], tf.float32), "image"),
        (tf.TensorSpec([None, 128], tf.int32), None),
        (tf.TensorSpec([None, 5, 7], tf.float32), None),
        (tf.TensorSpec([16000], tf.float32), "audio"),
        (tf.TensorSpec([128], tf.float32), None),
        (tf.TensorSpec([], tf.string), "text"),
        (tf.TensorSpec([None, 1], tf.string), "text"),
        (tf.TensorSpec([None, 2], tf.string), None),
        (tf.TensorSpec(None, tf.float32), None),
    ],
    ids=str,
)
def test_an_input_is_of_one_modality_at_most(spec, name: str | None) -> None:
    fit = [kind.name for kind in MODALITIES.values() if kind.recognise(spec) is not None]
    assert fit == ([] if name is None else [name])


def test_text_stays_as_it_is() -> None:
    texts = ["grün", "", "a\0b"]
    answer = Texts().preprocess(tf.constant(texts))
    assert [text.decode() for text in answer.numpy()] == texts


@pytest.mark.parametrize("text", [" \n\t", "\u00a0\u2003"])
def test_text_of_white_space_is_empty(text: str) -> None:
    assert Texts.content_fault(text.encode(), LIMITS) == "the text is empty"


@pytest.mark.parametrize(
    ("modality", "record", "message"),
    [
        (
            "video",
            {},
            "modality] no encoder takes 'video'. Expected one of image, text, audio. Corr",
        ),
        (
            "bytes",
            {},
            "modality] no encoder takes 'bytes'. Expected one of image, text, audio. Corr",
        ),
        (
            "image",
            {"size_px": [2], "range": [0, 1]},
            "input.size_px] input.size_px is [2]. Expected a list",
        ),
        (
            "image",
            {"size_px": [-1, 2], "range": [0, 1]},
            "input.size_px] [-1, 2] has a side below 1. Expected [height, width], 1 or more each. "
            "Correct size_px in the pin",
        ),
        (
            "image",
            {"size_px": [2, 2], "range": [1, 0]},
            "input.range] [1.0, 0.0] is an empty range. Expected [",
        ),
        ("image", {"size_px": [2, 2]}, "input.range] key 'input.range' is missing"),
        (
            "image",
            {"rate_hz": 16000},
            "input.rate_hz] key 'input.rate_hz' is unknown. Expected one of size_px",
        ),
        (
            "text",
            {"dtype": "float32"},
            "input.dtype] input.dtype is 'float32'. Expected one of string",
        ),
        (
            "audio",
            {"shape": [-1], "rate_hz": 1},
            "input.rate_hz] 1 is out of range. Expected 1000 to",
        ),
        (
            "audio",
            {"shape": [-1, 0], "rate_hz": 8000},
            "input.shape] [-1, 0] is no shape of waveforms. Expected [-1]",
        ),
        (
            "audio",
            {"shape": [4], "rate_hz": 8000},
            "input.shape] [4] is no shape of waveforms. Expected [-1], [",
        ),
        (
            "audio",
            {"shape": [-1], "rate_hz": "16k"},
            "input.rate_hz] input.rate_hz is '16k'. Expected an",
        ),
    ],
)
def test_a_pin_whose_input_was_edited_by_hand_is_refused(modality, record, message) -> None:
    with pytest.raises(BlocksError) as caught:
        read_input(modality, record, "encoder.toml")

    assert f"[encoder.toml > {message}" in str(caught.value)
    assert "\n" not in str(caught.value)
