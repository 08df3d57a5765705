import numpy as np
import pytest
from scipy.stats import binomtest

from tfhub_blocks.compute.heads.interval_estimates import paired_difference, share


@pytest.mark.parametrize(("hits", "items"), [(0, 10), (10, 10), (7, 10), (391, 400)])
def test_interval_of_a_share_is_wilsons(hits, items):
    expected = binomtest(hits, items).proportion_ci(method="wilson")
    found = share(hits, items)
    assert (found.value, found.low, found.high) == pytest.approx(
        (hits / items, expected.low, expected.high), abs=1e-12
    )


def test_paired_difference_counts_only_what_tells_the_two_apart():
    """Agresti and Min 2005, section 2, by hand: cells 50, 12, 4, 34."""
    one = np.repeat([True, True, False, False], [50, 12, 4, 34])
    other = np.repeat([True, False, True, False], [50, 12, 4, 34])
    found = paired_difference(one, other)
    middle, variance = 8 / 102, (17 / 102 - (8 / 102) ** 2) / 102
    assert found.value == pytest.approx(0.08)
    assert (found.low + found.high) / 2 == pytest.approx(middle)
    assert found.high - found.low == pytest.approx(2 * 1.96 * variance**0.5, rel=1e-4)
    turned = paired_difference(other, one)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_paired_interval_holds_the_truth_as_often_as_it_says():
    """4,000 draws of 200 items of which 12 % are right for one alone and 6 % for the other."""
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        cell = random.choice(4, 200, p=[0.7, 0.12, 0.06, 0.12])
        found = paired_difference(cell < 2, (cell == 0) | (cell == 2))
        inside += found.low <= 0.06 <= found.high
    assert 0.935 < inside / 4000 < 0.97
