import numpy as np
import pytest

from tfhub_blocks.compute.latency.percentiles import LEAST_REQUESTS, percentile, steady_from


@pytest.mark.parametrize("percent", [50, 95, 99])
def test_interval_holds_the_true_percentile_nineteen_times_of_twenty(percent):
    random = np.random.default_rng(0)
    true = -np.log(1 - percent / 100)
    draws = random.exponential(size=(600, 500))
    found = [percentile(row, percent) for row in draws]
    held = np.mean([each.low <= true <= each.high for each in found])
    assert 0.93 <= held <= 0.99
    assert all(each.low <= each.value <= each.high for each in found)


def test_as_many_requests_as_are_asked_for_bound_p99_from_above():
    rising = np.arange(LEAST_REQUESTS, dtype=float)
    assert percentile(rising, 99).high < rising[-1] + 1
    assert percentile(rising, 50).value == LEAST_REQUESTS / 2 - 1


def test_warming_up_ends_where_calls_become_usual():
    assert steady_from([900.0, 80.0, 31.0, *[10.0] * 60]) == 3
    assert steady_from([10.0] * 40) == 0
    assert steady_from([10.0, 50.0] * 30) == 30
