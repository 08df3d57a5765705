"""Promoting: the case is made, its conditions are looked at, and the decision is carried out."""

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
# Azure takes no longer text in a tag.
_LONGEST_REASON = 250


@dataclass(frozen=True)
class Proposal:
    """What would be decided: the case, its conditions, and where the model would go.

    ``place`` is None where nothing was asked, because the model's files are not here.
    """

    case: Case
    refused: dict[str, list[BlocksError]]
    reason: str
    connection: Connection
    place: ModelDestination | None

    @property
    def holds(self) -> bool:
        """Whether every condition is met."""
        return not any(self.refused.values())

    @property
    def decided(self) -> str:
        """The digest of the decision by which the model is there already; or nothing."""
        return self.place.decision(self.case.profile.name) if self.place else ""


def check_reason(reason: str) -> str:
    """A reason without white space around it.

    Raises:
        BlocksError: It says nothing, or more than a tag holds.
    """
    text = reason.strip()
    if not text or len(text) > _LONGEST_REASON or not text.isprintable():
        problem = f"it has {len(text)} characters" if text.isprintable() else "it has several lines"
        raise BlocksError(
            WHERE,
            "--reason",
            problem if text else "it says nothing",
            f"one line of at most {_LONGEST_REASON} characters",
            "say why this model may be used there: those who find it will read that",
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
    """Look at everything that has to hold; nothing is written.

    ``fetched`` is the model, if it is not one of this machine's.

    Raises:
        BlocksError: There is no such model, something else has its place, or Azure cannot be asked.
    """
    login = find_login(connection, WHERE)
    case = open_case(text, archive, profile, fetched)
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
                f"workspace {wanted}, as [promotion] says",
                "name its config.json with --workspace-config",
            )
        )
    model = case.model
    digest = model.digest if model else ""  # nothing, if it has no lineage
    place = find_place(connection, case.version.name, digest) if digest else None
    return Proposal(case, refused, reason, connection, place)


def promote(
    proposal: Proposal, folder: Path, on_change: Callable[[Asset, str], None]
) -> tuple[Promotion | None, Path | None]:
    """Carry out what is proposed, once; the decision and where it is kept, if it is known here.

    Interrupted, it is taken up within an hour by the same command, with the same decision. Where
    the model is already by a decision under this profile, that one stays.

    Args:
        proposal: One that holds.
        folder: ``.runs``.
        on_change: Told of each asset what became of it.

    Raises:
        BlocksError: Azure refused it.
    """
    case, place = proposal.case, proposal.place
    model, proof = case.model, case.proof
    if not proposal.holds or model is None or proof is None or place is None:
        raise ValueError("its conditions are not met")
    new = _promotion(proposal, place)
    key = replace(new, decided="").digest[:40]
    with intent(folder / INTENTS_NAME, f"promotion-{key}", new.as_text()) as (kept, _):
        promotion = parse_promotion(kept)
        if proposal.decided not in ("", promotion.digest):
            return _earlier(case, proposal.decided, folder)
        if not proposal.decided:
            # A decision about it elsewhere is none about it there.
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
    """The decision by which a model is there, if it was taken here; named in the registry again."""
    path = promotion_path(case.version.source, digest)
    try:
        promotion = read_promotion(path, WHERE)
    except BlocksError:
        return None, None
    return promotion, keep_promotion(case.version, promotion, folder)


def as_record(proposal: Proposal) -> dict[str, Any]:
    """What is proposed, JSON-ready."""
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
