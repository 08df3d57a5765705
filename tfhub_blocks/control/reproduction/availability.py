"""What an environment of then would need that is elsewhere: base images, other packages."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping

from packaging.version import Version

from tfhub_blocks.control.environments.environment_catalog import read_definitions
from tfhub_blocks.control.environments.image_registry import LookupFailedError, image_digest
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan
from tfhub_blocks.records.environment.environment_definitions import Image

# Asks the index for one package after the other as `pip index versions` does, importing pip once.
_ASK = """
import contextlib, io, json, runpy, sys
for name in sys.argv[1:]:
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["pip", "index", "versions", name, "--pre", "--disable-pip-version-check"]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with contextlib.suppress(SystemExit):
            runpy.run_module("pip", run_name="__main__", alter_sys=True)
    print(json.dumps([name, out.getvalue(), err.getvalue()]), flush=True)
"""
_VERSIONS = "Available versions: "
TIMEOUT_S = 600.0


def base_images(plan: ReproductionPlan) -> dict[str, Image | None]:
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


def packages_gone(packages: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Each package, by name and version, that the index of pip does not have any more, and why."""
    wanted = sorted(set(packages))
    answers = _ask(dict.fromkeys(name for name, _ in wanted))
    for name, version in wanted:
        if name not in answers:
            yield f"{name}=={version}: pip did not say within {TIMEOUT_S:g} s"
        elif problem := _problem(version, *answers[name]):
            yield f"{name}=={version}: {problem}"


def _ask(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """What pip says of each package, on stdout and stderr, as far as it came in time."""
    command = [sys.executable, "-c", _ASK, *names]
    try:
        told = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S).stdout
    except subprocess.TimeoutExpired as late:
        told = late.stdout or b""
    # The last line may have been cut off.
    answers = (json.loads(line) for line in told.splitlines(keepends=True) if line.endswith(b"\n"))
    return {name: (out, err) for name, out, err in answers}


def _problem(version: str, out: str, err: str) -> str:
    """Why a version is not to be had, or nothing."""
    found = [it for it in out.splitlines() if it.startswith(_VERSIONS)]
    if not found:
        lines = [it for it in err.splitlines() if it.startswith("ERROR: ")]
        return lines[-1].removeprefix("ERROR: ") if lines else "pip does not know it"
    versions = found[0].removeprefix(_VERSIONS).split(", ")
    if Version(version) in map(Version, versions):
        return ""
    return f"the index has other versions of it, the newest is {versions[0]}"
