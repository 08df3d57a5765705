"""What a check is given, and what of it is refused before anything is measured."""

from dataclasses import replace

import numpy as np
import pytest

from tfhub_blocks.compute.evaluation.evaluation_report import FORMAT as EVALUATION
from tfhub_blocks.compute.evaluation.stored_answers import write_answers
from tfhub_blocks.compute.latency.accelerated_model import (
    copy_with_runtime,
    format_of,
    output_digest,
)
from tfhub_blocks.compute.latency.latency_subject import open_subject, parsed, positive, take_sample
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Material, Provenance, read_lineage
from tfhub_blocks.records.formats.models import bare_digest, open_model
from tfhub_blocks.records.formats.runtimes import Runtime
from tfhub_blocks.records.formats.snapshots import open_snapshot

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


@pytest.fixture
def snapshot(coloured_snapshot):
    return open_snapshot(coloured_snapshot, "test")


def report(folder, model_digest, snapshot):
    rows = [row for batch in snapshot.batches() for row in batch.to_pylist()]
    ids = [row["id"] for row in rows if row["split"] == "test"]
    materials = (Material("model", model_digest), Material("snapshot", snapshot.folder.digest))
    made = replace(PROVENANCE, materials=materials)
    numbers = np.arange(3 * len(ids), dtype=np.float32).reshape(-1, 3)
    write_answers(begin_folder(folder, made), ids, numbers)
    finish_folder(folder, "report", EVALUATION, made)
    return numbers


def test_sample_has_what_was_evaluated_row_by_row(tmp_path, colours_model, snapshot):
    subject = open_subject(colours_model, None)
    numbers = report(tmp_path / "report", subject.digest, snapshot)
    sample = take_sample(snapshot, subject, tmp_path / "report")
    np.testing.assert_array_equal(sample.evaluated, numbers[: len(sample.contents)])
    assert not sample.is_text


def test_evaluation_of_another_model_is_refused(tmp_path, colours_model, snapshot):
    report(tmp_path / "report", "0" * 64, snapshot)
    with pytest.raises(BlocksError, match="the report evaluates model 0000"):
        take_sample(snapshot, open_subject(colours_model, None), tmp_path / "report")


def test_either_a_model_or_an_encoder_is_taken(colours_model, imported_encoder):
    assert open_subject(None, imported_encoder).pin is not None
    with pytest.raises(BlocksError, match="neither model nor encoder is set"):
        open_subject(None, None)
    with pytest.raises(BlocksError, match="both model and encoder are set"):
        open_subject(colours_model, imported_encoder)


def test_model_with_a_runtime_is_a_model_and_tells_what_it_is_without(tmp_path, colours_model):
    folder = tmp_path / "fast"
    copy_with_runtime(colours_model, begin_folder(folder, PROVENANCE), Runtime("openvino"))
    digest = output_digest(folder / ".partial/content")
    finish_folder(folder, "model", format_of(colours_model), PROVENANCE)
    opened, _ = open_model(folder, "test")
    assert opened.digest == digest
    assert bare_digest(opened.lineage) == read_lineage(colours_model).digest


def test_word_that_is_no_value_is_quoted():
    assert parsed("1, 2,2", "threads", positive) == (1, 2)
    with pytest.raises(BlocksError, match=r"> threads\] '1, 0' contains .* \(0 is less than 1\)"):
        parsed("1, 0", "threads", positive)
