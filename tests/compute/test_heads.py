import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tfhub_blocks.compute import heads
from tfhub_blocks.compute.heads import Head, Split, calibrate_temperature, fit_head
from tfhub_blocks.records.errors import BlocksError

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
    seen: list[heads.SweepRecord] = []
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
    monkeypatch.setattr(heads.regression, "CHUNK_ITEMS", 64)
    parts = fit_head(train, train, names(3), [1.0]).head
    np.testing.assert_allclose(
        parts.probabilities(train.features), whole.probabilities(train.features), atol=2e-3
    )


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
    expected = min(factor, heads.TEMPERATURES[1])
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
        ({"strengths": []}, "no strength is given"),
        ({"max_iterations": 0}, "max_iterations.*it is 0"),
        ({"labels": ["a", "b", "b"]}, "different labels"),
    ],
)
def test_parameter_out_of_range_is_refused(arguments, message):
    split = correlated_split(50, 5, 3, 1.0)
    with pytest.raises(BlocksError, match=message):
        fit_head(split, split, **{"labels": names(3), **arguments})
