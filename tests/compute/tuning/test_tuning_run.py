"""Fine-tuning as a whole: from a probe, in the same bits, and refused where it must be."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfhub_blocks.compute.cutting.cut_costs import told_whole
from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder, chosen_cut
from tfhub_blocks.compute.encoders.encoder_policy import check_fine_tuning
from tfhub_blocks.compute.extraction.extraction import Extraction
from tfhub_blocks.compute.extraction.feature_output import write_extraction
from tfhub_blocks.compute.heads.linear_head import Head, Split, fit_head
from tfhub_blocks.compute.inference.shared_work import Share
from tfhub_blocks.compute.tuning.caching import Examples, LowerPart
from tfhub_blocks.compute.tuning.classifier import features_of
from tfhub_blocks.compute.tuning.training_log import write_record
from tfhub_blocks.compute.tuning.tuning_run import Tuned, TuningOptions, fine_tune
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.features import ACTIVATIONS, Features, open_features
from tfhub_blocks.records.formats.snapshots import Snapshot
from tfhub_blocks.records.pins.pins import Decisions

OPTIONS = TuningOptions(epochs=3)
PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


def tuned(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, work: Path, head: Head | None = None
) -> Tuned:
    return fine_tune(snapshot, tunable, cut, head, OPTIONS, work, lambda _: lambda *_: None)


def test_two_runs_are_the_same_bits_and_the_record_says_what_was_chosen(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, data, tmp_path: Path
) -> None:
    published = [variable.numpy() for variable in tunable.flat.variables]
    upper = tunable.upper(cut)
    pair = data.train, data.validation
    splits = [Split(features_of(upper, each), each.targets, each.ids) for each in pair]
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
    options = TuningOptions(epochs=1, learning_rate=10.0)
    work = tmp_path / "spoilt"

    before = [variable.numpy() for variable in tunable.flat.variables]
    spoilt = fine_tune(snapshot, tunable, cut, probe, options, work, lambda _: lambda *_: None)

    assert spoilt.comparison.chosen.share == 0
    assert spoilt.head is probe
    assert spoilt.told_cut() is None
    for variable, value in zip(tunable.flat.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.fixture(scope="module")
def features_at_cut(
    snapshot: Snapshot, loaded: CutEncoder, cut: Cut, tmp_path_factory: pytest.TempPathFactory
) -> Features:
    """As cache_activations makes them, of all splits."""
    folder = tmp_path_factory.mktemp("cached") / "activations"
    extraction = Extraction(snapshot, LowerPart(loaded, cut))
    share = Share(folder.parent / "work")
    plan = extraction.compute(share, lambda *_: None)
    write_extraction(extraction, plan, share, begin_folder(folder, PROVENANCE), lambda *_: None)
    finish_folder(folder, "activations", ACTIVATIONS, PROVENANCE)
    return open_features(folder, "test", ACTIVATIONS)


def test_given_activations_train_as_those_that_are_computed_here(
    snapshot: Snapshot,
    tunable: CutEncoder,
    cut: Cut,
    data: Examples,
    features_at_cut: Features,
    cache_of,
    tmp_path: Path,
) -> None:
    cache = cache_of(snapshot, tunable, cut, tmp_path / "unused")
    made = cache.examples(0, features_at_cut, lambda *_: None)

    assert not (tmp_path / "unused").exists()
    for ours, theirs in ((made.train, data.train), (made.validation, data.validation)):
        assert ours.ids == theirs.ids
        np.testing.assert_array_equal(ours.targets, theirs.targets)
        rows = [np.concatenate([r for r, _ in each.in_order(64)]) for each in (ours, theirs)]
        np.testing.assert_array_equal(*rows)
    # A batch of either has items of all splits in it, of which each is in its own.
    assert len(features_at_cut.folder.lineage.files) == 2


def test_activations_of_another_cut_or_snapshot_are_refused(
    snapshot: Snapshot,
    tunable: CutEncoder,
    cut: Cut,
    features_at_cut: Features,
    cache_of,
    tmp_path: Path,
) -> None:
    def refused(told: str, place: Cut = cut, **changes: object) -> None:
        given = replace(features_at_cut, manifest=replace(features_at_cut.manifest, **changes))
        with pytest.raises(BlocksError, match=told) as caught:
            cache_of(snapshot, tunable, place, tmp_path).examples(0, given, print)
        assert "Pass the output of a cache_activations step" in str(caught.value)

    refused("have cut .*. Expected the cut of this step, Func/", tunable.cuts[0])
    refused("have snapshot 00. Expected the snapshot of this step, [0-9a-f]", snapshot_digest="00")
    refused("have encoder 11. Expected the encoder of this step, [0-9a-f]{64}", encoder_digest="11")
    changed = dict(features_at_cut.manifest.preprocessing) | {"range": [0, 255]}
    refused("have preprocessing .*255", preprocessing=changed)


def test_all_of_an_encoder_is_trained_where_that_is_said(
    snapshot: Snapshot, tunable: CutEncoder, tmp_path: Path
) -> None:
    whole = chosen_cut(tunable, "all", "test")
    before = [variable.numpy() for variable in tunable.variables_above(whole)]
    options = TuningOptions(epochs=2, augment_views=1)
    given = (snapshot, tunable, whole, None, options, tmp_path)
    done = fine_tune(*given, lambda _: lambda *_: None)

    assert re.fullmatch(
        "about [0-9,]+ s per epoch of 240 items on this machine, without a cache",
        told_whole(tunable, 240),
    )
    assert len(done.trained.epochs) == 2
    assert done.trained.epochs[1].train_loss < done.trained.epochs[0].train_loss
    changed = [
        not np.array_equal(variable, trained)
        for variable, trained in zip(before, done.trained.values[:-2], strict=True)
    ]
    assert all(changed)
    write_record(tmp_path, done, {})
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["cut"]["share_of_forward_pass_below"] == 0
    assert record["cut"]["activation_shape"] == [24, 24, 3]


def test_a_start_of_other_classes_or_features_is_refused(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, tmp_path: Path
) -> None:
    weights = np.zeros((12, 3), np.float32)
    head = Head(weights, weights[0], ("blue", "green", "pink"), 1.0)
    with pytest.raises(BlocksError, match=r"classes are 'blue', 'green', 'pink'\. Expected"):
        tuned(snapshot, tunable, cut, tmp_path, head)
    head = Head(weights[:9], weights[0], snapshot.manifest.labels, 1.0)
    with pytest.raises(BlocksError, match=r"head of the model takes 9 features\. Expected 12"):
        tuned(snapshot, tunable, cut, tmp_path, head)


def test_a_snapshot_without_validation_is_refused(
    write_test_snapshot, jpeg, tunable: CutEncoder, cut: Cut, tmp_path: Path
) -> None:
    from tfhub_blocks.records.formats.snapshots import open_snapshot

    folder = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(20)))
    with pytest.raises(BlocksError, match="the validation split of the snapshot is empty"):
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
        f"[fine_tune > saved_model] the pin states fine_tuning = '{decision}'. Expected "
        "fine_tuning = 'allowed'. "
    )
    assert ("encoder_policy = 'experiment'" in told) == (decision == "undecided")
