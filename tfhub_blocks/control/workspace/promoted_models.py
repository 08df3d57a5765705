"""A promoted model and its promotion in a workspace or a registry, each written once."""

# decision 34

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from azure.ai.ml.entities import Model

from tfhub_blocks.control.project.assets import (
    DIGEST_TAG,
    VERSION_DIGITS,
    Asset,
    data_asset,
)
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.workspace.asset_publishing import NEW, THERE, Planned, plan, publish
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.owners import check_asset_owner
from tfhub_blocks.control.workspace.patience import again_on_conflict
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.promotions import Promotion

WHERE = "promote"
TAG = "tfhub_blocks."
DATA_SUFFIX = "-promotion"
PROMOTION_NAME, EVIDENCE_NAME = "promotion.json", "evidence.json"


@dataclass(frozen=True)
class ModelDestination:
    """The version of a model at its destination, derived from the model's content.

    ``tags`` are the tags of the version, or None if the version does not exist yet.
    """

    connection: Connection
    name: str
    version: str
    tags: Mapping[str, str] | None

    def __str__(self) -> str:
        """Return ``NAME:VERSION``."""
        return f"{self.name}:{self.version}"

    def decision(self, profile: str) -> str:
        """Return the digest of the promotion under a profile; empty if there is none.

        A promotion under another profile does not count: its conditions differ.
        """
        return (self.tags or {}).get(f"{TAG}promoted.{profile}", "")

    def told(self, profile: str) -> str:
        """Return who promoted the model under a profile, when and why, from the tags."""
        tags = self.tags or {}
        who, when, why = (
            tags.get(f"{TAG}{key}.{profile}", "?")
            for key in ("promoted_by", "promoted_on", "promoted_because")
        )
        return f"promoted by {who} on {when}: {why}"


def find_place(
    connection: Connection, name: str, model_digest: str, owner: str = ""
) -> ModelDestination:
    """Return a model's destination, after checking that an existing version is the same model.

    The existing version's files are downloaded and read in full, because anyone can write a tag.

    Raises:
        BlocksError: The version exists with other content, the name belongs to another owner, or
            Azure refused a request.
    """
    if owner:
        check_asset_owner(connection, WHERE, "model", name, owner)
    version = model_digest[:VERSION_DIGITS]
    what = f"model {name}:{version}"
    there = find(WHERE, what, connection.client.models.get, name, version)
    if there is None:
        return ModelDestination(connection, name, version, None)
    with TemporaryDirectory() as scratch, told(WHERE, what):
        connection.client.models.download(name, version, download_path=scratch)
        found = [path.parent for path in sorted(Path(scratch).rglob("MLmodel"))]
        digest = content_digest(found[0]) if found else "of no model"
    if digest != model_digest:
        raise BlocksError(
            WHERE,
            what,
            f"this version already exists in {connection} with content {digest}",
            f"content {model_digest}, or no such version",
            "Open the version in Studio to see who created it. Nothing was promoted",
        )
    return ModelDestination(connection, name, version, dict(there.tags or {}))


def send(
    place: ModelDestination,
    promotion: Promotion,
    model: Path,
    evidence: Path,
    tags: Mapping[str, str],
    on_change: Callable[[Asset, str], None],
) -> None:
    """Publish the promotion, then the model, so that no model exists without its promotion.

    Args:
        place: The destination, as ``find_place`` returned it.
        promotion: The promotion.
        model: The model's folder.
        evidence: The evidence that the promotion is based on.
        tags: The tags of the registered model, without the project's prefix.
        on_change: Called with each asset and its progress, and at the end with "published" or
            "already exists".

    Raises:
        BlocksError: Azure refused a request, or the model has changed since the promotion.
    """
    if content_digest(model) != promotion.model_digest:
        raise BlocksError(
            WHERE,
            str(model),
            "the model was changed after its lineage was verified",
            f"content {promotion.model_digest}",
            "Find out which program changes this folder, and run `tfhub-blocks promote` again."
            " Nothing was sent",
        )
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / f"promotion-{promotion.digest[:VERSION_DIGITS]}"
        folder.mkdir()
        (folder / PROMOTION_NAME).write_text(promotion.as_text(), encoding="utf-8")
        shutil.copyfile(evidence, folder / EVIDENCE_NAME)
        decision = data_asset(f"{place.name}{DATA_SUFFIX}", folder)
        asset = _model_asset(place, promotion, model, decision, tags)
        state = NEW if place.tags is None else THERE
        planned = [*plan(place.connection, [decision]), Planned(asset, state)]
        publish(place.connection, planned, lambda item, state: on_change(item.asset, state))
    for item in planned:
        if item.action == THERE:
            on_change(item.asset, THERE)
    if place.tags is not None:
        _tag(place, asset)


def _model_asset(
    place: ModelDestination,
    promotion: Promotion,
    model: Path,
    decision: Asset,
    tags: Mapping[str, str],
) -> Asset:
    facts = {
        "promoted": promotion.digest,
        "promoted_by": ", ".join(promotion.promoters),
        "promoted_on": promotion.decided,
        "promoted_because": promotion.reason,
        "promotion": f"{decision.name}:{decision.version}",
    }
    all_tags = {f"{TAG}{name}": value for name, value in tags.items()}
    all_tags[DIGEST_TAG] = promotion.model_digest
    all_tags |= {f"{TAG}{name}.{promotion.profile}": value for name, value in facts.items()}

    def entity(address: str) -> Any:
        return Model(
            name=place.name,
            version=place.version,
            path=address,
            type="mlflow_model",
            description=f"{promotion.model}, promoted: {promotion.reason}",
            tags=all_tags,
        )

    digest = promotion.model_digest
    return Asset("model", place.name, place.version, digest, entity, model)


def _tag(place: ModelDestination, asset: Asset) -> None:
    """Add the promotion to the tags of an existing version."""
    models = place.connection.client.models

    def change() -> None:
        there = models.get(place.name, place.version)
        there.tags = {**(there.tags or {}), **asset.entity("").tags}
        models.create_or_update(there)

    with told(WHERE, f"model {place}"):
        again_on_conflict(change)
