"""Prices are fetched from an API of the shape of Azure's, and the file is replaced whole."""

import ipaddress
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from retail_server import item, serve_retail
from toy_project import PATIENCE_S, ROOT

from tfhub_blocks.control.costs import retail_prices as retail_api
from tfhub_blocks.control.costs.prices import load_prices

PRICES = """format_version = 1
currency = "USD"
region = "eastus"
stale_days = 30
[regions.eastus]
date = "2020-01-01"
source = "a test"
sizes.Standard_D2.dedicated = 9.0
"""
D2, D4 = "Standard_D2", "Standard_D4"
WEST = {"armRegionName": "westeurope", "location": "EU West"}


@pytest.fixture
def retail():
    with serve_retail() as retail:
        retail.items = [item(D2, 0.1), item(D2, 0.02, "Low Priority")]
        yield retail


@pytest.fixture
def toy(project, monkeypatch):
    """A project whose only profiles and prices are its own."""
    monkeypatch.setattr(
        "tfhub_blocks.control.costs.price_refresh.profile_folders",
        lambda: [project.folder / "pipelines" / "profiles"],
    )
    monkeypatch.setattr(retail_api, "BACKOFF_S", 0.01)
    monkeypatch.setattr(retail_api, "MOST_PAGES", 20)
    project.write("pipelines/prices.toml", PRICES)
    return project


def refresh(toy, retail, *words):
    return toy.main("cost", "refresh", "--url", retail.url, *words)


def sizes(region="eastus"):
    prices = load_prices(Path("pipelines/prices.toml")).regions[region]
    return {name: (it.dedicated, it.low_priority) for name, it in prices.sizes.items()}


def test_prices_of_all_pages_replace_those_of_the_file(toy, retail):
    retail.page_size = 1
    outcome = refresh(toy, retail)
    assert (outcome.status, outcome.err) == (0, "")
    assert sizes() == {D2: (0.1, 0.02)}
    assert len(retail.asked) == 4  # two pages of the size, the load balancer and the disk
    prices = load_prices(Path("pipelines/prices.toml"))
    assert prices.regions["eastus"].date == str(datetime.now(UTC).date())
    assert list(prices.warnings()) == []
    assert outcome.out == f"eastus: 1 sizes in USD\n{toy.folder}/pipelines/prices.toml\n"


def test_request_is_the_documented_one(toy, retail):
    refresh(toy, retail)
    asked, *meters = retail.asked
    assert [it["$filter"] for it in meters] == [
        "serviceName eq 'Load Balancer' and priceType eq 'Consumption' and skuName eq 'Standard' "
        "and meterName eq 'Standard Included LB Rules and Outbound Rules'",
        "serviceName eq 'Storage' and priceType eq 'Consumption' and skuName eq 'P10 LRS' "
        "and meterName eq 'P10 LRS Disk'",
    ]
    assert asked == {
        "api-version": "2023-01-01-preview",
        "currencyCode": "'USD'",
        "$filter": "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and "
        "armRegionName eq 'eastus' and armSkuName eq 'Standard_D2'",
    }


OTHERS = {
    "windows": item(D2, 5.0, productName="Virtual Machines D2 Series Windows"),
    "cloud services": item(D2, 5.0, productName="D2 Series CloudServices"),
    "spot": item(D2, 0.001, "Spot"),
    "reserved": item(D2, 700.0, type="Reservation", reservationTerm="1 Year"),
    "for testing": item(D2, 5.0, type="DevTestConsumption"),
    "by the month": item(D2, 70.0, unitOfMeasure="1/Month"),
    "above a number of hours": item(D2, 5.0, tierMinimumUnits=100.0),
    "of another region": item(D2, 5.0, **WEST),
    "of another service": item(D2, 5.0, serviceName="Azure Batch"),
    "of a time to come": item(D2, 5.0, effectiveStartDate="2999-01-01T00:00:00Z"),
    "of the past": item(D2, 5.0, effectiveEndDate="2024-02-01T00:00:00Z"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_price_of_something_else_is_not_taken(toy, retail, kind, monkeypatch):
    # As if the API did not filter, so that what is left out is left out here.
    monkeypatch.setattr(retail, "conditions", lambda _: [])
    retail.items.append(OTHERS[kind])
    assert refresh(toy, retail).status == 0
    assert sizes() == {D2: (0.1, 0.02)}


def test_of_several_meters_the_dearest_is_taken(toy, retail):
    retail.items += [item(D2, 0.3, isPrimaryMeterRegion=False), item(D2, 0.2)]
    refresh(toy, retail)
    assert sizes() == {D2: (0.3, 0.02)}


def meter(wanted, price, region="Global", **other):
    """An item of a meter, as the API lists it."""
    names = {
        "serviceName": wanted.service,
        "productName": wanted.product,
        "skuName": wanted.sku,
        "meterName": wanted.name,
        "unitOfMeasure": wanted.unit,
        "armSkuName": "",
        "armRegionName": region,
    }
    return item("", price, **(names | other))


def test_load_balancer_and_disk_have_the_prices_of_their_meters(toy, retail):
    balancer, disk = retail_api.BALANCER, retail_api.DISK
    retail.items += [
        meter(balancer, 0.025),
        meter(balancer, 0.5, "westeurope"),
        meter(balancer, 9.0, unitOfMeasure="1 Month"),
        meter(disk, 19.71, "eastus"),
        meter(disk, 30.0, "westeurope"),
        meter(disk, 99.0, "eastus", productName="Premium SSD Managed Disks v0"),
    ]
    assert refresh(toy, retail).status == 0
    found = load_prices().regions["eastus"]
    assert (found.load_balancer_day, found.disk_month) == (0.6, 19.71)
    # A region's own meter comes before the one of all regions.
    retail.items += [meter(balancer, 0.03, "eastus")]
    assert refresh(toy, retail).status == 0
    assert load_prices().regions["eastus"].load_balancer_day == 0.72


def test_prices_of_meters_that_are_not_listed_stay_and_a_bad_one_is_refused(toy, retail):
    toy.write("pipelines/prices.toml", PRICES + "load_balancer_day = 0.33\ndisk_month = 5.0\n")
    assert refresh(toy, retail).status == 0
    found = load_prices().regions["eastus"]
    assert (found.load_balancer_day, found.disk_month) == (0.33, 5.0)
    retail.items += [meter(retail_api.DISK, 0.0, "eastus")]
    outcome = refresh(toy, retail)
    assert "the API returned the price 0.0 for P10 LRS Disk in eastus" in outcome.err
    assert load_prices().regions["eastus"] == found


def test_size_that_is_only_auctioned_has_no_low_priority_price(toy, retail):
    retail.items = [item(D2, 0.1), item(D2, 0.01, "Spot")]
    refresh(toy, retail)
    assert sizes() == {D2: (0.1, None)}


def test_sizes_of_profiles_are_asked_for_and_those_that_are_named(toy, retail):
    toy.write("pipelines/profiles/odd.toml", 'clusters.a.size = "Standard_D4"\nnonsense = 3')
    toy.write("pipelines/profiles/broken.toml", "= ")
    retail.items += [item(D4, 0.2), item("Standard_D8", 0.4)]
    outcome = refresh(toy, retail, "--size", "Standard_D8", "--size", "Standard_D9")
    assert set(sizes()) == {D2, D4, "Standard_D8"}
    assert outcome.err == "warning: eastus has no price for Standard_D9: this size is left out\n"


def test_new_region_comes_beside_the_others_and_may_become_the_default(toy, retail):
    retail.items += [item(D2, 0.15, **WEST)]
    assert refresh(toy, retail, "--region", "westeurope").status == 0
    prices = load_prices()
    assert (prices.region, set(prices.regions)) == ("eastus", {"eastus", "westeurope"})
    assert prices.regions["eastus"].date == "2020-01-01"
    assert prices.price_per_hour(D2, "dedicated", "westeurope") == 0.15
    assert refresh(toy, retail, "--region", "westeurope", "--default").status == 0
    assert load_prices().price_per_hour(D2, "dedicated") == 0.15


def test_other_currency_is_that_of_all_regions(toy, retail):
    retail.items += [item(D2, 0.15, **WEST)]
    assert refresh(toy, retail, "--region", "westeurope", "--currency", "EUR").status == 0
    prices = load_prices()
    assert prices.currency == "EUR"
    assert prices.price_per_hour(D2, "dedicated") == 0.05
    assert prices.price_per_hour(D2, "dedicated", "westeurope") == 0.075


@pytest.mark.parametrize("fault", [429, 500, 503, "dropped", "{"])
def test_what_may_pass_is_tried_again(toy, retail, fault):
    retail.faults = [fault, fault]
    assert refresh(toy, retail).status == 0
    assert sizes() == {D2: (0.1, 0.02)}
    assert len(retail.asked) == 5


FAULTS = {
    "always broken": ({"faults": [500] * 9}, "answered with status 500"),
    "refused": ({"faults": [400]}, "answered with status 400"),
    "not JSON": ({"faults": ["<html>"] * 9}, "the API cannot be reached (Expecting value"),
    "no object": ({"faults": ["[]"]}, "the answer is not a JSON object"),
    "no items": ({"faults": ["{}"]}, "the answer has no list of Items"),
    "items of another kind": ({"faults": ['{"Items": [1]}']}, "the answer has no list of Items"),
    "next page elsewhere": (
        {"links": ["https://example.org/x"]},
        "the next page is at another address",
    ),
    "endless": ({"links": ["URL"] * 40}, "the answer has more than 20 pages"),
    "no price": ({"items": [item(D2, 0.1), item(D2, 0)]}, "the API returned the price 0 for D2"),
    "negative": ({"items": [item(D2, -0.1)]}, "the API returned the price -0.1"),
    "a word": ({"items": [item(D2, "0.1")]}, "the API returned the price '0.1'"),
    "nothing sold": ({"items": []}, "has no price in region eastus for any of 1 sizes"),
    "other currency": ({"rates": {"USD": 1.0}, "words": ["--currency", "XYZ"]}, "a price in USD"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_wrong_leaves_the_file_as_it_was(toy, retail, name, monkeypatch):
    given, message = FAULTS[name]
    for key, value in given.items():
        if key == "links":
            value = [link.replace("URL", retail.url) for link in value]
        setattr(retail, key, value)
    outcome = refresh(toy, retail, *given.get("words", ()))
    assert outcome.status == 2
    assert message in outcome.err
    assert "The price file is unchanged" in outcome.err
    assert toy.read("pipelines/prices.toml") == PRICES
    assert not list(toy.folder.glob("pipelines/.prices*"))


def test_failure_at_the_last_size_leaves_the_file_as_it_was(toy, retail):
    retail.items += [item(D4, 0.2)]
    retail.faults = [None, 400]
    assert refresh(toy, retail, "--size", D4).status == 2
    assert toy.read("pipelines/prices.toml") == PRICES


@pytest.mark.parametrize("url", ["http://example.org/prices", "ftp://127.0.0.1/x", "prices"])
def test_address_on_whose_way_prices_could_be_changed_is_refused(toy, url):
    outcome = toy.main("cost", "refresh", "--url", url)
    assert outcome.status == 2
    assert "could be changed on the way" in outcome.err


def test_refreshed_prices_come_into_the_working_folder(toy, retail):
    (toy.folder / "pipelines" / "prices.toml").unlink()
    before = (ROOT / "pipelines" / "prices.toml").read_bytes()
    retail.items = [item("Standard_D4ds_v5", 0.3)]
    assert refresh(toy, retail).status == 0
    assert sizes() == {"Standard_D4ds_v5": (0.3, None)}
    assert (ROOT / "pipelines" / "prices.toml").read_bytes() == before


def test_https_is_taken_if_its_certificate_is_good(toy, tmp_path):
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    variables = os.environ | {"PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(certificate)}
    with serve_retail(context) as retail:
        retail.items = [item("Standard_D2", 0.1), item("Standard_DS3_v2", 0.2)]
        words = ("cost", "refresh", "--url", retail.url)
        process = toy.start(*words, env=variables)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert "eastus: 2 sizes in USD" in out
        trusting_nobody = variables | {"SSL_CERT_FILE": os.devnull}
        script = (
            "from tfhub_blocks.control.costs import retail_prices as api\napi.BACKOFF_S = 0\n"
            "import sys\nfrom tfhub_blocks.cli import main\nsys.exit(main(sys.argv[1:]))"
        )
        process = subprocess.run(
            [sys.executable, "-c", script, *words],
            env=trusting_nobody,
            cwd=toy.folder,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 2
        assert "CERTIFICATE_VERIFY_FAILED" in process.stderr


def self_signed(folder):
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path
