"""End dates, traffic and settings, as plain functions."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from tfhub_blocks.control.deployments.end_dates import End, end_of
from tfhub_blocks.control.deployments.endpoint_settings import online_settings
from tfhub_blocks.control.deployments.traffic import share_traffic
from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.project.tags import UNTIL_TAG
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime, Speeds


def test_end_is_when_its_last_day_is_over():
    end, last = End(date(2026, 11, 30)), datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    assert not end.is_past(last)
    assert end.is_past(datetime(2026, 12, 1, tzinfo=UTC))
    assert end.hours(datetime(2026, 11, 29, 12, tzinfo=UTC)) == 36
    assert end.hours(datetime(2027, 1, 1, tzinfo=UTC)) == 0


@pytest.mark.parametrize("text", ["", "soon", "20261130", "2026-11-31", "2026-11-30T00:00"])
def test_tag_that_is_no_day_is_no_end(text):
    assert end_of({UNTIL_TAG: text}) is None
    assert end_of({UNTIL_TAG: "2026-11-30"}) == End(date(2026, 11, 30))


@pytest.mark.parametrize(
    ("now", "share", "then"),
    [
        ({}, None, {"new": 100}),
        ({}, 0, {}),
        ({}, 30, {"new": 100}),
        ({"old": 100}, None, {"old": 100}),
        ({"old": 100}, 30, {"old": 70, "new": 30}),
        ({"old": 100}, 100, {"new": 100}),
        ({"old": 70, "new": 30}, None, {"old": 70, "new": 30}),
        ({"old": 70, "new": 30}, 0, {"old": 100}),
        ({"a": 34, "b": 33, "c": 33}, 10, {"a": 32, "b": 29, "c": 29, "new": 10}),
    ],
)
def test_traffic_is_100_percent_together_or_none(now, share, then):
    assert share_traffic(now, "new", share) == then
    assert sum(then.values()) in (0, 100)


def test_requests_are_those_that_were_in_the_runtime_when_it_was_measured():
    kept = Speeds(p99_ms=50.0, items_per_s=400.0, cold_start_s=3.2)
    runtime = Runtime(concurrency=2, largest_batch=4, budget=kept)
    assert online_settings(runtime).requests == 20
    assert online_settings(replace(runtime, largest_batch=16)).requests == 32
    assert online_settings(Runtime()).requests == 1


def test_nothing_waits_longer_than_its_answer_is_worth():
    settings = online_settings(Runtime(budget=Speeds(p99_ms=80.5)))
    assert (settings.queue_ms, settings.timeout_ms) == (81, 1161)
    assert online_settings(Runtime(budget=Speeds(p99_ms=1e9))).timeout_ms == 180_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[deployments]\nlongest_days = 0", "deployments.longest_days] longest_days is 0"),
        (
            "[budget]\ncurrency = 'USD'\nrun = 1.0\nendpoints = -1.0",
            "budget.endpoints] endpoints is -1.0",
        ),
        ("[deployments]\nlongest = 3", "longest"),
    ],
)
def test_profile_key_that_means_nothing_is_told(tmp_path, text, message):
    profile = tmp_path / "it.toml"
    profile.write_text(
        f'format_version = 1\ndescription = "x"\nengine = "azureml"\nroles = {{}}\n{text}\n'
    )
    with pytest.raises(BlocksError, match=message.replace("[", r"\[")):
        read_profile(str(profile))
