"""One answer or one refusal for a content, whichever door of a model it comes through.

UPDATE_GOLDENS=1 writes what each door does into docs/doors.md.
"""

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from doors import PROVENANCE, Doors, Outcome, as_json, body_of, in_base64, json_body, one
from encoder_forms import FORMS
from PIL import Image
from serving_process import ROOT

import tfhub_blocks.compute.serving.bodies as bodies
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.models.model_writing import write_model
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.formats.models import MODEL
from tfhub_blocks.records.pins import pins

PAGE = ROOT / "docs/doors.md"
LIMIT = "the text is longer than 100000 bytes"
SIDES = (40, 30)


def picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    levels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = Image.fromarray(levels).resize(SIDES, Image.Resampling.BICUBIC)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(SIDES))
    file = io.BytesIO()
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


def deep_picture() -> bytes:
    levels = np.random.default_rng(1).integers(0, 2**16, (24, 20, 3)).astype(np.uint16)
    return tf.io.encode_png(levels).numpy()


def turned_picture() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture("JPEG", exif=exif)


def pictures() -> dict[str, bytes]:
    return {
        "JPEG": picture("JPEG"),
        "JPEG, grey": picture("JPEG", "L"),
        "JPEG, CMYK": picture("JPEG", "CMYK"),
        "JPEG, turned by EXIF": turned_picture(),
        "PNG": picture("PNG"),
        "PNG, 16 bits": deep_picture(),
        "PNG, palette": picture("PNG", "P"),
        "PNG, alpha": picture("PNG", "RGBA"),
        "WebP": picture("WEBP"),
        "GIF": picture("GIF"),
        "BMP": picture("BMP"),
        "TIFF": picture("TIFF"),
        "ICO": picture("ICO"),
        "no picture": b"hello world",
        "broken PNG": picture("PNG")[:-30],
        "broken JPEG": picture("JPEG")[:200],
        "empty": b"",
    }


def texts() -> dict[str, bytes]:
    found = {
        "plain": "a cat sat on the mat",
        "other scripts": "Grüße, 世界! 🙂 Привет",
        "two lines": "two\nlines",
        "a long word": "x" * 2000,
        "a zero byte": "a\0b",
        "a megabyte": "many words " * 100_000,
        "white space": "  ",
        "empty": "",
    }
    return {name: text.encode() for name, text in found.items()}


SUBTYPES = (
    *(("WAV", it) for it in ("PCM_16", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")),
    *(("WAV", "ALAW"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
    *(("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16")),
    *(("W64", "PCM_16"), ("RF64", "PCM_16")),
)


def sound(samples: Any, kind: str = "WAV", subtype: str = "PCM_16", rate_hz: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def sounds() -> dict[str, bytes]:
    noise = np.random.default_rng(0).normal(0, 0.05, 8000)
    wave = (0.3 * np.sin(np.arange(8000) / 10) + noise).astype(np.float32)
    return {
        **{f"{kind}, {subtype}": sound(wave, kind, subtype) for kind, subtype in SUBTYPES},
        "two channels, 44.1 kHz": sound(np.stack([wave, wave[::-1]], 1), rate_hz=44100),
        "silence": sound(0 * wave),
        "no sound": b"hello world",
        "broken WAV": sound(wave)[:-300],
        "empty": b"",
    }


def made(form: str, folder: Path) -> Doors:
    """The doors of a model whose encoder has a form."""
    FORMS[form].save(folder / "saved")
    partial = begin_folder(folder / "encoder", PROVENANCE)
    request = ImportRequest(str(folder / "saved"), None, None, "accept", FORMS[form].facts or None)
    import_saved_model(request, partial)
    finish_folder(folder / "encoder", "encoder", pins.FORMAT, PROVENANCE)
    encoder = load_encoder(folder / "encoder", "test")
    count = encoder.encode(encoder.input.samples()[:1]).shape[1]
    weights = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    head = Head(weights, np.zeros(2, np.float32), ("no", "yes"), 1.0)
    facts = {"encoder_digest": encoder.digest, "snapshot_digest": "0" * 64}
    write_model(begin_folder(folder / "model", PROVENANCE), encoder, head, facts)
    learned = replace(PROVENANCE, facts={"temperature": 1.0})
    finish_folder(folder / "model", "model", MODEL, learned)
    return Doors(folder / "model", folder / "encoder", folder)


@pytest.fixture
def doors(request: pytest.FixtureRequest, tmp_path: Path) -> Doors:
    if request.param == "pictures":
        model = request.getfixturevalue("colours_model")
        return Doors(model, request.getfixturevalue("imported_encoder"), tmp_path)
    forms = {"texts": "texts", "sounds": "waveforms of any length"}
    return made(forms[request.param], tmp_path)


CONTENTS = {"pictures": pictures, "texts": texts, "sounds": sounds}
# What the signature of the SavedModel takes, as its description says.
BARE = {
    "pictures": "The signature decodes by TensorFlow: no TIFF, no orientation, no transparency.",
    "texts": "The signature answers an empty text.",
    "sounds": "The signature takes decoded waveforms, float32 as bytes, and no files.",
}


def asked(doors: Doors, contents: dict[str, bytes]) -> dict[str, dict[str, Outcome]]:
    """The outcome of each content at each door."""
    text: Callable[[bytes], str] = bytes.decode if doors.is_text else in_base64

    def each(ask: Callable[[bytes], Any]) -> dict[str, Outcome]:
        return {name: one(ask(content)) for name, content in contents.items()}

    fast = doors.compiled
    alone = {
        "`serve` with OpenVINO alone": each(
            lambda it: doors.entry(*body_of(it, doors.is_text), program=fast)
        )
    }
    return {
        "snapshot, features, `evaluate`": doors.extraction(contents),
        "`score_batch`": doors.score_batch(contents),
        "`serve`, Azure's server: a file": each(
            lambda it: doors.entry(*body_of(it, doors.is_text))
        ),
        "`serve`, Azure's server: JSON": each(lambda it: doors.entry(*json_body([text(it)]))),
        **(alone if fast else {}),
        "MLflow's server": each(
            lambda it: doors.mlflow_server(as_json([text(it)], "dataframe_split"))
        ),
        "`pyfunc.predict`": each(lambda it: doors.predict([it.decode() if doors.is_text else it])),
        "SavedModel's signature": each(doors.signature),
    }


def are_equal(outcome: Outcome, wanted: Outcome) -> bool:
    if isinstance(wanted, str) or isinstance(outcome, str):
        return isinstance(wanted, str) and isinstance(outcome, str) and outcome == wanted
    return bool(np.allclose(outcome, wanted, atol=1e-5))


def cell(outcome: Outcome, wanted: Outcome) -> str:
    if isinstance(outcome, str):
        return "the same refusal" if are_equal(outcome, wanted) else f"refused: {outcome}"
    return "the same" if are_equal(outcome, wanted) else "another answer"


@pytest.mark.parametrize(
    ("kind", "doors"),
    [
        pytest.param("pictures", "pictures", id="pictures"),
        pytest.param("texts", "texts", id="texts"),
        pytest.param("sounds", "sounds", id="sounds"),
    ],
    indirect=["doors"],
)
def test_each_door_gives_one_answer_or_one_refusal(kind: str, doors: Doors) -> None:
    outcomes = asked(doors, CONTENTS[kind]())
    first, *others = outcomes
    wanted, rows = outcomes[first], []
    for name, expected in wanted.items():
        shown = expected if isinstance(expected, str) else "an answer"
        row = {door: outcomes[door][name] for door in others}
        rows.append(
            f"| {name} | {shown} | {' | '.join(cell(it, expected) for it in row.values())} |"
        )
        for door, outcome in row.items():
            is_limit = isinstance(outcome, str) and outcome.endswith(LIMIT)
            if door != "SavedModel's signature" and not is_limit:
                assert are_equal(outcome, expected), (name, door, outcome, expected)
    head = f"| {kind} | {' | '.join(outcomes)} |"
    lines = [head, "|---" * (len(outcomes) + 1) + "|", *rows, "", BARE[kind]]
    check_page(kind, "\n".join(lines))


def check_page(section: str, text: str) -> None:
    """Compare a section of the page, between its marks, with what the doors did."""
    page = PAGE.read_text(encoding="utf-8")
    start, end = f"<!-- {section}: UPDATE_GOLDENS=1 pytest {TEST} -->\n", f"<!-- end: {section} -->"
    before, _, rest = page.partition(start)
    found, _, after = rest.partition(end)
    if os.environ.get("UPDATE_GOLDENS") == "1":
        PAGE.write_text(f"{before}{start}\n{text}\n\n{end}{after}", encoding="utf-8")
    else:
        assert found.strip() == text


TEST = "tests/compute/serving/test_doors.py"


@pytest.mark.parametrize("doors", ["pictures"], indirect=True)
def test_each_form_of_a_content_gives_the_answer_of_its_bytes(doors: Doors, tmp_path: Path) -> None:
    png, jpeg = picture("PNG"), picture("JPEG")
    [expected] = doors.predict([png])
    digits = in_base64(png)
    (tmp_path / "a.png").write_bytes(png)
    forms: dict[str, Any] = {
        "base64": digits,
        "base64 in lines": "\n".join(digits[at : at + 76] for at in range(0, len(digits), 76)),
        "base64 without padding": digits.rstrip("="),
        "base64 in the alphabet of URLs": digits.translate(str.maketrans("+/", "-_")),
        "a data URL": f"data:image/png;base64,{digits}",
    }
    rows = []
    for name, form in forms.items():
        assert are_equal(one(doors.predict([form])), expected), name
        for shape in bodies.SHAPES:
            assert are_equal(one(doors.entry(*json_body([form], shape))), expected), (name, shape)
            given = one(doors.mlflow_server(as_json([form], shape)))
            # MLflow's server knows four of the shapes; the fifth is Azure ML's.
            assert isinstance(given, str) == (shape == "input_data"), (name, shape)
            assert shape == "input_data" or are_equal(given, expected), (name, shape)
        rows.append(f"| {name} | taken | taken in each shape of JSON that the server knows |")
    column = json.dumps({"inputs": {"contents": [digits]}}).encode()
    assert are_equal(one(doors.entry(column, bodies.JSON_TYPE)), expected)
    assert "un-named" in str(doors.mlflow_server(column))
    local = {
        "bytes": [png],
        "a `pathlib.Path`": [tmp_path / "a.png"],
        "one value, not in a list": png,
        "a column of pandas": pd.Series([png]),
        "a table with one column": pd.DataFrame({"any name": [png]}),
        "an array of objects": np.array([png], object),
    }
    for name, given in local.items():
        assert are_equal(one(doors.predict(given)), expected), name
        rows.append(f"| {name} | taken | |")
    assert doors.predict(pd.DataFrame({"contents": []})) == []
    rows.append("| a table without rows | no answers | refused: the request has no items |")
    first = pd.DataFrame({"id": [7], "contents": [png]})
    refused = {
        "a table with an id in front": first,
        "a `bytearray` or a `memoryview`": [bytearray(png)],
        "a name of a file": ["photos/a.png"],
        "a number": [1.5],
        "None": [None],
    }
    for name, given in refused.items():
        outcome = one(doors.predict(given))
        assert isinstance(outcome, str), name
        rows.append(f"| {name} | refused: {outcome} | |")
    both = doors.predict([jpeg, png])
    assert are_equal(both[1], expected)
    broken = [jpeg, png[:-30], png]
    told = doors.predict(broken)
    assert told == "item 1: the image is truncated"
    for shape in ("inputs", "dataframe_split"):
        values = [in_base64(it) for it in broken]
        assert doors.entry(*json_body(values, shape)) == told
        assert doors.mlflow_server(as_json(values, shape)) == told
    rows.append(f"| one broken among good ones | refused: {told} | the same refusal |")
    lines = ["| form | `pyfunc.predict` | `serve`, Azure's and MLflow's server |", "|---|---|---|"]
    check_page("forms", "\n".join([*lines, *rows]))
