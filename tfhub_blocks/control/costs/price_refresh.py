"""A refresh of the prices: the regions and sizes to query, and the new file of prices."""

import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tfhub_blocks.control.costs.prices import Prices, RegionPrices
from tfhub_blocks.control.costs.retail_prices import BALANCER, DISK, PriceSource
from tfhub_blocks.control.project.profiles import profile_folders
from tfhub_blocks.records.base.errors import BlocksError


@dataclass(frozen=True)
class Refreshed:
    """New prices, the regions that were queried, and (region, size) pairs without a price."""

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
    """Return today's prices for the sizes in the file, in the profiles, and in ``sizes``.

    The prices of a load balancer and of a node's disk are queried as well. If the API has none, the
    file's own stay.

    Args:
        old: The current file.
        source: The API to query. If its currency differs from the file's, all regions are queried
            again, because a file has one currency.
        region: The only region to query, which may be new; by default all regions in the file.
        sizes: More sizes to query.
        is_default: True if the region becomes the default for clusters without a location.

    Raises:
        BlocksError: The API cannot be reached, or sells none of the sizes in a region.
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
                f"{source.url} has no price in region {name} for any of {len(wanted)} sizes",
                "Azure's name of a region, such as eastus or westeurope",
                "Pass an existing region with --region. The price file is unchanged",
            )
        others = old.regions.get(name) if is_same else None
        found[name] = RegionPrices(
            str(datetime.now(UTC).date()),
            source.url,
            prices,
            load_balancer_day=per_day(source.meter(name, BALANCER))
            or (others.load_balancer_day if others else None),
            disk_month=source.meter(name, DISK) or (others.disk_month if others else None),
            # Entered by hand: the price depends on the account's redundancy and tier.
            storage_gb_month=others.storage_gb_month if others else None,
        )
        unknown += [(name, size) for size in wanted if size not in prices]
    default = region if region and is_default else old.region
    prices_now = replace(old, currency=source.currency, region=default, regions=found)
    return Refreshed(prices_now, tuple(regions), tuple(unknown))


def per_day(per_hour: float | None) -> float | None:
    """Return the price of a day; None without a price of an hour."""
    return None if per_hour is None else round(24 * per_hour, 10)


def profile_sizes() -> set[str]:
    """Return the machine sizes in all profiles, including profiles that are otherwise invalid."""
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
