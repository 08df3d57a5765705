"""The resolution of an open input: the newest version of a data asset that passes."""

# decision 64

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.step_messages import send_message
from tfhub_blocks.records.formats.data_versions import RULES, ChildLock, DataVersion, read_versions
from tfhub_blocks.records.formats.locked_expectations import has_content

T = TypeVar("T")


def resolve(
    step_name: str,
    release: str,
    wanted: Mapping[str, str],
    folder: Path,
    attempt: Callable[[Path, DataVersion], T],
) -> tuple[T, ChildLock]:
    """Try the versions of a data asset, the newest first, until one passes.

    Each version is read in full and compared with its digest before it is tried.

    Args:
        step_name: The step, for errors.
        release: The name of the parent lock.
        wanted: The open input, as the parent lock promises it to the step.
        folder: The folder in storage that contains the published versions.
        attempt: Builds the output from one version; a BlocksError means that the version fails.

    Returns:
        The result of the attempt that passed, and the child lock.

    Raises:
        BlocksError: A version is not what was published, or no version passes.
    """
    name, skipped = wanted["name"], list[tuple[str, str]]()
    for version in read_versions(folder, name, step_name):
        path = folder / version.path
        if not path.exists() or not has_content(path, version.digest):
            raise BlocksError(
                step_name,
                f"data {name}:{version.version}",
                f"the content of {name}:{version.version} does not have digest {version.digest}",
                "the content that was published",
                "Find out who changed the data in storage, and publish it again",
            )
        try:
            result = attempt(path, version)
        except BlocksError as error:
            skipped.append((version.version, str(error)))
            send_message("warning", f"data {name}:{version.version} does not pass: {error}")
            continue
        child = ChildLock(
            release,
            wanted["parent"],
            wanted["input"],
            wanted["rule"],
            name,
            version.version,
            version.digest,
            tuple(skipped),
        )
        return result, child
    tried = "; ".join(f"{version}: {why}" for version, why in skipped)
    raise BlocksError(
        step_name,
        f"data {name}",
        f"no version of {name} passes ({tried or 'no version was published'})",
        RULES.get(wanted["rule"], wanted["rule"]),
        f"Publish a version that passes with `tfhub-blocks publish --data {name}=PATH`",
    )
