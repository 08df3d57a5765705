"""A dated file of prices: looked up by size, tier and region, and never taken for zero."""

from datetime import date
from pathlib import Path

import pytest

from tfhub_blocks.control.costs.prices import load_prices
from tfhub_blocks.control.project.profiles import load_profile
from tfhub_blocks.records.base.errors import BlocksError

ROOT = Path(__file__).parents[3]
PRICES = """format_version = 1
currency = "USD"
region = "eastus"

[regions.eastus]
date = "2026-01-31"
source = "a test"

[regions.eastus.sizes]
Standard_DS3_v2 = { dedicated = 0.229, low_priority = 0.0458 }
Standard_NC4as_T4_v3 = { dedicated = 0.526 }

[regions.westeurope]
date = "2026-01-01"
source = "a test"
sizes.Standard_DS3_v2.dedicated = 0.275
"""


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return load_prices(path)


def test_price_is_that_of_the_tier_and_the_region(prices):
    assert prices.price_per_hour("Standard_DS3_v2", "dedicated") == 0.229
    assert prices.price_per_hour("Standard_DS3_v2", "low_priority") == 0.0458
    assert prices.price_per_hour("STANDARD_ds3_v2", "dedicated", "westeurope") == 0.275
    assert prices.price_per_hour("Standard_DS3_v2", "dedicated", "West Europe") == 0.275


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (("Standard_D99", "dedicated"), "the price file has no price for Standard_D99 in eastus"),
        (("Standard_DS3_v3", "dedicated"), "Did you mean 'Standard_DS3_v2'?"),
        (
            ("Standard_NC4as_T4_v3", "low_priority"),
            "the price file has no low_priority price for Standard_NC4as_T4_v3 in eastus",
        ),
        (("Standard_DS3_v2", "dedicated", "mars"), "the price file has no prices for region mars"),
    ],
)
def test_size_without_a_price_is_an_error_that_says_how_to_get_it(prices, asked, problem):
    with pytest.raises(BlocksError) as caught:
        prices.price_per_hour(*asked)
    assert problem in str(caught.value)
    assert "tfhub-blocks cost refresh --region" in caught.value.remedy


def test_old_prices_are_told_and_so_are_those_of_a_day_to_come(prices):
    assert list(prices.warnings(date(2026, 1, 31))) == []
    [old] = prices.warnings(date(2026, 2, 15))
    assert "prices for westeurope" in old
    assert "45 days ago" in old
    assert len(list(prices.warnings(date(2026, 3, 31)))) == 2
    assert "check the clock" in next(prices.warnings(date(2025, 12, 1)))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("0.0458", "0.0", "regions.eastus.sizes.Standard_DS3_v2.low_priority"),
        ("0.0458", "-1", "regions.eastus.sizes.Standard_DS3_v2.low_priority"),
        ("0.526", "nan", "regions.eastus.sizes.Standard_NC4as_T4_v3.dedicated"),
        ("0.526", "inf", "regions.eastus.sizes.Standard_NC4as_T4_v3.dedicated"),
        ("0.526", '"0.5"', "regions.eastus.sizes.Standard_NC4as_T4_v3.dedicated"),
        ("dedicated = 0.526", "spot = 0.1", "regions.eastus.sizes.Standard_NC4as_T4_v3.spot"),
        ('"USD"', '"dollars"', "currency"),
        ('"2026-01-31"', '"31.1.2026"', "regions.eastus.date"),
        ('region = "eastus"', 'region = "eastus2"', "region"),
        ('region = "eastus"', 'region = "eastus"\npath = "x"', "path"),
        ('region = "eastus"', 'region = "eastus"\nstale_days = 0', "stale_days"),
        ("format_version = 1", "format_version = 2", "format_version"),
    ],
)
def test_wrong_file_is_told_with_its_key(tmp_path, old, new, key):
    assert old in PRICES
    path = tmp_path / "prices.toml"
    path.write_text(PRICES.replace(old, new, 1))
    with pytest.raises(BlocksError) as caught:
        load_prices(path)
    assert key in caught.value.what


@pytest.mark.parametrize("profile", ["experiment", "production"])
def test_shipped_prices_have_all_that_the_shipped_profiles_name(profile, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLOCKS_OWNER", "us")
    monkeypatch.setenv("BLOCKS_COST_CENTRE", "ours")
    prices = load_prices()
    assert prices.path == str(ROOT / "pipelines" / "prices.toml")
    for cluster in load_profile(profile).clusters.values():
        tier = "low_priority" if cluster.low_priority else "dedicated"
        assert prices.price_per_hour(cluster.size, tier) > 0
