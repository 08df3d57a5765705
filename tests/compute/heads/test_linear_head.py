import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from simulated_features import World, write_features
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tfhub_blocks.compute.heads import calibration, feature_splits, linear_head
from tfhub_blocks.compute.heads.calibration import calibrate_temperature
from tfhub_blocks.compute.heads.feature_splits import Split
from tfhub_blocks.compute.heads.linear_head import Head, fit_head
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.features import open_features

PROBLEMS = [
    # items, dim, classes, distance between the classes
    pytest.param(600, 30, 2, 0.5, id="two-overlapping"),
    pytest.param(600, 40, 5, 0.7, id="many-overlapping"),
    pytest.param(300, 40, 4, 4.0, id="separable"),
    pytest.param(60, 150, 2, 1.0, id="two-fewer-items-than-features"),
    pytest.param(60, 150, 4, 1.0, id="many-fewer-items-than-features"),
]


def correlated_split(
    items: int, dim: int, classes: int, distance: float, seed: int = 0, part: int = 0
) -> Split:
    """Unequal classes; features as correlated, and of as different scales, as an encoder's."""
    world = np.random.default_rng(seed)
    mixing = world.normal(size=(dim, dim)) / np.arange(1, dim + 1)[:, np.newaxis]
    centres = distance * world.normal(size=(classes, dim))
    offset, spread = 100 * world.random(dim), 10 ** world.uniform(-3, 2, dim)
    random = np.random.default_rng([seed, part])
    shares = np.arange(1, classes + 1) / sum(range(1, classes + 1))
    targets = np.concatenate(
        [np.arange(classes), random.choice(classes, items - classes, p=shares)]
    )
    latent = random.normal(size=(items, dim)) + centres[targets]
    features = ((latent @ mixing + offset) * spread).astype(np.float32)
    return Split(features, targets, [f"item-{index}" for index in range(items)])


def names(classes: int) -> list[str]:
    return [f"class {index}" for index in range(classes)]


def objective(split: Split, weights: np.ndarray, bias: np.ndarray, strength: float, balance: bool):
    """scikit-learn's, in float64; for two classes the weights are its one vector."""
    features = StandardScaler().fit_transform(split.features.astype(np.float64))
    logits = features @ weights + bias
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    counts = np.bincount(split.targets)
    class_weights = len(split.targets) / (len(counts) * counts) if balance else np.ones(len(counts))
    log_loss = np.logaddexp.reduce(logits, axis=1) - logits[range(len(logits)), split.targets]
    return class_weights[split.targets] @ log_loss + strength / 2 * np.square(weights).sum()


@pytest.mark.parametrize("balance", [False, True], ids=["plain", "balanced"])
@pytest.mark.parametrize("strength", [1000.0, 10.0, 0.1, 0.001])
@pytest.mark.parametrize(("items", "dim", "classes", "distance"), PROBLEMS)
def test_fit_reaches_the_optimum_of_scikit_learn(items, dim, classes, distance, strength, balance):
    train = correlated_split(items, dim, classes, distance)
    fit = fit_head(train, train, names(classes), [strength], balance)

    scaler = StandardScaler().fit(train.features.astype(np.float64))
    reference = LogisticRegression(
        C=1 / strength,
        class_weight="balanced" if balance else None,
        solver="newton-cholesky",
        tol=1e-8,
        max_iter=1000,
    ).fit(scaler.transform(train.features.astype(np.float64)), train.targets)
    weights = fit.head.weights.astype(np.float64) * scaler.scale_[:, np.newaxis]
    bias = fit.head.bias + scaler.mean_ @ fit.head.weights.astype(np.float64)
    if classes == 2:
        weights, bias = weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]

    ours = objective(train, weights, bias, strength, balance)
    theirs = objective(train, reference.coef_.T, reference.intercept_, strength, balance)
    assert fit.sweep[0].converged
    assert ours == pytest.approx(theirs, rel=1e-3)
    log_loss = objective(train, weights, bias, 0.0, balance) / items
    assert fit.sweep[0].train_log_loss == pytest.approx(log_loss, rel=1e-3, abs=1e-6)


def test_warm_started_sweep_ends_where_a_cold_start_does():
    train = correlated_split(500, 60, 4, 1.0)
    strengths = [1000.0, 30.0, 1.0, 0.03]
    sweep = fit_head(train, train, names(4), strengths).sweep
    assert [record.strength for record in sweep] == strengths
    for record in sweep:
        (cold,) = fit_head(train, train, names(4), [record.strength]).sweep
        assert record.train_log_loss == pytest.approx(cold.train_log_loss, rel=5e-3)


def test_wide_sweep_takes_few_iterations():
    train = correlated_split(1500, 300, 10, 0.3)
    sweep = fit_head(train, train, names(10), np.logspace(-2, 6, 20)).sweep
    assert all(record.converged for record in sweep)
    assert sum(record.iterations for record in sweep) < 900


def test_choice_has_the_lowest_validation_log_loss():
    train = correlated_split(300, 60, 4, 0.3, part=0)
    validation = correlated_split(300, 60, 4, 0.3, part=1)
    seen: list[linear_head.SweepRecord] = []
    fit = fit_head(train, validation, names(4), progress=seen.append)
    assert tuple(seen) == fit.sweep
    best = min(fit.sweep, key=lambda record: record.validation_log_loss)
    assert fit.strength == best.strength
    assert fit.sweep[0].strength > fit.strength > fit.sweep[-1].strength
    log_loss = -np.log(
        fit.head.probabilities(validation.features)[range(300), validation.targets]
    ).mean()
    assert log_loss <= best.validation_log_loss + 1e-9


def test_fit_is_deterministic():
    train = correlated_split(200, 30, 3, 1.0)
    first, second = (fit_head(train, train, names(3)) for _ in range(2))
    assert first.head.weights.tobytes() == second.head.weights.tobytes()
    assert first.head.bias.tobytes() == second.head.bias.tobytes()
    assert (first.sweep, first.head.temperature) == (second.sweep, second.head.temperature)


def test_items_over_several_chunks_give_the_same_head(monkeypatch):
    train = correlated_split(300, 20, 3, 0.5)
    whole = fit_head(train, train, names(3), [1.0]).head
    monkeypatch.setattr(linear_head.regression, "CHUNK_ITEMS", 64)
    parts = fit_head(train, train, names(3), [1.0]).head
    np.testing.assert_allclose(
        parts.probabilities(train.features), whole.probabilities(train.features), atol=2e-3
    )


@pytest.fixture
def streaming(monkeypatch):
    """Features are streamed whatever their size, with a sample of 1,000 items of 48 features."""
    monkeypatch.setattr(linear_head, "HELD_BYTES", 0)
    monkeypatch.setattr(linear_head, "SAMPLE_BYTES", 1000 * 48 * 4)
    monkeypatch.setattr(feature_splits, "CHUNK_BYTES", 700 * 48 * 4)


def two_splits(dim: int = 48) -> list[Split]:
    vectors, targets, _ = next(World(dim, 4, distance=0.2).batches(9000, 9000))
    ids = [f"item-{row}" for row in range(9000)]
    return [Split(vectors[p], targets[p], ids[p]) for p in (slice(6000), slice(6000, 9000))]


@pytest.mark.parametrize("balance", [False, True], ids=["plain", "balanced"])
def test_streamed_fits_are_as_good_as_held_ones(balance, request):
    train, validation = two_splits()
    held = fit_head(train, validation, names(4), balance_classes=balance)
    request.getfixturevalue("streaming")
    streamed = fit_head(train, validation, names(4), balance_classes=balance)

    assert (held.method, streamed.method) == ("held", "streamed")
    exact = {record.strength: record for record in held.sweep}
    for record in streamed.sweep:
        assert record.converged
        assert record.items == 6000
        same = exact[record.strength]
        assert record.train_log_loss == pytest.approx(same.train_log_loss, rel=2e-4)
        assert record.validation_log_loss == pytest.approx(same.validation_log_loss, rel=2e-4)
    # The walk passed the best strength, which is the sweep's, without fitting all of them.
    assert streamed.strength == held.strength
    assert 2 <= len(streamed.sweep) < len(held.sweep) / 2
    np.testing.assert_allclose(
        streamed.head.probabilities(validation.features),
        held.head.probabilities(validation.features),
        atol=5e-3,
    )


def test_weaker_regularisation_than_the_best_for_a_sample_is_found(streaming):
    fit = fit_head(*two_splits(), names(4))
    best = min(fit.sample_sweep, key=lambda record: record.validation_log_loss)
    assert all(1000 <= record.items <= 1004 for record in fit.sample_sweep)
    assert best.strength > fit.strength > fit.sweep[-1].strength
    assert "MiB are kept in memory" in fit.reason
    assert json.loads(json.dumps(fit.as_dict()))["method"] == "streamed"


def test_stronger_regularisation_than_the_best_for_a_sample_is_found(streaming):
    fit = fit_head(*two_splits(dim=96), names(4))
    best = min(fit.sample_sweep, key=lambda record: record.validation_log_loss)
    assert fit.sweep[0].strength > fit.strength > best.strength > fit.sweep[-1].strength


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_features_on_disk_and_in_memory_give_the_same_bits(dtype, streaming, tmp_path):
    world = World(dim=48, classes=3)
    stored = open_features(write_features(tmp_path / "f", 5000, world, dtype, 200_000), "test")
    on_disk = [Split(*stored.split(name)) for name in ("train", "validation")]
    in_memory = [split.held() for split in on_disk]
    first, second = (fit_head(*pair, world.labels) for pair in (on_disk, in_memory))
    assert first.head.weights.tobytes() == second.head.weights.tobytes()
    assert (first.sweep, first.head.temperature) == (second.sweep, second.head.temperature)


def test_item_on_disk_that_is_not_finite_is_named(tmp_path):
    ids = [f"item-{number}" for number in range(2000)]
    world = World(dim=4, classes=2)

    class Spoilt(World):
        def batches(self, items, rows=100):
            for number, (vectors, targets, parts) in enumerate(super().batches(items, rows)):
                if number == 15:
                    vectors[0, 2], parts[0] = np.nan, 0
                yield vectors, targets, parts

    folder = write_features(tmp_path / "f", 2000, Spoilt(dim=4, classes=2), ids=ids)
    stored = open_features(folder, "test")
    train, validation = (Split(*stored.split(name)) for name in ("train", "validation"))
    with pytest.raises(BlocksError, match=r"item 'item-1500' of the training split .* NaN or inf"):
        fit_head(train, validation, world.labels)


PROCESS = """
import json, resource, sys
from pathlib import Path
import numpy as np
from simulated_features import World, write_features
from tfhub_blocks.compute.heads import linear_head
from tfhub_blocks.compute.heads.feature_splits import Split
from tfhub_blocks.records.formats.features import open_features
given = json.loads(sys.argv[1])
if given["whole_step"]:
    from tfhub_blocks.compute.tf.tensorflow_setup import tf  # as train_head has it beside
else:
    linear_head.HELD_BYTES, linear_head.SAMPLE_BYTES = 4 * 2**20, 2 * 2**20
world = World(given["dim"], given["classes"])
folder = Path(given["folder"])
write_features(folder, given["items"], world, np.dtype(given["dtype"]), given["shard_bytes"])
features = open_features(folder, "test")
features.check_ids()
fit = linear_head.fit_head(
    *(Split(*features.split(name)) for name in ("train", "validation")),
    world.labels, given["strengths"], progress=lambda r: print(r, file=sys.stderr, flush=True),
)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak_bytes": peak, "fit": fit.as_dict()}))
"""


def written_and_used(folder: Path, items: int, dim: int, **given) -> dict:
    """Features written, read again and trained on in a process of their own."""
    given = {
        "whole_step": False,
        "classes": 4,
        "dtype": "float32",
        "shard_bytes": 4 * 2**20,
    } | given
    given |= {"folder": str(folder), "items": items, "dim": dim}
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", PROCESS, json.dumps(given)],
        env=os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}"},
        stdout=subprocess.PIPE,
    )
    assert run.returncode == 0
    return json.loads(run.stdout)


def test_memory_does_not_grow_with_the_items(tmp_path):
    """The 50,000 more are 51 MB as vectors; by item, id and weight stay, some 30 bytes each."""
    few, many = (
        written_and_used(tmp_path / str(items), items, 256, strengths=[1e3])
        for items in (10_000, 60_000)
    )
    assert few["fit"]["method"] == many["fit"]["method"] == "streamed"
    assert many["peak_bytes"] - few["peak_bytes"] < 12e6


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("dtype", "strengths"), [("float16", linear_head.DEFAULT_STRENGTHS), ("float32", (1e3, 1e2))]
)
def test_a_million_items_of_1280_features_stay_under_2_gib(dtype, strengths, tmp_path):
    made = written_and_used(
        tmp_path / "features",
        1_000_000,
        1280,
        classes=10,
        dtype=dtype,
        shard_bytes=128 * 2**20,
        strengths=strengths,
        whole_step=True,
    )
    shutil.rmtree(tmp_path / "features")
    assert made["fit"]["method"] == "streamed"
    assert all(record["converged"] for record in made["fit"]["sweep"])
    assert made["peak_bytes"] < 2 * 2**30


@pytest.mark.parametrize("constant", [0.0, 1e6 + 0.5, -3e-30])
def test_constant_feature_gets_no_weight(constant):
    train = correlated_split(200, 10, 3, 1.0)
    features = train.features.copy()
    features[:, 4] = constant
    head = fit_head(
        dataclasses.replace(train, features=features), train, names(3), [1.0, 0.01]
    ).head
    assert not head.weights[4].any()
    assert np.isfinite(head.weights).all()


def test_probabilities_stay_finite_for_huge_logits():
    head = Head(np.float32([[1e30, -1e30]]), np.float32([0, 0]), ("a", "b"), 0.5)
    np.testing.assert_array_equal(head.probabilities(np.float32([[1.0]])), [[1.0, 0.0]])


def test_probabilities_are_divided_by_the_temperature():
    head = Head(np.float32([[2.0, 0.0]]), np.float32([0, 0]), ("a", "b"), 4.0)
    expected = 1 / (1 + np.exp(-0.5))
    assert head.probabilities(np.float32([[1.0]]))[0, 0] == pytest.approx(expected)


def test_validation_may_lack_a_class():
    train = correlated_split(100, 10, 3, 1.0)
    keep = train.targets != 2
    validation = Split(
        train.features[keep], train.targets[keep], [f"{i}" for i in np.flatnonzero(keep)]
    )
    assert np.isfinite(fit_head(train, validation, names(3), [1.0]).sweep[0].validation_log_loss)


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0, 1000.0])
def test_calibration_undoes_over_and_under_confidence(factor):
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(20_000, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (shares.cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    expected = min(factor, calibration.TEMPERATURES[1])
    assert calibrate_temperature(logits * factor, targets) == pytest.approx(expected, rel=0.05)


def test_calibration_leaves_what_it_cannot_better():
    assert calibrate_temperature(np.zeros((5, 3)), np.array([0, 1, 2, 0, 1])) == 1.0


def broken(change) -> tuple[Split, Split]:
    splits = [correlated_split(50, 5, 3, 1.0, part=part) for part in range(2)]
    return change(*splits)


def with_value(split: Split, row: int, value: float) -> Split:
    features = split.features.copy()
    features[row, 2] = value
    return dataclasses.replace(split, features=features)


def only(split: Split, keep: np.ndarray) -> Split:
    return Split(split.features[keep], split.targets[keep], [f"{i}" for i in np.flatnonzero(keep)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, v: (with_value(t, 7, np.nan), v), "item 'item-7' of the training split"),
        (lambda t, v: (t, with_value(v, 3, np.inf)), "item 'item-3' of the validation split"),
        (lambda t, v: (only(t, t.targets != 1), v), "no item of 'class 1'.*split_salt"),
        (lambda t, v: (t, only(v, v.targets < 0)), "the validation split is empty"),
        (lambda t, v: (only(t, t.targets < 0), v), "the training split is empty"),
        (lambda t, v: (t, dataclasses.replace(v, targets=v.targets + 1)), "has target 3"),
        (lambda t, v: (t, dataclasses.replace(v, features=v.features[:, 1:])), "same encoder"),
        (lambda t, v: (t, dataclasses.replace(v, ids=v.ids[1:])), "one id for each item"),
    ],
)
def test_unusable_split_is_refused(change, message):
    train, validation = broken(change)
    with pytest.raises(BlocksError, match=message):
        fit_head(train, validation, names(3), [1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strengths": [1.0, 0.0]}, "strengths.* 0.0"),
        ({"strengths": [-1.0]}, "strengths.* -1.0"),
        ({"strengths": [np.nan]}, "strengths.*nan"),
        ({"strengths": []}, "strengths has no value"),
        ({"max_iterations": 0}, "max_iterations.* 0 is less than 1"),
        ({"labels": ["a", "b", "b"]}, "different labels"),
    ],
)
def test_parameter_out_of_range_is_refused(arguments, message):
    split = correlated_split(50, 5, 3, 1.0)
    with pytest.raises(BlocksError, match=message):
        fit_head(split, split, **{"labels": names(3), **arguments})
