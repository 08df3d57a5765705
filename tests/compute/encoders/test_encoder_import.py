import io
import shutil
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import soundfile
from frozen import frozen_vectors

from tfhub_blocks.compute.encoders.encoder import Encoder, load_encoder
from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.models.model_writing import write_model
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.models import MODEL
from tfhub_blocks.records.pins import pins
from tfhub_blocks.records.pins.pins import EncoderOutput, Operations, Pin, Training, read_pin

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


def imported(
    folder: Path,
    source: Path | None = None,
    handle: str | None = None,
    pin: Path | None = None,
    unpinned: str = "refuse",
    facts: str | None = None,
) -> Pin:
    folder.mkdir(parents=True)
    given = [None if value is None else str(value) for value in (source, handle, pin)]
    return import_saved_model(ImportRequest(*given, unpinned, facts), folder)


def saved(folder: Path, call, *specs, **signatures) -> Path:
    """A tf.Module with ``__call__`` traced for the specs."""

    class Module(tf.Module):
        @tf.function
        def __call__(self, *inputs):
            return call(*inputs)

    module = Module()
    module.__call__.get_concrete_function(*specs)
    tf.saved_model.save(module, str(folder), **signatures)
    return folder


FREE_IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32)


def test_a_pinned_encoder_is_imported_again_to_the_same_bytes(
    imported_encoder: Path, tmp_path: Path
) -> None:
    pin = imported(tmp_path / "again", imported_encoder)

    assert pin == read_pin(imported_encoder / "encoder.toml")
    assert (tmp_path / "again/encoder.toml").read_bytes() == (
        imported_encoder / "encoder.toml"
    ).read_bytes()
    assert pin.loaded_class == "reusable"
    assert pin.training == Training(3, ("Variable", "Variable"), (1,))
    assert pin.output == EncoderOutput(24)
    assert pin.modality == "image"
    assert pin.input == {"size_px": [32, 32], "range": [0.0, 1.0], "dtype": "float32"}


def test_an_encoder_without_pin_is_refused_unless_accepted(
    saved_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BlocksError, match=r"no pin \(encoder.toml\).*set unpinned=accept once"):
        imported(tmp_path / "refused", saved_encoder)

    pin = imported(tmp_path / "accepted", saved_encoder, unpinned="accept")

    assert imported(tmp_path / "b", saved_encoder, pin=tmp_path / "accepted/encoder.toml") == pin


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: flip(f / "variables/variables.data-00000-of-00001"), "variables.data-00000"),
        (
            lambda f: (f / "variables/variables.index").unlink(),
            "index] file variables/variables.index is missing",
        ),
        (
            lambda f: (f / "saved_model.pb").unlink(),
            "saved_model.pb] file saved_model.pb is missing",
        ),
        (lambda f: (f / "assets").write_bytes(b"x"), "assets] file assets has sha256"),
    ],
)
def test_a_file_that_differs_from_the_pin_is_refused(
    change, message: str, imported_encoder: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(imported_encoder, tmp_path / "source")
    change(source / "saved_model")

    with pytest.raises(BlocksError, match=message) as caught:
        imported(tmp_path / "encoder", source)

    assert ". Expected " in str(caught.value)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": EncoderOutput(25)}, "output.dimension] the pin states 25. Expected 24, as in"),
        (
            {"input": {"size_px": [64, 64], "range": [0, 1]}},
            r"size_px] the fact size_px is \[64, 64\]. Expected \[32, 32\], as the SavedModel",
        ),
        ({"training": Training(3, ("Variable",))}, r"training.cuts] the pin states \[\]. Expected"),
        ({"operations": Operations(("Add",))}, r"operations.used] the pin states \['Add'\]. Exp"),
        (
            {"input": {"size_px": [32, 32], "range": [0, 255], "dtype": "float32"}},
            "golden outputs] TensorFlow .* gives values that differ by .*. Expected at most 0.01",
        ),
    ],
)
def test_a_pin_that_says_what_the_encoder_is_not_is_refused(
    change, message: str, imported_encoder: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(imported_encoder, tmp_path / "source")
    replace(read_pin(source / "encoder.toml"), **change).write(source / "encoder.toml")

    with pytest.raises(BlocksError, match=message):
        imported(tmp_path / "encoder", source)


def test_exactly_one_origin_is_wanted(saved_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(BlocksError, match=r"neither source nor handle is set\. Expected exactly"):
        imported(tmp_path / "a")
    with pytest.raises(BlocksError, match=r"both source and handle are set\. Expected exactly"):
        imported(tmp_path / "b", saved_encoder, "https://tfhub.dev/a/b/1")


def test_a_free_image_size_is_what_is_asked_for(tmp_path: Path) -> None:
    source = saved(tmp_path / "free", lambda x: tf.reduce_mean(x, [1, 2]), FREE_IMAGES)

    default = imported(tmp_path / "a", source, unpinned="accept")
    asked = imported(tmp_path / "b", source, unpinned="accept", facts="size_px=96:96")

    assert (default.input["size_px"], asked.input["size_px"]) == ([224, 224], [96, 96])
    with pytest.raises(
        BlocksError, match=r"facts\] facts are 'size_px=64:64', but the encoder has a pin"
    ):
        imported(tmp_path / "c", source, pin=tmp_path / "b/encoder.toml", facts="size_px=64:64")


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "saved_model.pb").write_bytes(b"not a protobuf"),
        lambda f: (f / "saved_model.pb").write_bytes((f / "saved_model.pb").read_bytes()[:4000]),
        lambda f: (f / "saved_model.pb").write_bytes(b""),
        lambda f: shutil.rmtree(f / "variables"),
        lambda f: (f / "variables/variables.index").write_bytes(b"junk"),
        lambda f: (f / "variables/variables.data-00000-of-00001").write_bytes(b""),
    ],
)
def test_a_corrupt_saved_model_is_told_in_one_line(
    damage, saved_encoder: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(saved_encoder, tmp_path / "source")
    damage(source)

    with pytest.raises(BlocksError, match=r"load this SavedModel \(|not load|serve as") as caught:
        imported(tmp_path / "encoder", source, unpinned="accept")

    assert "\n" not in str(caught.value)


def unfit_models() -> dict[str, tuple]:
    images = tf.TensorSpec([None, 32, 32, 3], tf.float32)
    ids = tf.TensorSpec([None, 128], tf.int32)
    return {
        "feature maps": (lambda x: x[:, ::2], "output float32", images),
        "token ids": (
            lambda a, b: tf.cast(a + b, tf.float32),
            r"int32\[None, 128\], int32",
            ids,
            ids,
        ),
        "four channels": (
            lambda x: tf.reduce_mean(x, [1, 2]),
            r"inputs float32\[None, 32, 32, 4\]",
            tf.TensorSpec([None, 32, 32, 4], tf.float32),
        ),
    }


@pytest.mark.parametrize("name", unfit_models())
def test_what_gives_no_vector_an_item_is_refused_with_its_signature(
    name: str, tmp_path: Path
) -> None:
    call, seen, *specs = unfit_models()[name]
    source = saved(tmp_path / "model", call, *specs)

    with pytest.raises(BlocksError, match=f"cannot serve as an encoder: it has .*{seen}"):
        imported(tmp_path / "encoder", source, unpinned="accept")


def test_text_with_a_vocabulary_is_encoded_frozen_and_served(tmp_path: Path) -> None:
    class Words(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            ids = tf.constant([1, 2], tf.int64)
            words = tf.lookup.KeyValueTensorInitializer(["good", "bad"], ids)
            self.table = tf.lookup.StaticHashTable(words, 0)
            self.vectors = tf.Variable([[0.0, 0.0], [1.0, 2.0], [-1.0, 3.0]])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            ids = self.table.lookup(tf.strings.split(texts))
            return tf.reduce_sum(tf.gather(self.vectors, ids.to_tensor()), 1)

    tf.saved_model.save(Words(), str(tmp_path / "words"))
    folder = tmp_path / "encoder"
    request = ImportRequest(str(tmp_path / "words"), None, None, "accept")
    pin = import_saved_model(request, begin_folder(folder, PROVENANCE))
    finish_folder(folder, "encoder", pins.FORMAT, PROVENANCE)
    encoder = load_encoder(folder, "test")

    assert (pin.modality, pin.output.dimension) == ("text", 2)
    answer = frozen_vectors(encoder, [b"good bad", b"bad", b"neither"])
    assert answer.tolist() == [[0, 5], [-1, 3], [0, 0]]

    model = served(encoder, tmp_path / "model")
    assert [c.type.name for c in model.metadata.get_input_schema().inputs] == ["string"]
    answers = model.predict(["good bad", "bad", "\N{PARTY POPPER} \0 good", "neither"])
    expected = [1 / (1 + np.exp(few - many)) for few, many in ((0, 5), (-1, 3), (1, 2), (0, 0))]
    assert answers["label"].tolist()[:3] == ["many", "many", "many"]
    np.testing.assert_allclose([row[1] for row in answers["probabilities"]], expected, rtol=1e-5)


def served(encoder: Encoder, folder: Path) -> Any:
    """A model whose head tells which of the encoder's two features is larger."""
    head = Head(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), ("few", "many"), 1.0)
    write_model(
        begin_folder(folder, PROVENANCE),
        encoder,
        head,
        {"preprocessing": dict(encoder.input.describe())},
    )
    finish_folder(folder, "model", MODEL, PROVENANCE)
    return mlflow.pyfunc.load_model(str(folder))


def test_sounds_are_encoded_frozen_and_served_with_what_decodes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved(
        tmp_path / "loudness",
        lambda windows: tf.stack(
            [tf.reduce_mean(tf.abs(windows), 1), tf.reduce_max(windows, 1) * 0.6], 1
        ),
        tf.TensorSpec([None, 400], tf.float32),
    )
    partial = begin_folder(tmp_path / "encoder", PROVENANCE)
    request = ImportRequest(str(source), None, None, "accept", "rate_hz=8000")
    pin = import_saved_model(request, partial)
    finish_folder(tmp_path / "encoder", "encoder", pins.FORMAT, PROVENANCE)
    encoder = load_encoder(tmp_path / "encoder", "test")
    assert (pin.modality, pin.output.dimension) == ("audio", 2)

    time = np.arange(22050) / 22050
    tone, steady = np.sin(2 * np.pi * 300 * time) / 2, np.full(22050, 0.4)
    sounds = []
    for samples, kind in ((tone, "FLAC"), (steady, "WAV"), (tone, "MP3")):
        file = io.BytesIO()
        soundfile.write(file, samples, 22050, format=kind)
        sounds.append(file.getvalue())
    features = encoder.encode(sounds)
    np.testing.assert_allclose(frozen_vectors(encoder, sounds), features, rtol=1e-5)

    with monkeypatch.context() as elsewhere:
        # As if our library were not installed, where the model is loaded and asked.
        model = served(encoder, tmp_path / "model")
        for name in [name for name in sys.modules if name.partition(".")[0] == "tfhub_blocks"]:
            elsewhere.setitem(sys.modules, name, None)
        model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
        answers = model.predict(sounds)
    assert [str(c.type) for c in model.metadata.get_input_schema().inputs] == ["Any"]
    assert answers["label"].tolist() == ["few", "few", "few"]
    expected = 1 / (1 + np.exp(features[:, 0] - features[:, 1]))
    np.testing.assert_allclose([row[1] for row in answers["probabilities"]], expected, rtol=1e-5)


def test_a_flipped_byte_in_an_imported_encoder_is_found_before_it_is_loaded(
    imported_encoder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(imported_encoder, tmp_path / "encoder")
    flip(folder / "saved_model/variables/variables.data-00000-of-00001")

    with pytest.raises(BlocksError, match=r"] file .* has sha256 .*\. Expected .*, as pinned"):
        load_encoder(folder, "test")


@pytest.fixture
def server(saved_encoder: Path, tmp_path: Path) -> Iterator[str]:
    """Serves archives as tfhub.dev does: at the handle itself, by a query."""
    archive = tmp_path / "small.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(saved_encoder, ".")
    answers = {
        "/someone/small/1": (200, archive.read_bytes()),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            asked = query == "tf-hub-format=compressed"
            status, body = answers.get(path, (404, b"")) if asked else (400, b"")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_a_handle_is_downloaded_and_held_against_its_pin(
    server: str, imported_encoder: Path, tmp_path: Path
) -> None:
    handle = f"{server}/someone/small/1"
    pin = imported(tmp_path / "a", handle=handle, unpinned="accept")

    assert (pin.name, pin.handle) == ("someone-small-1", handle)
    assert pin.digest == read_pin(imported_encoder / "encoder.toml").digest
    again = imported(tmp_path / "b", handle=handle, pin=tmp_path / "a/encoder.toml")
    assert again == pin
