"""Each form of SavedModel has the outcome that the table says, and docs/encoders.md shows it.

The table in docs/encoders.md is written anew by `UPDATE_GOLDENS=1 pytest` of this file.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from encoder_forms import DIMENSION, FORMS, numbers, of_tokens, tokens, words
from frozen import frozen_vectors

from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.models.model_writing import ServingModule
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.pins import pins

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
PAGE = Path(__file__).parents[3] / "docs/encoders.md"
BEGIN, END = "<!-- forms -->\n", "<!-- end of forms -->\n"


def expected_features(kind: str, encoder, samples) -> np.ndarray:
    if kind == "pictures":
        plain = Images((16, 16), (0.0, 1.0))
        return numbers(tf.constant(plain.prepare(samples))).numpy()
    if kind == "texts":
        return words(tf.constant(samples)).numpy()
    if kind == "tokens":
        given = tokens(tf.constant(samples))
        return of_tokens(given["input_word_ids"], given["input_mask"]).numpy()
    raise AssertionError(kind)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.is_taken])
def test_a_form_is_taken_and_gives_the_features_that_it_means(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    source = form.save(tmp_path / "saved") or tmp_path / "saved"
    partial = begin_folder(tmp_path / "encoder", PROVENANCE)

    import_saved_model(ImportRequest(str(source), None, None, "accept", form.facts), partial)

    finish_folder(tmp_path / "encoder", "encoder", pins.FORMAT, PROVENANCE)
    encoder = load_encoder(tmp_path / "encoder", "test")
    assert {key: encoder.pin.input[key] for key in form.expected} == dict(form.expected)
    for key in encoder.pin.input:
        assert key in ("dtype", *encoder.pin.assumptions), key
    samples = encoder.input.samples()
    features = encoder.encode(samples)
    if form.features and form.features != "sounds":
        wanted = expected_features(form.features, encoder, samples)
        np.testing.assert_allclose(features, wanted, atol=form.tolerance)
    # The frozen pass of extraction, in a batch of a fixed size, and the saved model agree.
    np.testing.assert_allclose(frozen_vectors(encoder, samples), features, atol=1e-5)
    head = Head(
        np.eye(features.shape[1], dtype=np.float32),
        np.zeros(features.shape[1], np.float32),
        tuple(map(str, range(features.shape[1]))),
        1.0,
    )
    module = ServingModule(encoder, head)
    module.trace()
    prepared = tf.convert_to_tensor(encoder.prepare(samples))
    exact = np.exp(features - features.max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    np.testing.assert_allclose(module.classify(prepared).numpy(), exact, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if not form.is_taken])
def test_a_form_is_refused_with_the_reason_and_what_can_be_done(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    source = form.save(tmp_path / "saved") or tmp_path / "saved"

    with pytest.raises(BlocksError) as caught:
        import_saved_model(
            ImportRequest(str(source), None, None, "accept", form.facts), tmp_path / "encoder"
        )

    told = str(caught.value)
    assert form.message in told
    assert "Graph execution error" not in told
    assert "\n" not in told
    assert caught.value.remedy


def test_sounds_of_all_forms_have_the_same_features(tmp_path: Path) -> None:
    seen = []
    for name, form in FORMS.items():
        if form.features == "sounds":
            folder = tmp_path / str(len(seen))
            form.save(folder / "saved")
            request = ImportRequest(str(folder / "saved"), None, None, "accept", form.facts)
            (folder / "encoder").mkdir()
            pin = import_saved_model(request, folder / "encoder")
            seen.append((name, np.array(pin.golden.values)))
    assert len(seen) == 3
    for name, values in seen[1:]:
        np.testing.assert_allclose(values, seen[0][1], atol=1e-3, err_msg=name)


def test_the_page_shows_the_table_of_forms() -> None:
    rows = [f"| {name} | {form.outcome} |" for name, form in FORMS.items()]
    table = "\n".join(["| form | outcome |", "|---|---|", *rows, ""])
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    shown, _, after = rest.partition(END)
    if os.environ.get("UPDATE_GOLDENS"):
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")
    else:
        assert shown == table


def test_a_classifier_is_noted_with_the_layer_below(tmp_path: Path) -> None:
    FORMS["a classifier"].save(tmp_path / "saved")
    request = ImportRequest(str(tmp_path / "saved"), None, None, "accept")
    (tmp_path / "encoder").mkdir()
    pin = import_saved_model(request, tmp_path / "encoder")
    assert pin.notes is not None
    assert "probabilities of 10 classes, which sum to 1; the layer below, " in pin.notes[0]
    assert f"({DIMENSION} features), would be better features" in pin.notes[0]
