"""Publishing: what is defined here, in the workspace or a registry, each version once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tfhub_blocks.control.environments.environment_bakes import moved
from tfhub_blocks.control.environments.environment_catalog import find_environments
from tfhub_blocks.control.project.assets import (
    DIGEST_TAG,
    Asset,
    component_asset,
    data_asset,
    encoder_asset,
    environment_asset,
    load_components,
)
from tfhub_blocks.control.repository.catalog import component_files
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.uploads import Uploads
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.pins.pins import PIN_NAME

# What each kind needs comes before it: components name environments.
_OPERATIONS = {
    "environment": "environments",
    "model": "models",
    "data": "data",
    "component": "components",
}
ENCODERS_FOLDER = Path("encoders")
NEW, THERE, DIFFERENT = "publish", "is there", "refused"


@dataclass(frozen=True)
class Planned:
    """What is to become of an asset: published, left alone, or refused, and then why."""

    asset: Asset
    action: str
    problem: str = ""


def defined_assets(
    steps: Sequence[str],
    encoders: Iterable[Path],
    data: Mapping[str, Path],
    environments: Mapping[str, str] | None = None,
) -> list[Asset]:
    """What can be published from here, in the order of what needs what.

    Args:
        steps: The names of steps, with the environments that they are pinned to; if there are
            none, all steps, all environments and the encoders in ``encoders/``.
        encoders: Folders of pinned encoders besides.
        data: Path by name.
        environments: By the name of an environment, the one with an encoder baked in that steps
            are to run in instead, and are published for.

    Raises:
        BlocksError: One of them is not as it must be.
    """
    known = component_files()
    for name in steps:
        if name not in known:
            raise BlocksError(
                "publish",
                name,
                "there is no such step",
                "one of " + ", ".join(known),
                nearest(name, known) or "see `tfhub-blocks list`",
            )
    moves, defined, folders = environments or {}, find_environments(), list(encoders)
    components = [moved(component, moves) for component in load_components(steps or known)]
    if steps:
        needed = {c.environment.removeprefix("azureml:").partition(":")[0] for c in components}
        defined = [found for found in defined if found.definition.name in needed]
    else:
        folders += [path.parent for path in sorted(ENCODERS_FOLDER.glob(f"*/{PIN_NAME}"))]
    return [
        *map(environment_asset, defined),
        *map(encoder_asset, dict.fromkeys(folders)),
        *(data_asset(name, path) for name, path in data.items()),
        *map(component_asset, components),
    ]


def plan(connection: Connection, assets: Iterable[Asset]) -> Iterator[Planned]:
    """What is to be done for each asset; nothing is written.

    Raises:
        BlocksError: The workspace could not be asked.
    """
    return (_planned(connection, asset) for asset in assets)


def _planned(connection: Connection, asset: Asset) -> Planned:
    digest = published_digest(connection, asset)
    if digest is None:
        return Planned(asset, NEW)
    if digest == asset.digest:
        return Planned(asset, THERE)
    found = f"content {digest}" if digest else f"no tag {DIGEST_TAG}"
    return Planned(asset, DIFFERENT, f"version {asset.version} is there with {found}")


def published_digest(connection: Connection, asset: Asset) -> str | None:
    """The digest that the asset's version carries there, empty if none, None if it is not there.

    Raises:
        BlocksError: The workspace could not be asked.
    """
    get = _operations(connection, asset).get
    what = f"{asset.kind} {asset.name}:{asset.version}"
    found = find("publish", what, get, asset.name, asset.version)
    return None if found is None else str((found.tags or {}).get(DIGEST_TAG, ""))


def publish(
    connection: Connection, planned: Sequence[Planned], on_change: Callable[[Planned, str], None]
) -> None:
    """Publish what is new, in order, each whole or not at all.

    Args:
        connection: Where.
        planned: The whole plan.
        on_change: Told of each asset how far it is, and in the end "published".

    Raises:
        BlocksError: A version is there with other content, and then nothing was published; or
            Azure refused one, and then those before it are there.
    """
    if problems := [item for item in planned if item.action == DIFFERENT]:
        first = problems[0]
        others = f", and {len(problems) - 1} more" if problems[1:] else ""
        raise BlocksError(
            "publish",
            f"{first.asset.kind} {first.asset.name}{others}",
            first.problem,
            f"content {first.asset.digest}, or no such version",
            "see who published it, and give yours another name; nothing was published",
        )
    uploads = Uploads(connection)
    for item in planned:
        if item.action == NEW:
            _publish(connection, uploads, item.asset, partial(on_change, item))
            on_change(item, "published")


def _publish(
    connection: Connection, uploads: Uploads, asset: Asset, on_progress: Callable[[str], None]
) -> None:
    given: Any = connection.registry
    if asset.content is not None and connection.registry is not None:
        given = str(asset.content)  # the SDK sends it: registries give no other way in
    elif asset.content is not None:
        given = uploads.send(
            asset.content,
            asset.digest,
            lambda done, total: on_progress(f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"),
        )
        if asset.kind == "environment":  # an image is built from no other kind of address
            given = uploads.address(given)
    with told("publish", f"{asset.kind} {asset.name}:{asset.version}"):
        _operations(connection, asset).create_or_update(asset.entity(given))


def _operations(connection: Connection, asset: Asset) -> Any:
    return getattr(connection.client, _OPERATIONS[asset.kind])
