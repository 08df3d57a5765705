"""What an environment of then would need that is elsewhere: base images, other packages."""

import subprocess
import sys
from collections.abc import Iterator, Mapping

from tfhub_blocks.control.environments import read_definitions
from tfhub_blocks.control.image_registry import LookupFailedError, image_digest
from tfhub_blocks.control.reproduction.plans import Plan
from tfhub_blocks.records.definitions import Image

_PIP = ("-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--no-input")
_QUIET = ("--quiet", "--disable-pip-version-check")
TIMEOUT_S = 120.0


def base_images(plan: Plan) -> dict[str, Image | None]:
    """The image that each environment of a plan's steps is built on; None if nothing here tells."""
    defined = {f"{it.name}:{it.version}": it for it in read_definitions().values()}
    found: dict[str, Image | None] = {}
    for work in plan.works.values():
        lock = work.code.lock if work.code else None
        if lock and lock.environment:
            definition = defined.get(lock.environment)
            found[lock.environment] = definition.base_image if definition else None
    return found


def told_images(images: Mapping[str, Image | None], online: bool) -> Iterator[str]:
    """What is known of base images, each in a line; their registries are asked only if online."""
    for environment, image in images.items():
        if image is None:
            yield (
                f"{environment} is not defined in this checkout any more, so its base image is not "
                "known; the commit that the model was made at has it"
            )
            continue
        yield f"{environment} is built on {image}: {_state(image) if online else 'not asked for'}"


def _state(image: Image) -> str:
    try:
        digest = image_digest(image)
    except LookupFailedError as error:
        return f"gone, or not to be asked: {error}"
    if not image.digest:
        return f"there, as {digest}, and nobody recorded its digest"
    return "there" if digest == image.digest else f"its tag is another image by now, {digest}"


def packages_gone(packages: Mapping[str, str]) -> Iterator[str]:
    """Each package of a version that pip does not get any more, with the reason."""
    for name, version in packages.items():
        command = [sys.executable, *_PIP, *_QUIET, f"{name}=={version}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            yield f"{name}=={version}: pip did not say within {TIMEOUT_S:g} s"
            continue
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
            reason = lines[-1].removeprefix("ERROR: ") if lines else f"status {done.returncode}"
            yield f"{name}=={version}: {reason}"
