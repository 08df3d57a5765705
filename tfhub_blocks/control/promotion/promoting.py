"""The act of promotion: open the case, check the conditions, and send the model."""

# decision 34

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfhub_blocks.control.lineage.local_registrations import Registration
from tfhub_blocks.control.lineage.promotion_statements import (
    TAG,
    TAG_OF_ASSETS,
    keep_promotion,
    promotion_path,
)
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.project.assets import Asset
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.promotion.promotion_case import WHERE, Case, open_case
from tfhub_blocks.control.promotion.promotion_conditions import refusals
from tfhub_blocks.control.promotion.release_origin import with_release
from tfhub_blocks.control.repository.people import local_names
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.intents import intent
from tfhub_blocks.control.workspace.logins import find_login
from tfhub_blocks.control.workspace.promoted_models import ModelDestination, find_place, send
from tfhub_blocks.records.base.digests import file_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.promotions import Promotion, parse_promotion, read_promotion

INTENTS_NAME = "intents"
# The longest text that Azure accepts in a tag.
_LONGEST_REASON = 250


@dataclass(frozen=True)
class Proposal:
    """A proposed promotion: the case, the refusals of its conditions, and the model's destination.

    ``place`` is None if the model's files were not found locally, so Azure was not asked.
    """

    case: Case
    refused: dict[str, list[BlocksError]]
    reason: str
    connection: Connection
    place: ModelDestination | None

    @property
    def holds(self) -> bool:
        """True if every condition is met."""
        return not any(self.refused.values())

    @property
    def decided(self) -> str:
        """The digest of the promotion that already brought the model there, or an empty text."""
        return self.place.decision(self.case.profile.name) if self.place else ""


def check_reason(reason: str) -> str:
    """Return a reason without the white space around it.

    Raises:
        BlocksError: The reason is empty, has several lines, or is longer than a tag.
    """
    text = reason.strip()
    if not text or len(text) > _LONGEST_REASON or not text.isprintable():
        problem = f"the reason has {len(text)} characters"
        if not text.isprintable():
            problem = "the reason has several lines"
        raise BlocksError(
            WHERE,
            "--reason",
            problem if text else "the reason is empty",
            f"one line of at most {_LONGEST_REASON} characters",
            "Pass --reason with why this model may be used there; users of the model read it",
        )
    return text


def propose(
    text: str,
    archive: Archive,
    profile: Profile,
    connection: Connection,
    reason: str,
    fetched: Registration | None = None,
) -> Proposal:
    """Check all conditions of a promotion. Nothing is written.

    ``fetched`` is the model, if it is registered in a workspace.

    Raises:
        BlocksError: The model does not exist, something else is at its destination, or Azure
            refused a request.
    """
    case = open_case(text, archive, profile, fetched)  # before Azure is asked for anything
    login = find_login(connection, WHERE)
    names = tuple(dict.fromkeys((*login.names, *local_names())))
    by_git = any("@" in name for name in local_names())
    case = with_release(replace(case, promoters=names, is_known=login.is_person or by_git))
    refused = refusals(case)
    wanted = profile.promotion.workspace
    if wanted and wanted != connection.name:
        refused["profile"].append(
            BlocksError(
                WHERE,
                f"profile {profile.name}",
                f"the workspace is {connection.name}",
                f"workspace {wanted}, from [promotion] of the profile",
                f"Pass the config.json of workspace {wanted} with --workspace-config",
            )
        )
    model = case.model
    digest = model.digest if model else ""  # empty without lineage
    owner = case.version.tags.get("owner", "")
    place = find_place(connection, case.version.name, digest, owner) if digest else None
    return Proposal(case, refused, reason, connection, place)


def promote(
    proposal: Proposal, folder: Path, on_change: Callable[[Asset, str], None]
) -> tuple[Promotion | None, Path | None]:
    """Carry out a proposal once; return the promotion and its path, as far as known locally.

    After an interruption, the same command continues within an hour, with the same promotion. If
    the model is there already by a promotion under this profile, that promotion stays.

    Args:
        proposal: A proposal whose conditions are all met.
        folder: The folder ``.runs``.
        on_change: A function that receives each asset and what was done with it.

    Raises:
        BlocksError: Azure refused a request.
    """
    case, place = proposal.case, proposal.place
    model, proof = case.model, case.proof
    if not proposal.holds or model is None or proof is None or place is None:
        raise ValueError("the conditions of the proposal are not met")
    new = _promotion(proposal, place)
    key = replace(new, decided="").digest[:40]
    with intent(folder / INTENTS_NAME, f"promotion-{key}", new.as_text()) as (kept, _):
        promotion = parse_promotion(kept)
        if proposal.decided not in ("", promotion.digest):
            return _earlier(case, proposal.decided, folder)
        if not proposal.decided:
            # The tags of a promotion to another destination say nothing about this one.
            given = case.version.tags.items()
            tags = {k: v for k, v in given if not k.startswith((TAG, TAG_OF_ASSETS))}
            send(place, promotion, model.path, proof.path, tags, on_change)
        return promotion, keep_promotion(case.version, promotion, folder)


def _promotion(proposal: Proposal, place: ModelDestination) -> Promotion:
    case, evidence, model = proposal.case, proposal.case.evidence, proposal.case.model
    release = case.release.lock if case.release else None
    knots = case.chain.knots.values()
    return Promotion(
        model=case.version.label,
        model_digest=model.digest if model else "",
        statement=model.statement if model else "",
        evidence=str(evidence.as_statement()["digest"]) if evidence else "",
        destination=str(proposal.connection),
        asset=str(place),
        profile=case.profile.name,
        profile_digest=file_sha256(case.profile.path),
        promoters=case.promoters,
        authors=case.authors,
        two_persons=case.profile.promotion.two_persons,
        owner=case.owner,
        reason=proposal.reason,
        decided=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        release=release.name if release else "",
        release_digest=release.digest if release else "",
        contrary=case.contrary,
        chain=tuple(sorted({knot.output.statement for knot in knots if knot.output.statement})),
    )


def _earlier(case: Case, digest: str, folder: Path) -> tuple[Promotion | None, Path | None]:
    """Return the earlier promotion of a model if it was recorded locally; name it again in tags."""
    path = promotion_path(case.version.source, digest)
    try:
        promotion = read_promotion(path, WHERE)
    except BlocksError:
        return None, None
    return promotion, keep_promotion(case.version, promotion, folder)


def as_record(proposal: Proposal) -> dict[str, Any]:
    """Return the proposal as JSON-ready values."""
    case, place = proposal.case, proposal.place
    return {
        "model": str(case.version),
        "workspace": case.version.workspace,
        "digest": case.model.digest if case.model else "",
        "owner": case.owner,
        "authors": list(case.authors),
        "promoters": list(case.promoters),
        "profile": case.profile.name,
        "destination": str(proposal.connection),
        "asset": str(place) if place else "",
        "release": case.release.lock.name if case.release else "",
        "is_there": bool(proposal.decided),
        "conditions": [
            {
                "condition": name,
                "holds": not found,
                "problems": [
                    {key: getattr(it, key) for key in ("what", "problem", "expected", "remedy")}
                    for it in found
                ],
            }
            for name, found in proposal.refused.items()
        ],
        "contrary": list(case.contrary),
        "holds": proposal.holds,
    }
