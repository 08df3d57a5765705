"""Prices: what an hour of one machine of a size costs, from a dated file in the repository."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import tomli_w

from tfhub_blocks.control.repository.catalog import installed_folder
from tfhub_blocks.records.base.documents import VERSION_KEY, as_record, read_document
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.folders import write_file

FORMAT_VERSION = 1
FILE_NAME = "prices.toml"
Tier = Literal["dedicated", "low_priority"]
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True)
class SizePrices:
    """What an hour of one machine costs; a tier that is not sold has none."""

    dedicated: float | None = None
    low_priority: float | None = None


@dataclass(frozen=True)
class RegionPrices:
    """The prices of one region, and the day (``YYYY-MM-DD``) and the place that they are from."""

    date: str
    source: str
    sizes: Mapping[str, SizePrices]


@dataclass(frozen=True)
class Prices:
    """A file of prices, read and checked.

    ``region`` is that of clusters that name no location. Prices older than ``stale_days`` are told
    to be old.
    """

    currency: str
    region: str
    regions: Mapping[str, RegionPrices]
    stale_days: int = 30
    path: str = field(default="", compare=False)

    def price_per_hour(self, size: str, tier: Tier, region: str | None = None) -> float:
        """What an hour of one machine costs. Azure does not tell sizes apart by case.

        Raises:
            BlocksError: There is no price of that size and tier in the region.
        """
        region = (region or self.region).replace(" ", "").lower()  # West Europe is westeurope
        found = self.regions.get(region)
        sizes = {name.casefold(): prices for name, prices in found.sizes.items()} if found else {}
        prices = sizes.get(size.casefold())
        price: float | None = getattr(prices, tier, None)
        if price is not None:
            return price
        if found is None:
            problem = f"it has no prices of region {region}"
        elif prices is None:
            problem = f"it has no price of {size} in {region}"
        else:
            problem = f"it has no {tier} price of {size} in {region}"
        hint = nearest(size, found.sizes) if found and prices is None else ""
        refresh = f"tfhub-blocks cost refresh --region {region} --size {size}"
        raise BlocksError(
            "prices",
            self.path,
            problem,
            f"what an hour of it costs as {tier}",
            f"{hint} else {refresh}" if hint else refresh,
        )

    def day(self, region: str | None = None) -> str:
        """The day that the prices of a region are from; nothing if there are none."""
        found = self.regions.get(region or self.region)
        return found.date if found else ""

    def warnings(self, today: date | None = None) -> Iterator[str]:
        """What is to be said of prices that are old, or of a day to come."""
        today = today or datetime.now(UTC).date()
        for region, prices in self.regions.items():
            age = (today - date.fromisoformat(prices.date)).days
            told = f"the prices of {region} in {self.path} are of {prices.date}"
            if age < -1:
                yield f"{told}, which is to come: is the clock right?"
            elif age > self.stale_days:
                yield f"{told}, {age} days old: tfhub-blocks cost refresh"


def prices_path() -> Path:
    """The file of prices: the working folder's, else the installed one."""
    here = own_prices_path()
    return here if here.is_file() else installed_folder("pipelines") / FILE_NAME


def own_prices_path() -> Path:
    """Where the working folder has its own file of prices, or would have it."""
    return Path.cwd() / "pipelines" / FILE_NAME


def load_prices(path: Path | None = None) -> Prices:
    """The prices that count here.

    Raises:
        BlocksError: The file is not there, or holds something that is not understood.
    """
    path = path or prices_path()
    prices = read_document(path, Prices, FORMAT_VERSION)
    for key, problem, expected in _faults(prices):
        raise BlocksError("prices", f"{path} > {key}", problem, expected, "correct it")
    # Last, so that the file cannot say where it is.
    return Prices(prices.currency, prices.region, prices.regions, prices.stale_days, str(path))


def write_prices(prices: Prices, path: Path) -> None:
    """Write the whole file, or leave what is there."""
    record = as_record(prices)
    del record["path"]
    head = "# What an hour of one machine costs, as `tfhub-blocks cost refresh` wrote it.\n"
    text = tomli_w.dumps({VERSION_KEY: FORMAT_VERSION, **record})
    write_file(path, f"{head}{text}".encode())


def _faults(prices: Prices) -> Iterator[tuple[str, str, str]]:
    """Key, problem and expectation of each value that its type alone does not rule out."""
    if prices.path:
        yield "path", "this key is unknown", "currency, region, stale_days, regions"
    if not _CURRENCY.fullmatch(prices.currency):
        yield "currency", f"it is {prices.currency!r}", "three capital letters, such as USD"
    if prices.stale_days < 1:
        yield "stale_days", f"it is {prices.stale_days}", "at least 1"
    if prices.region not in prices.regions:
        yield "region", f"it is {prices.region!r}", "one of " + ", ".join(prices.regions)
    for name, region in prices.regions.items():
        if not _is_day(region.date):
            yield f"regions.{name}.date", f"it is {region.date!r}", "a day such as 2026-01-31"
        for size, found in region.sizes.items():
            for tier, price in (
                ("dedicated", found.dedicated),
                ("low_priority", found.low_priority),
            ):
                if price is not None and not (math.isfinite(price) and price > 0):
                    key = f"regions.{name}.sizes.{size}.{tier}"
                    yield key, f"it is {price}", "more than 0"


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
