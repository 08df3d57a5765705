"""Fine-tuning as a whole: from a probe, in the same bits, and refused where it must be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfhub_blocks.compute.encoder_cuts import Cut, CutEncoder
from tfhub_blocks.compute.encoder_policy import check_fine_tuning
from tfhub_blocks.compute.heads import Head, Split, fit_head
from tfhub_blocks.compute.tuning.classifier import features_of
from tfhub_blocks.compute.tuning.fine_tuning import Options, Tuned, fine_tune
from tfhub_blocks.compute.tuning.records import write_record
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.pins import Decisions
from tfhub_blocks.records.snapshots import Snapshot

OPTIONS = Options(epochs=3)


def tuned(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, work: Path, head: Head | None = None
) -> Tuned:
    return fine_tune(snapshot, tunable, cut, head, OPTIONS, work, lambda _: lambda *_: None)


def test_two_runs_are_the_same_bits_and_the_record_says_what_was_chosen(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, data, tmp_path: Path
) -> None:
    published = [variable.numpy() for variable in tunable.flat.variables]
    upper = tunable.upper(cut)
    splits = [Split(features_of(upper, each), each.targets, each.ids) for each in data.values()]
    # So strong a penalty that training can gain.
    poor = fit_head(*splits, snapshot.manifest.labels, [300.0]).head
    first = tuned(snapshot, tunable, cut, tmp_path / "first", poor)
    trained = [variable.numpy() for variable in tunable.variables_above(cut)]
    for variable, value in zip(tunable.flat.variables, published, strict=True):
        variable.assign(value)
    second = tuned(snapshot, tunable, cut, tmp_path / "second", poor)

    np.testing.assert_array_equal(first.head.weights, second.head.weights)
    assert first.comparison == second.comparison
    for variable, value in zip(tunable.variables_above(cut), trained, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    best = min(each.log_loss for each in first.comparison.candidates)
    assert first.comparison.chosen.log_loss == best
    assert first.comparison.chosen.share > 0
    assert first.head.temperature == first.comparison.chosen.temperature

    write_record(tmp_path, first, {"whole_s": 1.0})
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["cut"]["trained_from"] == "last/kernel"
    assert [epoch["number"] for epoch in record["epochs"]] == [1, 2, 3]
    assert record["comparison"]["chosen"]["log_loss"] == best
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_start_that_is_better_comes_out_as_it_was_given(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, tmp_path: Path
) -> None:
    """With a rate that spoils everything."""
    good = tuned(snapshot, tunable, cut, tmp_path / "good").head
    probe = Head(good.weights, good.bias, good.labels, 0.8 * good.temperature)
    options = Options(epochs=1, learning_rate=10.0)
    work = tmp_path / "spoilt"

    before = [variable.numpy() for variable in tunable.flat.variables]
    spoilt = fine_tune(snapshot, tunable, cut, probe, options, work, lambda _: lambda *_: None)

    assert spoilt.comparison.chosen.share == 0
    assert spoilt.head is probe
    assert spoilt.told_cut() is None
    for variable, value in zip(tunable.flat.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_start_of_other_classes_or_features_is_refused(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, tmp_path: Path
) -> None:
    weights = np.zeros((12, 3), np.float32)
    head = Head(weights, weights[0], ("blue", "green", "pink"), 1.0)
    with pytest.raises(BlocksError, match="its classes are 'blue', 'green', 'pink'; expected"):
        tuned(snapshot, tunable, cut, tmp_path, head)
    head = Head(weights[:9], weights[0], snapshot.manifest.labels, 1.0)
    with pytest.raises(BlocksError, match="its head takes 9 features; expected 12"):
        tuned(snapshot, tunable, cut, tmp_path, head)


def test_a_snapshot_without_validation_is_refused(
    write_test_snapshot, jpeg, tunable: CutEncoder, cut: Cut, tmp_path: Path
) -> None:
    from tfhub_blocks.records.snapshots import open_snapshot

    folder = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(20)))
    with pytest.raises(BlocksError, match="its validation split is empty"):
        tuned(open_snapshot(folder, "test"), tunable, cut, tmp_path / "work")


@pytest.mark.parametrize(
    ("decision", "policy", "refused"),
    [
        ("allowed", "production", False),
        ("forbidden", "experiment", True),
        ("forbidden", "production", True),
        ("undecided", "experiment", False),
        ("undecided", "production", True),
    ],
)
def test_an_encoder_is_tuned_only_where_its_pin_allows_it(
    decision: str, policy: str, refused: bool, tunable: CutEncoder, monkeypatch
) -> None:
    monkeypatch.setenv("TFHUB_BLOCKS_ENCODER_POLICY", policy)
    pin = replace(tunable.encoder.pin, decisions=Decisions(fine_tuning=decision))
    if not refused:
        check_fine_tuning(pin, "fine_tune")
        return
    with pytest.raises(BlocksError) as caught:
        check_fine_tuning(pin, "fine_tune")
    told = str(caught.value)
    assert told.startswith(
        f"[fine_tune > saved_model] its pin says fine_tuning = '{decision}'; expected "
        "fine_tuning = 'allowed'; "
    )
    assert ("encoder_policy = 'experiment'" in told) == (decision == "undecided")
