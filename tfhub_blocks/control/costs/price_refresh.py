"""Prices of today: which sizes of which regions are asked for, and what replaces the old."""

import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tfhub_blocks.control.costs.prices import Prices, RegionPrices
from tfhub_blocks.control.costs.retail_prices import PriceSource
from tfhub_blocks.control.project.profiles import profile_folders
from tfhub_blocks.records.base.errors import BlocksError


@dataclass(frozen=True)
class Refreshed:
    """New prices, the regions that were asked for, and sizes (with region) that none has."""

    prices: Prices
    regions: tuple[str, ...]
    unknown: tuple[tuple[str, str], ...]


def refresh(
    old: Prices,
    source: PriceSource,
    region: str | None,
    sizes: Iterable[str],
    is_default: bool = False,
) -> Refreshed:
    """The prices of today for the sizes that are in the file, in profiles, and given.

    Args:
        old: The file as it is.
        source: Where to ask. If its currency is another one, all regions are asked for again: a
            file has one currency.
        region: The one region to ask for, which may be new; else all that are in the file.
        sizes: More sizes to ask for.
        is_default: Clusters that name no location are in that region from now on.

    Raises:
        BlocksError: The API cannot be asked, or sells nothing in a region.
    """
    is_same = source.currency == old.currency
    regions = dict.fromkeys([region] if region and is_same else [*old.regions])
    if region:
        regions[region] = None
    found, unknown = dict(old.regions), []
    for name in regions:
        known = old.regions.get(name) or old.regions[old.region]
        wanted = sorted({*known.sizes, *sizes, *profile_sizes()})
        prices = source.sizes(name, wanted)
        if not prices:
            raise BlocksError(
                "cost refresh",
                f"--region {name}",
                f"{source.url} has no price there of any of {len(wanted)} sizes",
                "Azure's name of a region, such as eastus or westeurope",
                "correct it; the prices that are here stay as they are",
            )
        found[name] = RegionPrices(str(datetime.now(UTC).date()), source.url, prices)
        unknown += [(name, size) for size in wanted if size not in prices]
    default = region if region and is_default else old.region
    prices_now = replace(old, currency=source.currency, region=default, regions=found)
    return Refreshed(prices_now, tuple(regions), tuple(unknown))


def profile_sizes() -> set[str]:
    """The sizes that profiles name, those too that lack something to be used here."""
    sizes: set[str] = set()
    for path in (path for folder in profile_folders() for path in folder.glob("*.toml")):
        with suppress(OSError, ValueError):
            record = tomllib.loads(path.read_text(encoding="utf-8"))
            for table in ("clusters", "roles"):
                tables = record.get(table)
                for entry in tables.values() if isinstance(tables, dict) else ():
                    size = entry.get("size") if isinstance(entry, dict) else None
                    sizes |= {size} if isinstance(size, str) else set()
    return sizes
