"""`tfhub-blocks encoder compare` on toy encoders and pictures in one colour each.

Its goldens are written anew by `UPDATE_GOLDENS=1 pytest tests/control/test_encoder_compare.py`.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

# Red and green are as bright as each other.
COLOURS = {"blue": (60, 90, 250), "green": (60, 180, 60), "red": (180, 60, 60)}
TOLD = "items are too few to decide between"


def write_pictures(folder: Path, each: int) -> None:
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for index in range(each):
            Image.new("RGB", (9 + index, 9), colour).save(folder / label / f"{index}.png")


@pytest.fixture(scope="session")
def toy_encoders(tmp_path_factory, saved_encoder) -> Path:
    """Pinned: ``colours``, ``brightness``, which cannot see colours, ``words``, ``damaged``."""
    from tfhub_blocks.compute.encoders.pinning import pin_encoder
    from tfhub_blocks.compute.tf.tensorflow_setup import tf
    from tfhub_blocks.records.pins.pins import Decisions

    class Toy(tf.Module):
        def __init__(self, call, spec):
            super().__init__()
            self.call = tf.function(call, input_signature=[spec])

        @tf.function
        def __call__(self, inputs):
            return self.call(inputs)

    def brightness(images):
        grey = tf.reduce_mean(images, [1, 2, 3])
        return tf.stack([grey, grey**2], axis=1)

    def words(texts):
        return tf.cast(tf.strings.length(texts), tf.float32)[:, None] * [[1.0, 2.0]]

    folder = tmp_path_factory.mktemp("toys")
    for name, call, spec in (
        ("brightness", brightness, tf.TensorSpec([None, 32, 32, 3], tf.float32)),
        ("words", words, tf.TensorSpec([None], tf.string)),
    ):
        toy = Toy(call, spec)
        toy.__call__.get_concrete_function(spec)
        tf.saved_model.save(toy, str(folder / "saved" / name))
        pin_encoder(str(folder / "saved" / name), folder / name, Decisions())
    pin_encoder(str(saved_encoder), folder / "colours", Decisions())
    shutil.copytree(folder / "colours", folder / "damaged")
    with (folder / "damaged/saved_model/saved_model.pb").open("ab") as file:
        file.write(b"\0")
    return folder


@pytest.fixture
def compare(project, toy_encoders):
    """Compares toys by name, on 36 pictures."""
    write_pictures(project.folder / "pictures", 12)
    shutil.copytree(toy_encoders, project.folder / "encoders")

    def run(*names, **options):
        options = {"source": "pictures"} | options
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        folders = [name if name.startswith("-") else f"encoders/{name}" for name in names]
        return project.main("encoder", "compare", *folders, *words)

    return run


def normal(text):
    """Without what depends on the machine's speed, and so on columns' widths.

    A SavedModel grows by a few bytes with the functions that its process has traced before.
    """
    text = re.sub(r"\b[0-9a-f]{64}\b", "SHA256", text)
    text = re.sub(r"\b\d+ bytes", "N bytes", text)
    text = re.sub(r"( {2,}\d+) +\d+ +\d+\.\d\d +\d+\.\d{5}\b", r"\1  N  N  N", text)
    return re.sub(r" {2,}", "  ", re.sub(r"^progress: .*\n", "", text, flags=re.M))


def test_ranks_encoders_and_says_what_each_costs(compare, golden):
    outcome = compare("brightness", "colours", price_per_hour=0.9)
    assert outcome.status == 0
    assert "progress: 36/36 items" in outcome.err
    golden("encoder_compare", normal(outcome.out) + normal(outcome.err))


def test_assumptions_about_the_input_are_tried(compare):
    outcome = compare("colours", "--assumptions")
    assert outcome.status == 0
    assert "encoders/colours, by the assumption about its input:\n" in outcome.out
    assert re.search(r"\n  as pinned +1\.000 \[", outcome.out)
    assert "\n  range=0:255,channels=bgr,mean=103.939:116.779:123.68 " in outcome.out
    assert outcome.out.endswith("no other assumption is clearly better\n")


def test_record_agrees_with_itself(compare):
    outcome = compare("brightness", "colours", "--json", price_per_hour=0.9, currency="USD")
    record = json.loads(outcome.out)
    assert (record["items"], record["currency"]) == (36, "USD")
    first, second = record["encoders"]
    assert (first["encoder"], second["encoder"]) == ("encoders/colours", "encoders/brightness")
    assert (first["accuracy"]["value"], first["dimension"]) == (1.0, 24)
    assert second["accuracy"]["value"] == pytest.approx(1 / 3)
    assert second["first_is_ahead_by"]["value"] == pytest.approx(2 / 3)
    for encoder in (first, second):
        seconds = encoder["seconds_per_1000_items"]
        assert seconds == pytest.approx(1000 / encoder["items_per_s"])
        assert encoder["price_per_1000_items"] == pytest.approx(seconds / 3600 * 0.9)
        low, value, high = (encoder["accuracy"][key] for key in ("low", "value", "high"))
        assert low <= value <= high


@pytest.mark.slow
def test_encoders_that_differ_by_chance_alone_are_named(compare):
    outcome = compare("colours", "colours")
    assert f"{TOLD} encoders/colours and encoders/colours\n" in outcome.out
    assert TOLD not in compare("colours", "brightness").out


def test_what_is_wrong_with_one_encoder_hides_no_other(compare, golden):
    outcome = compare("words", "damaged", "colours", "absent", price_per_hour=1)
    assert outcome.status == 1
    assert re.search(r"^encoders/colours +1\.000", outcome.out, re.M)
    golden("encoder_compare_faults", normal(outcome.err))


def test_draw_depends_on_contents_alone_and_is_even(compare, project):
    def digest(**options):
        return json.loads(compare("colours", "--json", **options).out)["draw_digest"]

    asked = {"items": 10}
    first = digest(**asked)
    for index, path in enumerate(sorted(Path("pictures").glob("*/*.png"))):
        path.rename(path.with_name(f"x{(index * 7) % 36}.png"))
    assert digest(**asked) == first
    assert digest(items=11) != first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": 3}, "--items] --items 3 is too small. Expected 4 or more"),
        (
            {"price_per_hour": -1},
            "--price-per-hour] --price-per-hour -1.0 is too small. Expected more than 0",
        ),
        ({"source": "nowhere"}, "'nowhere' does not exist"),
        ({"items": 4}, "a sample of 4 has 4 items of 3 classes. Expected two classes or more, and"),
    ],
)
def test_wrong_request_is_told_in_one_line(compare, options, message):
    outcome = compare("colours", **options)
    assert (outcome.status, outcome.out) == (2, "")
    error = outcome.err.splitlines()[-1]
    assert error.startswith("error: [")
    assert message in error
