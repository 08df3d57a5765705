"""Assumptions about pixels: their sources in the pin, and the test that finds the wrong ones."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfhub_blocks.compute.encoders.encoder import load_pinned
from tfhub_blocks.compute.encoders.pinning import pin_encoder
from tfhub_blocks.compute.encoders.publisher_families import FAMILIES, find_family
from tfhub_blocks.compute.extraction.extraction import Extraction
from tfhub_blocks.compute.extraction.input_trials import (
    PINNED,
    clearly_better,
    could_be_better,
    input_trials,
)
from tfhub_blocks.compute.inference.engine_selection import take_sample
from tfhub_blocks.compute.modalities.images import CAFFE, TORCH, Images
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.pins.pins import Decisions

SIDE = 24
ITEMS = 80
MEANS = ":".join(map(str, TORCH[0]))
DEVIATIONS = ":".join(map(str, TORCH[1]))
CAFFE_FACTS = f"range=0:255,channels=bgr,mean={':'.join(map(str, CAFFE))}"
# For each kind of network: the map of its input to 0..1, the right facts, and wrong ones.
KINDS: Mapping[str, tuple[Any, str, str]] = {
    "bytes": (lambda x: x / 255.0, "range=0:255", "range=0:1"),
    "signs": (lambda x: (x + 1) / 2, "range=-1:1", "range=0:255"),
    "unit": (lambda x: x, "range=0:1", "range=0:255"),
    "torch": (
        lambda x: x * TORCH[1] + TORCH[0],
        f"range=0:1,mean={MEANS},deviation={DEVIATIONS}",
        "range=0:255",
    ),
    "caffe": (lambda x: (x + CAFFE)[..., ::-1] / 255, CAFFE_FACTS, "range=0:1"),
    "blue first": (lambda x: x[..., ::-1], "channels=bgr", "channels=rgb"),
}
# Twelve encoders, by kind and seed.
TWELVE = [
    *(("bytes", seed) for seed in range(4)),
    *(("unit", seed) for seed in range(3)),
    *(("signs", seed) for seed in range(2)),
    ("torch", 0),
    ("caffe", 0),
    ("blue first", 0),
]


def save_network(folder: Path, kind: str, seed: int) -> None:
    """A network that sees contrast: a dead zone below it, and saturation above it."""
    kernel = np.random.default_rng(seed).normal(size=(3, 3, 3, 12))
    kernel -= kernel.mean((0, 1), keepdims=True)
    if kind == "blue first":
        kernel[:, :, 1:] = 0  # it looks at red alone
    undo = KINDS[kind][0]

    class Network(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(kernel.astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32)])
        def __call__(self, inputs):
            # The maximum hides the scaling from whoever reads the graph.
            pixels = undo(tf.maximum(inputs, -1e9))
            seen = tf.abs(tf.nn.conv2d(pixels, self.kernel, 1, "VALID"))
            return tf.reduce_max(tf.minimum(tf.nn.relu(seen - 0.1), 3.0), [1, 2])

    tf.saved_model.save(Network(), str(folder))


def stripes(kind: str) -> tuple[list[tuple[str, bytes]], np.ndarray]:
    """Noisy stripes across or down; for "blue first" in red, over other stripes in blue."""
    rng = np.random.default_rng(5)
    items, targets = [], np.arange(ITEMS) % 2

    def striped(is_down: int) -> np.ndarray:
        row = 127 + 90 * np.sin(np.arange(SIDE) * 1.6 + rng.uniform(0, 6))
        pixels = np.tile(row, (SIDE, 1)) + rng.normal(0, 6, (SIDE, SIDE))
        return pixels if is_down else pixels.T

    for number, target in enumerate(targets):
        channels = [striped(target)] * 3
        if kind == "blue first":
            channels = [channels[0], channels[0] * 0 + 100, striped(int(rng.integers(2)))]
        pixels = np.clip(np.dstack(channels), 0, 255).astype(np.uint8)
        items.append((str(number), png(pixels)))
    return items, targets


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def verdict(folder: Path, facts: str, source: Path, kind: str) -> str | None:
    """The name of an assumption that is clearly better than the pinned facts, if any."""
    pin_encoder(str(source), folder, Decisions(), facts=facts)
    encoder = load_pinned(folder, "test")
    items, targets = stripes(kind)
    tried = {PINNED: encoder, **encoder.alternatives()}
    makers = {name: lambda it=it: it.computation(8, "test") for name, it in tried.items()}
    better = clearly_better(input_trials(makers, items, targets))
    return better.name if better else None


def found_and_accused(folder: Path, networks: list[tuple[str, int]]) -> tuple[list, list]:
    found, accused = [], []
    for number, (kind, seed) in enumerate(networks):
        source = folder / f"saved{number}"
        save_network(source, kind, seed)
        _, right, wrong = KINDS[kind]
        if verdict(folder / f"right{number}", right, source, kind):
            accused.append((kind, seed))
        if verdict(folder / f"wrong{number}", wrong, source, kind):
            found.append((kind, seed))
    return found, accused


def test_a_wrong_range_is_found_and_a_right_one_is_not_accused(tmp_path: Path) -> None:
    networks = [("bytes", 0), ("blue first", 0)]
    found, accused = found_and_accused(tmp_path, networks)
    assert (found, accused) == (networks, [])


@pytest.mark.slow
def test_of_twelve_encoders_ten_wrong_pins_are_found_and_no_right_one_is_accused(
    tmp_path: Path,
) -> None:
    found, accused = found_and_accused(tmp_path, TWELVE)
    assert accused == []
    assert len(found) >= 10, found


def test_a_test_that_cannot_find_anything_is_left_out() -> None:
    targets = np.arange(40) % 2
    assert not could_be_better(np.eye(2)[targets], targets)
    assert could_be_better(np.random.default_rng(0).normal(size=(40, 3)), targets)


class Labelled:
    """As a snapshot: the contents and the classes of its items."""

    def __init__(self, kind: str) -> None:
        self.items, self.classes = stripes(kind)

    def contents(self, rows: np.ndarray) -> list[tuple[str, bytes]]:
        return [self.items[row] for row in rows]

    def targets(self, rows: np.ndarray) -> np.ndarray:
        return self.classes[rows]


def test_extraction_warns_of_an_assumed_range_that_is_clearly_worse(tmp_path: Path) -> None:
    save_network(tmp_path / "saved", "bytes", 0)
    snapshot: Any = Labelled("bytes")
    told = []
    for name, facts in (("assumed", None), ("passed", "range=0:1"), ("right", "range=0:255")):
        pin_encoder(str(tmp_path / "saved"), tmp_path / name, Decisions(), facts=facts)
        encoder = load_pinned(tmp_path / name, "test")
        sample = take_sample(encoder.computation(8, "test"), snapshot.items[:64])
        told.append(Extraction(snapshot, encoder)._worse_assumption(sample))
    assert told[1:] == [None, None]
    assert told[0] is not None
    assert "clearly worse than range=0:255: leave-one-out accuracy 0" in told[0]
    assert told[0].endswith("pin the encoder again with --facts range=0:255")


def test_alternatives_differ_from_the_pin_and_fit_the_channels() -> None:
    plain = Images((8, 8), (0.0, 1.0))
    names = list(plain.alternatives())
    assert names[:2] == ["range=-1:1", "range=0:255"]
    assert {each.channels for each in plain.alternatives().values()} == {"rgb", "bgr"}
    grey = Images((8, 8), (-1.0, 1.0), channels="grey")
    assert list(grey.alternatives()) == ["range=0:1", "range=0:255"]
    assert not Images((8, 8), (0.0, 255.0), "uint8").alternatives()
    assert not Images(dtype="string", encoded="file").alternatives()


SCALINGS = {
    "Rescaling(1/255)": (lambda x: x * (1 / 255) + 0.0, "0:255"),
    "tf mode": (lambda x: x / 127.5 - 1.0, "0:255"),
    "signs": (lambda x: x * 2.0 - 1.0, "0:1"),
    "torch": (lambda x: (x - TORCH[0]) / TORCH[1], "0:1"),
    "caffe": (lambda x: x[..., ::-1] - CAFFE, "0:255"),
    "from signs": (lambda x: (x + 1.0) * 127.5, "-1:1"),
}


@pytest.mark.parametrize("name", SCALINGS)
def test_a_range_is_read_from_the_first_operations(name: str, tmp_path: Path) -> None:
    scale, expected = SCALINGS[name]
    spec = tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32)

    class Module(tf.Module):
        @tf.function(input_signature=[spec])
        def __call__(self, inputs):
            return tf.reduce_mean(tf.nn.relu(scale(inputs)), [1, 2])

    tf.saved_model.save(Module(), str(tmp_path / "saved"))
    pin = pin_encoder(str(tmp_path / "saved"), tmp_path / "pinned", Decisions())

    assert pin.assumptions is not None
    found = pin.assumptions["range"]
    assert (found.value, found.source) == (expected, "graph")
    assert pin.assumptions["channels"].source == "assumed"
    told = pin_encoder(str(tmp_path / "saved"), tmp_path / "told", Decisions(), facts="range=-3:3")
    assert told.assumptions is not None
    assert told.assumptions["range"].text == (
        f"-3:3 (declared with --facts: though the graph suggests {expected})"
    )


@pytest.mark.parametrize(
    ("handle", "name", "fact"),
    [
        (
            "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5",
            "TF Hub",
            "0:1",
        ),
        ("https://tfhub.dev/google/yamnet/1", "YAMNet", 16000),
        ("https://tfhub.dev/google/vggish/1", "VGGish", 16000),
        ("https://tfhub.dev/google/nonsemantic-speech-benchmark/trill/3", "TRILL", 16000),
        ("https://tfhub.dev/google/universal-sentence-encoder/4", "Universal", "English"),
        ("https://tfhub.dev/google/nnlm-en-dim50/2", "NNLM", "in its name"),
        ("https://tfhub.dev/tensorflow/bert_en_uncased_L-12_H-768_A-12/4", "BERT", "vocabulary"),
    ],
)
def test_families_are_known_by_their_address(handle: str, name: str, fact: Any) -> None:
    family = find_family(handle, ())
    assert family is not None
    assert family.name.startswith(name)
    values = [*family.facts.values(), *family.told.values()]
    shown = [":".join(f"{v:g}" for v in it) if isinstance(it, list) else it for it in values]
    assert any(fact == it or str(fact) in str(it) for it in shown)


def test_each_family_names_a_page_and_a_folder_alone_is_none() -> None:
    assert all(family.source.startswith("https://") for family in FAMILIES)
    assert find_family("folder:encoder", ["kernel:0", "bias:0"]) is None
