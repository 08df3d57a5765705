import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from tfhub_blocks.compute.heads import ridge
from tfhub_blocks.compute.heads.ridge import leave_one_out
from tfhub_blocks.records.base.errors import BlocksError


def problem(items: int, dim: int, classes: int, distance: float = 0.4, seed: int = 0):
    random = np.random.default_rng(seed)
    targets = np.arange(items) % classes
    centres = distance * random.normal(size=(classes, dim))
    features = random.normal(size=(items, dim)) + centres[targets] + 5 * random.normal(size=dim)
    return features.astype(np.float32), targets


@pytest.mark.parametrize(
    ("items", "dim", "classes"), [(60, 12, 3), (40, 90, 2), (30, 30, 5), (45, 200, 4)]
)
def test_predictions_are_those_of_fits_to_all_other_items(items, dim, classes):
    features, targets = problem(items, dim, classes, distance=2 / dim**0.5)
    standardised = StandardScaler().fit_transform(features.astype(np.float64))
    one_hot = np.eye(classes)[targets]

    def refitted(strength):
        return np.array(
            [
                Ridge(alpha=strength, solver="svd" if items > dim else "cholesky")
                .fit(np.delete(standardised, item, 0), np.delete(one_hot, item, 0))
                .predict(standardised[item : item + 1])[0]
                for item in range(items)
            ]
        )

    answer = leave_one_out(features, targets)
    expected = refitted(answer.strength)
    np.testing.assert_array_equal(answer.predictions, expected.argmax(axis=1))
    assert answer.accuracy.value == (expected.argmax(axis=1) == targets).mean()
    assert 1 / classes < answer.accuracy.value < 1
    # A whole grid refitted chooses the same strength.
    length = np.square(standardised).sum() / items
    errors = {s: np.square(refitted(s * length) - one_hot).sum() for s in ridge.STRENGTHS}
    assert answer.strength == pytest.approx(min(errors, key=errors.get) * length)


def test_noise_is_told_at_chance():
    """Leaving an item out makes its class rarer: an untrained fit would be wrong every time."""
    features, targets = problem(400, 50, 2, distance=0.0)
    answer = leave_one_out(features, targets)
    assert 0.35 < answer.accuracy.value < 0.65


def test_float16_and_constant_features_are_taken():
    features, targets = problem(80, 20, 3)
    with_constant = np.column_stack([features, np.full(80, 1e4)]).astype(np.float16)
    one = leave_one_out(with_constant, targets)
    other = leave_one_out(with_constant[:, :-1], targets)
    np.testing.assert_array_equal(one.predictions, other.predictions)


def test_features_that_say_nothing_are_no_error():
    answer = leave_one_out(np.ones((20, 4), np.float32), np.arange(20) % 3)
    assert answer.predictions.shape == (20,)


def test_only_item_of_its_class_is_a_miss():
    features, targets = problem(60, 10, 2, distance=3.0)
    targets[7] = 2
    assert not leave_one_out(features, targets).hits[7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, t: (f, t[1:]), "features have shape .20, 4. for 19 targets"),
        (lambda f, t: (f, t * 0), "20 items have 1 class"),
        (lambda f, t: (np.where(np.arange(20)[:, None] == 5, np.nan, f), t), "row 5 has a feature"),
    ],
)
def test_unusable_input_is_refused(change, message):
    features, targets = problem(20, 4, 2)
    with pytest.raises(BlocksError, match=message):
        leave_one_out(*change(features, targets))
