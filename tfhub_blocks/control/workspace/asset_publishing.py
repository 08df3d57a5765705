"""Publication of local assets in a workspace or a registry, each version once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tfhub_blocks.control.environments.environment_bakes import moved
from tfhub_blocks.control.environments.environment_catalog import Environment, find_environments
from tfhub_blocks.control.project.assets import (
    DIGEST_TAG,
    Asset,
    check_pin,
    component_asset,
    data_asset,
    encoder_asset,
    environment_asset,
    load_components,
    pin_files,
)
from tfhub_blocks.control.project.profiles import Publishing
from tfhub_blocks.control.repository.catalog import component_files
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.owners import check_asset_owner
from tfhub_blocks.control.workspace.uploads import PREFIX, Uploads, staged
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.formats.data_versions import DataVersion
from tfhub_blocks.records.pins.pins import PIN_NAME

# In order of dependence: components name environments.
_OPERATIONS = {
    "environment": "environments",
    "model": "models",
    "data": "data",
    "component": "components",
}
NEW, THERE, DIFFERENT = "publish", "already exists", "refused"


@dataclass(frozen=True)
class Planned:
    """The planned action for an asset (publish, leave, refuse), with the reason of a refusal."""

    asset: Asset
    action: str
    problem: str = ""


def defined_assets(
    steps: Sequence[str],
    encoders: Iterable[Path],
    data: Mapping[str, Path],
    environments: Mapping[str, str] | None = None,
    owner: str = "",
    publishing: Publishing | None = None,
) -> list[Asset]:
    """Return the assets that can be published from here, each after the assets that it needs.

    Args:
        steps: The names of steps to publish with the environments that they are pinned to. Without
            names: all steps, all environments and the encoders in ``encoders/``.
        encoders: Folders of further pinned encoders.
        data: Path by name.
        environments: Maps the name of an environment to one with an encoder baked in, in which the
            steps run instead and for which they are published.
        owner: The owner of the data, which becomes a tag of new versions.
        publishing: The prefix of the names of steps, and their metadata.

    Raises:
        BlocksError: A step is unknown, or an asset is incomplete or differs from its pin.
    """
    components, defined = published_steps(steps, environments)
    folders = list(encoders)
    if not steps:
        folders += [
            folder if (folder / PIN_NAME).is_file() else file.parent
            for folder, file in pin_files().items()
        ]
    for folder in folders:
        check_pin(folder)
    return [
        *map(environment_asset, defined),
        *map(encoder_asset, dict.fromkeys(folders)),
        *(data_asset(name, path, owner) for name, path in data.items()),
        *(component_asset(component, publishing) for component in components),
    ]


def published_steps(
    steps: Sequence[str], environments: Mapping[str, str] | None = None
) -> tuple[list[Any], list[Environment]]:
    """Return the named steps with the environments that they need; without names, all of both.

    Raises:
        BlocksError: A step is unknown.
    """
    known = component_files()
    for name in steps:
        if name not in known:
            raise BlocksError(
                "publish",
                name,
                f"step {name!r} does not exist",
                "one of " + ", ".join(known),
                nearest(name, known) or "Run `tfhub-blocks list` to see the names of all steps",
            )
    defined = find_environments()
    components = [
        moved(component, environments or {}) for component in load_components(steps or known)
    ]
    if steps:
        needed = {c.environment.removeprefix("azureml:").partition(":")[0] for c in components}
        defined = [found for found in defined if found.definition.name in needed]
    return components, defined


def plan(connection: Connection, assets: Iterable[Asset], owner: str = "") -> Iterator[Planned]:
    """Yield the planned action for each asset, without writing anything.

    Raises:
        BlocksError: The workspace did not answer, or data would get a new version under a name
            that belongs to another owner.
    """
    for asset in assets:
        planned = _planned(connection, asset)
        if owner and asset.kind == "data" and planned.action == NEW:
            check_asset_owner(connection, "publish", asset.kind, asset.name, owner)
        yield planned


def _planned(connection: Connection, asset: Asset) -> Planned:
    digest = published_digest(connection, asset)
    if digest is None:
        return Planned(asset, NEW)
    if digest == asset.digest:
        return Planned(asset, THERE)
    found = f"content {digest}" if digest else f"no tag {DIGEST_TAG}"
    return Planned(asset, DIFFERENT, f"version {asset.version} already exists with {found}")


def published_digest(connection: Connection, asset: Asset) -> str | None:
    """Return the digest tag of a published version: empty without a tag, None without the version.

    Raises:
        BlocksError: The workspace did not answer.
    """
    get = _operations(connection, asset).get
    what = f"{asset.kind} {asset.name}:{asset.version}"
    found = find("publish", what, get, asset.name, asset.version)
    return None if found is None else str((found.tags or {}).get(DIGEST_TAG, ""))


def publish(
    connection: Connection, planned: Sequence[Planned], on_change: Callable[[Planned, str], None]
) -> None:
    """Publish every new asset in order; each version is complete or absent.

    Args:
        connection: The workspace or the registry.
        planned: The complete plan.
        on_change: Called with each asset and its progress, and at the end with "published".

    Raises:
        BlocksError: A version exists with other content, and then nothing was published; or Azure
            refused an asset, and then the assets before it are published.
    """
    if problems := [item for item in planned if item.action == DIFFERENT]:
        first = problems[0]
        others = f", and {len(problems) - 1} more" if problems[1:] else ""
        raise BlocksError(
            "publish",
            f"{first.asset.kind} {first.asset.name}{others}",
            first.problem,
            f"content {first.asset.digest}, or no such version",
            "Open the version in Studio to see who published it, and publish your asset under"
            " another name. Nothing was published",
        )
    uploads = Uploads(connection)
    for item in planned:
        if item.action == NEW:
            _publish(connection, uploads, item.asset, partial(on_change, item))
            on_change(item, "published")


def _publish(
    connection: Connection, uploads: Uploads, asset: Asset, on_progress: Callable[[str], None]
) -> None:
    if asset.content is None:
        _create(connection, asset, connection.registry)
        return
    # The digest of an environment covers only the files that define it.
    digest = None if asset.kind == "environment" else asset.digest
    with staged(asset.content, digest) as content:
        given = str(content)  # only the SDK can upload to a registry
        if connection.registry is None:
            given = uploads.send(
                content,
                asset.digest,
                lambda done, total: on_progress(f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"),
            )
            if asset.kind == "data":
                # Before the asset, so that a repeated call after a failure records the version too.
                version = data_version(asset.name, asset.version, asset.digest, given)
                uploads.keep_version(version)
            if asset.kind == "environment":
                # Azure builds an image only from an https address that ends in a slash
                # (decision 82).
                given = f"{uploads.address(given)}/"
        _create(connection, asset, given)


def _create(connection: Connection, asset: Asset, given: Any) -> None:
    with told("publish", f"{asset.kind} {asset.name}:{asset.version}"):
        _operations(connection, asset).create_or_update(asset.entity(given))


def data_version(
    name: str, version: str, digest: str, address: str, published: datetime | None = None
) -> DataVersion:
    """Return the record of a published version of data, from the address of its upload.

    ``published`` is the time of the publication; without it, the version is published now.
    """
    path = address.partition(f"/paths/{PREFIX}/")[2].strip("/")
    when = (published or datetime.now(UTC)).astimezone(UTC)
    stamp = when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return DataVersion(name, version, digest, path, stamp)


def _operations(connection: Connection, asset: Asset) -> Any:
    return getattr(connection.client, _OPERATIONS[asset.kind])
