"""Azure's public Retail Prices API.

See https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices.
"""

# decision 26

import json
import math
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tfhub_blocks.control.costs.prices import SizePrices, Tier
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.http_client import HttpError, chunks, is_safe, opened, retried

URL = "https://prices.azure.com/api/retail/prices"
# From this version on filters are case-sensitive.
API_VERSION = "2023-01-01-preview"
TIMEOUT_S = 30.0
TRIES, BACKOFF_S = 5, 1.0
MOST_PAGES = 1000
# The end of a SKU's name identifies special tiers. Spot machines are auctioned, and Azure ML's
# clusters cannot buy them.
_SUFFIXES: Mapping[str, Tier | None] = {"Low Priority": "low_priority", "Spot": None}


@dataclass(frozen=True)
class Meter:
    """A meter of something else than a machine, by the names that the API gives it.

    Meters in the region ``Global`` apply to every region that has none of its own.
    """

    service: str
    product: str
    sku: str
    name: str
    unit: str


# A cluster's load balancer, by the hour, and the disk of a node (P10, 128 GiB), by the month.
BALANCER = Meter(
    "Load Balancer",
    "Load Balancer",
    "Standard",
    "Standard Included LB Rules and Outbound Rules",
    "1 Hour",
)
DISK = Meter("Storage", "Premium SSD Managed Disks", "P10 LRS", "P10 LRS Disk", "1/Month")
_GLOBAL = "Global"


@dataclass(frozen=True)
class PriceSource:
    """The API to query for prices, and the currency."""

    currency: str
    url: str = URL

    def __post_init__(self) -> None:
        if not is_safe(self.url):
            raise BlocksError(
                "cost refresh",
                f"--url {self.url}",
                f"{self.url} is not an https address, so its prices could be changed on the way",
                "an https address",
                f"Leave out --url to use {URL}",
            )

    def sizes(self, region: str, names: Iterable[str]) -> dict[str, SizePrices]:
        """Return the prices of sizes in a region; a size that is not sold there is left out.

        Raises:
            BlocksError: The API cannot be reached, refuses the request, or returns no valid prices.
        """
        found: dict[str, SizePrices] = {}
        for name in names:
            prices: dict[Tier, float] = {}
            for item in self._items(_machine_filter(region, name)):
                tier = _tier(item)
                if tier is not None and _belongs(item, region, name):
                    # The highest of several meters, because a ceiling must not be too low.
                    prices[tier] = max(self._price(item), prices.get(tier, 0.0))
            if prices:
                found[name] = SizePrices(**prices)
        return found

    def meter(self, region: str, meter: Meter) -> float | None:
        """Return the price of a meter in a region; None if the API has none.

        Raises:
            BlocksError: The API cannot be reached, refuses the request, or returns no valid prices.
        """
        found: dict[str, float] = {}
        for item in self._items(_meter_filter(meter)):
            place = str(item.get("armRegionName"))
            if place in (region, _GLOBAL) and _is_of(item, meter):
                found[place] = max(self._price(item), found.get(place, 0.0))
        return found.get(region, found.get(_GLOBAL))

    def _items(self, asked: str) -> Iterator[Mapping[str, Any]]:
        query = {
            "api-version": API_VERSION,
            "currencyCode": _quoted(self.currency),
            "$filter": asked,
        }
        url = f"{self.url}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"
        for _ in range(MOST_PAGES):
            page = self._page(url)
            items = page.get("Items")
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise self._refused("the answer has no list of Items", url)
            yield from items
            link = page.get("NextPageLink")
            if not link:
                return
            if _origin(str(link)) != _origin(self.url):
                raise self._refused(f"the next page is at another address, {link}", url)
            url = str(link)
        raise self._refused(f"the answer has more than {MOST_PAGES} pages", url)

    def _page(self, url: str) -> Mapping[str, Any]:
        """Return one page; temporary failures are retried."""
        try:
            page = retried(lambda: _read(url), TRIES, BACKOFF_S)
        except HttpError as error:
            answered = f"answered with status {error}"
            problem = answered if error.status else f"cannot be reached ({error})"
            raise self._refused(f"the API {problem}", url) from error
        if not isinstance(page, dict):
            raise self._refused("the answer is not a JSON object", url)
        return page

    def _price(self, item: Mapping[str, Any]) -> float:
        currency, price = item.get("currencyCode"), item.get("retailPrice")
        if currency != self.currency:
            raise self._refused(f"the API returned a price in {currency}", self.url)
        good = isinstance(price, int | float) and math.isfinite(price) and price > 0
        if not good or not isinstance(price, int | float):
            what = f"{item.get('meterName')} in {item.get('armRegionName')}"
            raise self._refused(f"the API returned the price {price!r} for {what}", self.url)
        return float(price)

    def _refused(self, problem: str, url: str) -> BlocksError:
        return BlocksError(
            "cost refresh",
            url.partition("?")[0],
            problem,
            f"Azure's list prices in {self.currency}",
            "Run the command again later. The price file is unchanged",
        )


def _belongs(item: Mapping[str, Any], region: str, size: str) -> bool:
    """Return True if an item is the current price per hour of such a machine with Linux."""
    product = str(item.get("productName", ""))
    return (
        item.get("serviceName") == "Virtual Machines"
        and item.get("type") == "Consumption"
        and item.get("unitOfMeasure") == "1 Hour"
        and item.get("armRegionName") == region
        and str(item.get("armSkuName", "")).casefold() == size.casefold()
        and "Windows" not in product
        and "CloudServices" not in product.replace(" ", "")
        and not item.get("tierMinimumUnits")
        and _is_now(item)
    )


def _machine_filter(region: str, size: str) -> str:
    return (
        "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' "
        f"and armRegionName eq {_quoted(region)} and armSkuName eq {_quoted(size)}"
    )


def _meter_filter(meter: Meter) -> str:
    """Return the filter of a meter in all regions, because it may be sold in Global alone."""
    return (
        f"serviceName eq {_quoted(meter.service)} and priceType eq 'Consumption' "
        f"and skuName eq {_quoted(meter.sku)} and meterName eq {_quoted(meter.name)}"
    )


def _is_of(item: Mapping[str, Any], meter: Meter) -> bool:
    """Return True if an item is the current price of a meter."""
    return (
        item.get("serviceName") == meter.service
        and item.get("productName") == meter.product
        and item.get("skuName") == meter.sku
        and item.get("meterName") == meter.name
        and item.get("unitOfMeasure") == meter.unit
        and item.get("type") == "Consumption"
        and not item.get("tierMinimumUnits")
        and _is_now(item)
    )


def _tier(item: Mapping[str, Any]) -> Tier | None:
    """Return the tier of an item's machine; None for a tier that Azure ML does not offer."""
    names = (str(item.get("skuName", "")), str(item.get("meterName", "")))
    for suffix, tier in _SUFFIXES.items():
        if any(name.endswith(suffix) for name in names):
            return tier
    return "dedicated"


def _is_now(item: Mapping[str, Any]) -> bool:
    now = datetime.now(UTC)
    start, end = (_time(item.get(f"effective{which}Date")) for which in ("Start", "End"))
    return not (start and start > now) and not (end and end <= now)


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _quoted(text: str) -> str:
    """Return a text quoted for an OData filter."""
    return "'" + text.replace("'", "''") + "'"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:  # the port is not a number
        port = None
    return parts.scheme, parts.hostname or "", port


def _read(url: str) -> object:
    with opened(url, {}, TIMEOUT_S) as answer:
        if _origin(str(answer.url)) != _origin(url):
            raise HttpError(f"the API redirects to {str(answer.url).partition('?')[0]}")
        try:
            content: object = json.loads(b"".join(chunks(answer)))
        except ValueError as error:
            raise HttpError(error, again=True) from error
        return content
