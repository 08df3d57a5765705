"""Training above a cut is as training the whole; interrupted, it ends in the same bits."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder, cut_encoder
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.compute.tuning.caching import Examples
from tfhub_blocks.compute.tuning.checkpoints import Preemption, noted_preemption
from tfhub_blocks.compute.tuning.learning_schedule import Schedule, default_schedule
from tfhub_blocks.compute.tuning.optimizer import AdamW
from tfhub_blocks.compute.tuning.replicas import ALONE
from tfhub_blocks.compute.tuning.training import Safety, Trained, train
from tfhub_blocks.compute.tuning.tuning_targets import soft_targets
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.snapshots import Snapshot

FACTORS = [1.0] * 5


def test_losses_are_those_of_the_whole_encoder_trained_the_ordinary_way(
    snapshot: Snapshot, keras_encoder: Path, tunable, cut, data, classifier_of
) -> None:
    """The same batches through all of it, a tape around, and AdamW of Keras."""
    import tf_keras

    other = cut_encoder(load_encoder(keras_encoder, "test"), "test")
    classifier, ordinary = classifier_of(tunable, cut), classifier_of(other, cut)
    optimizer = AdamW([classifier], FACTORS, 0.0, 0.9, ALONE)
    keras_optimizer = tf_keras.optimizers.AdamW(1e-2, weight_decay=0.0)
    contents = {r["id"]: r["content"] for b in snapshot.batches() for r in b.to_pylist()}
    train_items = data.train
    images = other.encoder.prepare([contents[item] for item in train_items.ids])
    rows = np.concatenate([rows for rows, _ in train_items.in_order(64)])
    penalties = other.encoder.loaded.modules[0].regularization_losses
    assert len(penalties) == 1

    @tf.function
    def whole(batch, soft):
        with tf.GradientTape() as tape:
            logits = other.encoder.features(batch) @ ordinary.weights + ordinary.bias
            losses = tf.nn.softmax_cross_entropy_with_logits(soft, logits)
            loss = tf.reduce_mean(losses) + penalties[0]()
        gradients = tape.gradient(loss, ordinary.variables)
        return loss, gradients

    first, random = 0.0, np.random.default_rng(0)
    for step in range(50):
        drawn = random.permutation(len(rows))[:16]
        soft = soft_targets(train_items.targets[drawn], 3, 0.1)
        ones = np.ones(16, np.float32)
        ours, _ = optimizer.step(rows[drawn], soft, ones, 1e-2, step + 1)
        theirs, gradients = whole(tf.gather(images, drawn), soft)
        keras_optimizer.apply_gradients(zip(gradients, ordinary.variables, strict=True))
        assert float(ours) == pytest.approx(float(theirs), rel=1e-4), step
        first = float(ours) if step == 0 else first
    assert float(ours) < first


def test_only_what_lies_above_the_cut_changes(tunable, cut, data, classifier_of, tmp_path) -> None:
    below = set(range(len(tunable.flat.trainable))) - set(range(cut.below, 12))
    before = [v.numpy() for v in tunable.flat.variables]
    trained_names = {v.name for v in tunable.variables_above(cut)}
    trained(classifier_of(tunable, cut), data, tmp_path)
    assert len(below) == 9
    for variable, value in zip(tunable.flat.variables, before, strict=True):
        changed = not np.array_equal(variable.numpy(), value)
        assert changed == (variable.name in trained_names), variable.name


def safety(folder: Path, every_s: float = 1e9, identity: str = "same") -> Safety:
    folder.mkdir(exist_ok=True)
    return Safety(folder, identity, every_s, Preemption())


def schedule(**changes) -> Schedule:
    return default_schedule(160, 3, 1, epochs=3, batch_size=32).replaced(**changes)


def trained(classifier, data, folder: Path, progress=lambda *_: None, **changes) -> Trained:
    kept = changes.pop("safety", None) or safety(folder / "kept")
    plan = schedule(**changes)
    return train([classifier], FACTORS, data, plan, True, 7, kept, ALONE, progress, "test")


class KilledError(Exception):
    """Stands for a signal that nothing can catch."""


@pytest.mark.parametrize("killed_at", [5, 8])
def test_killed_anywhere_and_begun_again_it_ends_in_the_same_bits(
    killed_at: int, tunable: CutEncoder, cut: Cut, data, classifier_of, tmp_path: Path
) -> None:
    published = [variable.numpy() for variable in tunable.flat.variables]

    def fresh():
        for variable, value in zip(tunable.flat.variables, published, strict=True):
            variable.assign(value)
        return classifier_of(tunable, cut)

    whole = trained(fresh(), data, tmp_path, mixup=0.2)
    assert len(whole.epochs) == 3

    def kill(done: int, total: int) -> None:
        assert total == schedule().steps
        if done == killed_at:
            raise KilledError

    (tmp_path / "two").mkdir()
    often = safety(tmp_path / "two/kept", every_s=0)
    with pytest.raises(KilledError):
        trained(fresh(), data, tmp_path / "two", kill, safety=often, mixup=0.2)
    steps = []
    progress = lambda done, _: steps.append(done)  # noqa: E731
    resumed = trained(fresh(), data, tmp_path / "two", progress, safety=often, mixup=0.2)

    assert steps[0] == killed_at
    assert resumed.epochs == whole.epochs
    assert resumed.best == whole.best
    for ours, theirs in zip(resumed.values, whole.values, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_asked_to_end_it_keeps_the_step_and_ends(
    tunable: CutEncoder, cut: Cut, data, classifier_of, tmp_path: Path, capfd
) -> None:
    def terminate(done: int, total: int) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with noted_preemption() as preemption:
        kept = Safety(tmp_path, "same", 1e9, preemption)
        with pytest.raises(SystemExit) as ended:
            trained(classifier_of(tunable, cut), data, tmp_path, terminate, safety=kept)
    assert ended.value.code == 143
    steps = []
    kept = safety(tmp_path)
    progress = lambda done, _: steps.append(done)  # noqa: E731
    trained(classifier_of(tunable, cut), data, tmp_path, progress, safety=kept)
    assert steps[0] == 4
    assert "resuming from step 3 of an earlier attempt" in capfd.readouterr().out


def test_a_checkpoint_of_other_work_is_not_taken_up(
    tunable: CutEncoder, cut: Cut, data, classifier_of, tmp_path: Path
) -> None:
    trained(classifier_of(tunable, cut), data, tmp_path, safety=safety(tmp_path, 0, "one"))
    steps = []
    progress = lambda done, _: steps.append(done)  # noqa: E731
    other = safety(tmp_path, identity="other")
    trained(classifier_of(tunable, cut), data, tmp_path, progress, safety=other)
    assert steps[0] == 1


def test_a_loss_that_is_no_number_stops_with_step_and_rate(
    tunable: CutEncoder, cut: Cut, data: Examples, classifier_of, tmp_path: Path
) -> None:
    classifier = classifier_of(tunable, cut)

    def spoil(done: int, total: int) -> None:
        if done == 4:
            classifier.bias.assign(classifier.bias * np.nan)

    kept = safety(tmp_path, every_s=1e9)
    with pytest.raises(BlocksError) as caught:
        trained(classifier, data, tmp_path, spoil, safety=kept)
    assert str(caught.value).startswith(
        "[test > learning_rate] the loss or its gradient is not finite at step 5 of 15, at "
        "learning rate "
    )
    assert f"The last good checkpoint stays in {tmp_path}" in str(caught.value)


def test_it_ends_when_validation_gains_no_more(
    tunable: CutEncoder, cut: Cut, data, classifier_of, tmp_path: Path
) -> None:
    """With a rate that does nothing, the first epoch stays the best."""
    done = trained(
        classifier_of(tunable, cut),
        data,
        tmp_path,
        epochs=9,
        patience_epochs=2,
        learning_rate=0.0,
    )
    assert (len(done.epochs), done.best) == (3, 0)
