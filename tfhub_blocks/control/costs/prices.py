"""Prices per hour of each machine size, from a dated file in the repository."""

# decision 26

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import tomli_w

from tfhub_blocks.control.repository.catalog import installed_folder
from tfhub_blocks.records.base.documents import SET_BY_READER, VERSION_KEY, as_record, read_document
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.base.project_folders import origin_path, project_folder

FORMAT_VERSION = 1
FILE_NAME = "prices.toml"
Tier = Literal["dedicated", "low_priority"]
# Azure's: https://learn.microsoft.com/azure/machine-learning/concept-plan-manage-cost, and the
# hours that Azure counts in a month of a price.
NODES_PER_BALANCER = 50
HOURS_PER_MONTH = 730.0
_HOURS_PER_DAY = 24.0
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True)
class SizePrices:
    """The prices per hour of one machine; None for a tier that is not sold.

    ``dedicated`` is the price of a node that Azure does not reclaim, and ``low_priority`` that of a
    node that Azure may reclaim.
    """

    dedicated: float | None = None
    low_priority: float | None = None


@dataclass(frozen=True)
class RegionPrices:
    """The prices of one region, with their date and their source.

    ``date`` is the day on which the prices were read, as YYYY-MM-DD. ``source`` names their
    source. ``sizes`` contains the prices of each machine size.
    ``load_balancer_day`` is the price of one load balancer for a day: a cluster has one for every
    50 nodes until it is deleted. ``disk_month`` is the price of the disk of one node for a month.
    ``storage_gb_month`` is the price of a gigabyte of blob storage for a month. Without a price,
    the ceiling names what it does not include.
    """

    date: str
    source: str
    sizes: Mapping[str, SizePrices]
    load_balancer_day: float | None = None
    disk_month: float | None = None
    storage_gb_month: float | None = None

    @property
    def disk_per_hour(self) -> float | None:
        """The price of the disk of one node for an hour; None if it is unknown."""
        return None if self.disk_month is None else self.disk_month / HOURS_PER_MONTH

    def storage_per_day(self, size_bytes: int) -> float | None:
        """Return the price of a day of stored bytes; None if it is unknown."""
        price = self.storage_gb_month
        return (
            None if price is None else price * size_bytes / 1e9 * _HOURS_PER_DAY / HOURS_PER_MONTH
        )

    def balancers_per_day(self, max_nodes: int) -> float | None:
        """Return the price of a day of all load balancers of a cluster; None if it is unknown."""
        price = self.load_balancer_day
        return None if price is None else price * max(1, -(-max_nodes // NODES_PER_BALANCER))


@dataclass(frozen=True)
class Prices:
    """A file of prices, read and checked.

    ``currency`` is the currency of all prices, as three capital letters. ``regions`` contains the
    prices of each region. ``region`` applies to clusters without a location. Prices older than
    ``stale_days`` cause a warning.
    """

    currency: str
    region: str
    regions: Mapping[str, RegionPrices]
    stale_days: int = 30
    path: str = field(default="", compare=False, metadata=SET_BY_READER)

    def price_per_hour(self, size: str, tier: Tier, region: str | None = None) -> float:
        """Return the price per hour of one machine. Azure ignores case in the names of sizes.

        Raises:
            BlocksError: The region has no price for that size and tier.
        """
        found = self.region_prices(region)
        region = _region_name(region or self.region)
        sizes = {name.casefold(): prices for name, prices in found.sizes.items()} if found else {}
        prices = sizes.get(size.casefold())
        price: float | None = getattr(prices, tier, None)
        if price is not None:
            return price
        if found is None:
            problem = f"the price file has no prices for region {region}"
        elif prices is None:
            problem = f"the price file has no price for {size} in {region}"
        else:
            problem = f"the price file has no {tier} price for {size} in {region}"
        hint = nearest(size, found.sizes) if found and prices is None else ""
        refresh = f"`tfhub-blocks cost refresh --region {region} --size {size}`"
        raise BlocksError(
            "prices",
            self.path,
            problem,
            f"the price of one hour as {tier}",
            f"{hint} Otherwise run {refresh}" if hint else f"Run {refresh}",
        )

    def region_prices(self, region: str | None = None) -> RegionPrices | None:
        """Return the prices of a region, by default of that for clusters without a location."""
        return self.regions.get(_region_name(region or self.region))

    def day(self, region: str | None = None) -> str:
        """Return the date of a region's prices; empty without prices."""
        found = self.regions.get(region or self.region)
        return found.date if found else ""

    def warnings(self, today: date | None = None) -> Iterator[str]:
        """Yield a warning for each region whose prices are stale or dated in the future."""
        today = today or datetime.now(UTC).date()
        for region, prices in self.regions.items():
            age = (today - date.fromisoformat(prices.date)).days
            file = origin_path(Path(self.path))
            dated = f"the prices for {region} in {file} are dated {prices.date}"
            if age < -1:
                yield f"{dated}, in the future; check the clock of this machine"
            elif age > self.stale_days:
                yield f"{dated}, {age} days ago; run `tfhub-blocks cost refresh`"


def money(amount: float) -> str:
    """Return an amount as text: two decimal places, or four for amounts below 1."""
    if 0 < amount < 0.00005:
        return "<0.0001"
    return f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:.4f}"


def prices_path() -> Path:
    """Return the file of prices: the working folder's, else the installed one."""
    here = project_folder() / "pipelines" / FILE_NAME
    return here if here.is_file() else installed_folder("pipelines") / FILE_NAME


def own_prices_path() -> Path:
    """Return the path of the working folder's file of prices, even if the file does not exist."""
    return Path.cwd() / "pipelines" / FILE_NAME


def load_prices(path: Path | None = None) -> Prices:
    """Read the prices in force.

    Raises:
        BlocksError: The file is missing, or has an invalid key or value.
    """
    path = path or prices_path()
    prices = read_document(path, Prices, FORMAT_VERSION)
    for key, problem, expected in _faults(prices):
        raise BlocksError("prices", f"{path} > {key}", problem, expected, f"Edit {key} in {path}")
    return replace(prices, path=str(path))


def write_prices(prices: Prices, path: Path) -> None:
    """Write the price file; after a failure the earlier file is unchanged."""
    record = as_record(prices)
    del record["path"]
    head = "# The price of one hour of one machine, as `tfhub-blocks cost refresh` wrote it.\n"
    text = tomli_w.dumps({VERSION_KEY: FORMAT_VERSION, **record})
    write_file(path, f"{head}{text}".encode())


def _faults(prices: Prices) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and expectation of each value that its type alone does not exclude."""
    if not _CURRENCY.fullmatch(prices.currency):
        problem = f"currency is {prices.currency!r}"
        yield "currency", problem, "three capital letters, such as USD"
    if prices.stale_days < 1:
        yield "stale_days", f"stale_days is {prices.stale_days}", "at least 1"
    if prices.region not in prices.regions:
        problem = f"region {prices.region!r} has no prices in this file"
        yield "region", problem, "one of " + ", ".join(prices.regions)
    for name, region in prices.regions.items():
        if not _is_day(region.date):
            yield f"regions.{name}.date", f"date is {region.date!r}", "a day such as 2026-01-31"
        for key in ("load_balancer_day", "disk_month", "storage_gb_month"):
            price = getattr(region, key)
            if price is not None and not (math.isfinite(price) and price > 0):
                yield f"regions.{name}.{key}", f"the price is {price}", "more than 0"
        for size, found in region.sizes.items():
            for tier, price in (
                ("dedicated", found.dedicated),
                ("low_priority", found.low_priority),
            ):
                if price is not None and not (math.isfinite(price) and price > 0):
                    key = f"regions.{name}.sizes.{size}.{tier}"
                    yield key, f"the price is {price}", "more than 0"


def _region_name(region: str) -> str:
    """Return the short name of a region: West Europe is westeurope."""
    return region.replace(" ", "").lower()


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
