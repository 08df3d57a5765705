"""The availability of a past environment's parts: base images, and packages in pip's index."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping

from packaging.version import Version

from tfhub_blocks.control.environments.environment_catalog import read_definitions
from tfhub_blocks.control.environments.image_registry import LookupFailedError, image_digest
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan
from tfhub_blocks.records.environment.environment_definitions import Image

# Asks the index for one package after another as `pip index versions` does, importing pip once.
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
    """Return the base image of each environment of a plan, or None if it is unknown locally."""
    defined = {f"{it.name}:{it.version}": it for it in read_definitions().values()}
    found: dict[str, Image | None] = {}
    for work in plan.works.values():
        lock = work.code.lock if work.code else None
        if lock and lock.environment:
            definition = defined.get(lock.environment)
            found[lock.environment] = definition.base_image if definition else None
    return found


def told_images(images: Mapping[str, Image | None], online: bool) -> Iterator[str]:
    """Yield a line about each base image. Its registry is asked only if ``online`` is True."""
    for environment, image in images.items():
        if image is None:
            yield (
                f"{environment} is not defined in this checkout any more, so its base image is "
                "unknown; the commit that built the model defines it"
            )
            continue
        state = _state(image) if online else "not checked without --online"
        yield f"{environment} is built on {image}: {state}"


def _state(image: Image) -> str:
    try:
        digest = image_digest(image)
    except LookupFailedError as error:
        return f"not available: {error}"
    if not image.digest:
        return f"available with digest {digest}; its digest then was not recorded"
    return "available" if digest == image.digest else f"the tag is another image now, {digest}"


def packages_gone(packages: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield each package NAME==VERSION that pip's index no longer has, and the reason."""
    wanted = sorted(set(packages))
    answers = _ask(dict.fromkeys(name for name, _ in wanted))
    for name, version in wanted:
        if name not in answers:
            yield f"{name}=={version}: pip did not answer within {TIMEOUT_S:g} s"
        elif problem := _problem(version, *answers[name]):
            yield f"{name}=={version}: {problem}"


def _ask(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return pip's answer about each package, as stdout and stderr, if it came in time."""
    command = [sys.executable, "-c", _ASK, *names]
    try:
        output = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S).stdout
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
    # The last line may have been cut off.
    lines = output.splitlines(keepends=True)
    answers = (json.loads(line) for line in lines if line.endswith(b"\n"))
    return {name: (out, err) for name, out, err in answers}


def _problem(version: str, out: str, err: str) -> str:
    """Return the reason why a version cannot be installed, or an empty text."""
    found = [it for it in out.splitlines() if it.startswith(_VERSIONS)]
    if not found:
        lines = [it for it in err.splitlines() if it.startswith("ERROR: ")]
        return lines[-1].removeprefix("ERROR: ") if lines else "pip does not know it"
    versions = found[0].removeprefix(_VERSIONS).split(", ")
    if Version(version) in map(Version, versions):
        return ""
    return f"the index has only other versions, the newest is {versions[0]}"
