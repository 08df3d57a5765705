"""Checks of what runs need from outside of the workspace: base images and price meters."""

# decision 86

from collections.abc import Iterator
from http.client import NOT_FOUND

from tfhub_blocks.control.costs.prices import load_prices
from tfhub_blocks.control.costs.retail_prices import PriceSource
from tfhub_blocks.control.doctor.checkup import MISSING, OK, UNKNOWN, Row, State, Subject
from tfhub_blocks.control.environments.environment_catalog import find_environments
from tfhub_blocks.control.environments.image_registry import LookupFailedError, image_digest
from tfhub_blocks.records.environment.environment_definitions import Image

SERVING = "serving"


def check_images(_: Subject) -> Iterator[Row]:
    """Yield for each base image whether its registry has it, with the digest that is pinned."""
    environments = [it for it in find_environments() if it.references or it.key == SERVING]
    images = {str(image): image for it in environments for image in it.definition.images}
    for reference, image in sorted(images.items()):
        # A tag may point to another image today: the pinned one is asked for by its digest.
        name = image.reference.removesuffix(f":{image.tag}")
        pinned = Image(f"{name}:{image.digest}") if image.digest else image
        try:
            digest = image_digest(pinned)
        except LookupFailedError as error:
            is_gone = getattr(error.__cause__, "status", None) == NOT_FOUND
            fix = f"Name another tag of {name} in the Dockerfile, then run tfhub-blocks env lock"
            if not is_gone:
                fix = f"Allow this machine to reach {name.partition('/')[0]}"
            state: State = MISSING if is_gone else UNKNOWN
            yield Row("base images", reference, str(error), "the image", state, fix)
        else:
            yield Row("base images", reference, digest, "the image", OK)


def check_prices(subject: Subject) -> Iterator[Row]:
    """Yield for each machine of the profile whether Azure has a meter for its price."""
    prices = load_prices()
    source = PriceSource(prices.currency)
    region = subject.location.replace(" ", "").lower()
    sizes = sorted({size for _, size, _, _ in subject.machines})
    found = source.sizes(region, sizes)
    for key, size, _, low_priority in subject.machines:
        tier = "low_priority" if low_priority else "dedicated"
        price = getattr(found.get(size), tier, None)
        needed = f"a {tier.replace('_', ' ')} price of {size} in {region}"
        if price is None:
            fix = f"Choose a size that is sold in {region}: edit {key}.size in the profile"
            yield Row("prices", key, "no meter", needed, MISSING, fix)
            continue
        yield Row("prices", key, f"{price:g} {prices.currency} an hour", needed, OK)
        known = prices.regions.get(region)
        if known is None or size.casefold() not in {name.casefold() for name in known.sizes}:
            fix = f"tfhub-blocks cost refresh --region {region} --size {size}"
            yield Row("prices", key, f"{region} is not in the price file", needed, MISSING, fix)
