"""Intervals: exact for shares at every number of items, and exact for paired gains."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial

from tfhub_blocks.compute.heads.interval_estimates import gain, paired_difference, share


@pytest.mark.parametrize(("hits", "items"), [(0, 10), (10, 10), (7, 10), (391, 400), (0, 1)])
def test_interval_of_a_share_is_clopper_and_pearsons(hits, items):
    expected = binomtest(hits, items).proportion_ci(method="exact")
    found = share(hits, items)
    assert (found.value, found.low, found.high) == pytest.approx(
        (hits / items, expected.low, expected.high), abs=1e-9
    )


def test_share_is_covered_at_every_number_of_items_and_every_probability():
    """The grid: 5 to 500 items, probabilities from one half to one, by sums of the binomial."""
    probabilities = np.linspace(0.5, 1, 101)
    for items in [*range(5, 60), *range(60, 501, 20)]:
        hits = np.arange(items + 1)
        found = [share(int(each), items) for each in hits]
        low, high = (np.array([getattr(it, end) for it in found]) for end in ("low", "high"))
        inside = (low <= probabilities[:, np.newaxis]) & (probabilities[:, np.newaxis] <= high)
        covered = (binom.pmf(hits, items, probabilities[:, np.newaxis]) * inside).sum(axis=1)
        assert covered.min() >= 0.95 - 1e-9, (items, probabilities[covered.argmin()])


def test_paired_difference_counts_only_what_tells_the_two_apart():
    one = np.repeat([True, True, False, False], [50, 12, 4, 34])
    other = np.repeat([True, False, True, False], [50, 12, 4, 34])
    found = paired_difference(one, other)
    assert found.value == pytest.approx(0.08)
    assert found == gain(12, 4, 100)
    turned = paired_difference(other, one)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("differing", range(1, 25))
def test_paired_interval_excludes_zero_exactly_if_mcnemars_exact_test_does(differing):
    for gained in range(differing + 1):
        found = gain(gained, differing - gained, 100)
        excludes = found.low > 1e-9 or found.high < -1e-9
        assert excludes == (binomtest(gained, differing).pvalue < 0.05)


@pytest.mark.parametrize("items", [5, 10, 20])
def test_paired_interval_covers_every_truth(items):
    cells = [(b, c) for b in range(items + 1) for c in range(items + 1 - b)]
    found = [gain(b, c, items) for b, c in cells]
    low, high = (np.array([getattr(it, end) for it in found]) for end in ("low", "high"))
    counts = np.array([(b, c, items - b - c) for b, c in cells])
    for first in np.linspace(0, 1, 11):
        for second in np.linspace(0, 1 - first, 6):
            rest = max(1 - first - second, 0.0)
            weights = np.nan_to_num(multinomial.pmf(counts, items, [first, second, rest]))
            truth = first - second
            inside = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
            assert weights[inside].sum() >= 0.95 - 1e-6, (first, second)


def test_gain_where_both_are_right_has_a_width():
    assert gain(0, 0, 9).low == pytest.approx(-gain(0, 0, 9).high)
    assert gain(0, 0, 9).high == pytest.approx(1 - 0.025 ** (1 / 9))
