"""How long an endpoint lives after its end date, until a schedule has deleted it."""

from datetime import date

import pytest

from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoint_budgets import late_hours
from tfhub_blocks.control.project.profiles import (
    Cluster,
    Deployments,
    Profile,
    Role,
    SpendingBudget,
)

END = End(date(2026, 12, 18))  # a Friday


def profile(reap, low_priority=False, **roles):
    clusters = {"ops": Cluster("S", 1, low_priority=low_priority)}
    budget = SpendingBudget("USD", run=1.0, restarts=2)
    more = {"clusters": clusters, "budget": budget, "deployments": Deployments(30, reap)}
    return Profile("x", "azureml", roles or {"operations": Role("ops", 900)}, **more)


@pytest.mark.parametrize(
    ("it", "hours"),
    [
        # Until the schedule fires, then 900 s of start and 900 s of work.
        (profile("30 2 * * *"), 2.5 + 0.5),
        (profile("0 0 * * *"), 0.5),
        # On Monday.
        (profile("0 0 * * 1"), 48 + 0.5),
        # Three attempts.
        (profile("30 2 * * *", low_priority=True), 2.5 + 1.5),
        (profile(None), 0.0),
        (profile("30 2 * * *", cpu=Role("ops", 900)), 0.0),
    ],
)
def test_hours_until_the_schedule_has_done_its_work(it, hours):
    assert late_hours(it, END) == pytest.approx(hours)
