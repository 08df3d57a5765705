"""Azure's Retail Prices API on loopback: filters, pages, currencies, and faults."""

import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/api/retail/prices"
_CONDITION = re.compile(r"(\w+) eq '((?:[^']|'')*)'")
_FIELDS = {"priceType": "type"}


def item(size: str, price: float, sku: str = "", **other: Any) -> dict[str, Any]:
    """An item as the API documents it; ``sku`` is what follows the size in the sku's name."""
    name = size.removeprefix("Standard_").replace("_", " ")
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": "eastus",
        "location": "US East",
        "effectiveStartDate": "2024-01-01T00:00:00Z",
        "meterId": "00000000-0000-0000-0000-000000000000",
        "meterName": f"{name} {sku}".strip(),
        "productId": "DZH318Z0BQ4B",
        "skuId": "DZH318Z0BQ4B/0001",
        "productName": "Virtual Machines Series",
        "skuName": f"{name} {sku}".strip(),
        "serviceName": "Virtual Machines",
        "serviceId": "DZH313Z7MMC8",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": size,
    } | other


@dataclass
class Retail:
    """What it sells, how it answers, and what it was asked.

    ``faults`` befall one request each, in order: a status, a text in the place of an answer, or
    ``dropped``; ``links`` take the place of next pages.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    page_size: int = 2
    faults: list[Any] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=lambda: {"USD": 1.0, "EUR": 0.5})
    url: str = ""

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        asked = {_FIELDS.get(k, k): v.replace("''", "'") for k, v in self.conditions(query)}
        currency = query.get("currencyCode", "'USD'").strip("'")
        # The API falls back to dollars for a currency that it does not know.
        currency = currency if currency in self.rates else "USD"
        found = [it for it in self.items if all(it[key] == value for key, value in asked.items())]
        start = int(query.get("$skip", 0))
        here = [self.priced(it, currency) for it in found[start : start + self.page_size]]
        more = urllib.parse.urlencode(query | {"$skip": start + self.page_size})
        link = f"{self.url}?{more}" if start + self.page_size < len(found) else None
        return {
            "BillingCurrency": currency,
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": here,
            "NextPageLink": self.links.pop(0) if self.links else link,
            "Count": len(here),
        }

    def conditions(self, query: dict[str, str]) -> list[tuple[str, str]]:
        """Those of a filter, all of it."""
        text = query.get("$filter", "")
        assert text == " and ".join(f"{k} eq '{v}'" for k, v in _CONDITION.findall(text)), text
        return _CONDITION.findall(text)

    def priced(self, it: dict[str, Any], currency: str) -> dict[str, Any]:
        price = it["retailPrice"]
        rate = self.rates[currency]
        return it | {
            "currencyCode": currency,
            "retailPrice": price * rate if isinstance(price, float) else price,
        }


@contextmanager
def serve_retail(context: ssl.SSLContext | None = None) -> Iterator[Retail]:
    retail = Retail()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, text = self.path.partition("?")
            query = dict(urllib.parse.parse_qsl(text))
            retail.asked.append(query)
            fault = retail.faults.pop(0) if retail.faults else None
            if fault == "dropped":
                self.close_connection = True
                return
            if isinstance(fault, int):
                self.answer(fault, b"{}", {"Retry-After": "0"} if fault == 429 else {})
            elif path != PATH:
                self.answer(404, b"{}")
            elif fault is not None:
                self.answer(200, fault.encode())
            else:
                self.answer(200, json.dumps(retail.page(query)).encode())

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            told = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
            for name, value in (told | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...  # who asked went away

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if context else "http"
    retail.url = f"{scheme}://127.0.0.1:{server.server_port}{PATH}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield retail
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
