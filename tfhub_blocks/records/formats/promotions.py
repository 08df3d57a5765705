"""Promotions: who let a model go where, why and on what grounds, as an in-toto statement."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, STATEMENT_TYPE

PREDICATE_TYPE = "urn:tfhub-blocks:predicate:promotion"
FORMAT = "promotion/1"
# How much of its digest is in the name of its file, and in the version of its data asset.
NAME_DIGITS = 12


@dataclass(frozen=True)
class Promotion:
    """A decision: this very model may be used there.

    ``model`` is NAME:VERSION where it was registered, with the workspace if it was in one,
    ``asset`` where it goes, ``destination`` the workspace or registry. ``statement`` is the SHA-256
    of the model's ``lineage.json``, ``evidence`` the digest that its evidence has over itself.
    ``promoters`` are the names that the one who decided has, ``authors`` those of whoever made it.
    ``release`` and ``release_digest`` are of the lock that it comes from, if it was asked for.
    ``contrary`` names evidence about the same model that did not meet its thresholds. ``chain``
    holds the SHA-256 of each statement that was verified.
    """

    model: str
    model_digest: str
    statement: str
    evidence: str
    destination: str
    asset: str
    profile: str
    profile_digest: str
    promoters: tuple[str, ...]
    authors: tuple[str, ...]
    two_persons: bool
    owner: str
    reason: str
    decided: str
    release: str = ""
    release_digest: str = ""
    contrary: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest that the statement has over itself."""
        return str(self.as_statement()["digest"])

    def as_statement(self) -> dict[str, Any]:
        """As an in-toto statement, with a digest over itself."""
        predicate: dict[str, Any] = {
            "format": FORMAT,
            "model": self.model,
            "destination": self.destination,
            "asset": self.asset,
            "profile": {"name": self.profile, "digest": {"sha256": self.profile_digest}},
            "decision": {
                "promoters": list(self.promoters),
                "authors": list(self.authors),
                "twoPersons": self.two_persons,
                "owner": self.owner,
                "reason": self.reason,
                "decidedOn": self.decided,
            },
            "release": {"name": self.release, "digest": {"sha256": self.release_digest}},
            "evidence": {"sha256": self.evidence},
            "contrary": [{"sha256": digest} for digest in self.contrary],
            "chain": [{"sha256": digest} for digest in self.chain],
        }
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": "model", "digest": {"dirHash": self.model_digest}},
                {"name": STATEMENT_NAME, "digest": {"sha256": self.statement}},
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
        return statement | {"digest": record_digest(statement)}

    def as_text(self) -> str:
        """As its file holds it."""
        return json.dumps(self.as_statement(), indent=1, ensure_ascii=False) + "\n"


def read_promotion(path: Path, where: str) -> Promotion:
    """The promotion in a file, with its digest over itself checked.

    Raises:
        BlocksError: The file is none, of another format, or was edited.
    """
    try:
        return parse_promotion(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BlocksError(
            where,
            "promotion",
            f"{path} cannot be taken as the decision that was made ({error})",
            "the unchanged statement that promote wrote",
            "get it back from where the model was promoted to",
        ) from error


def parse_promotion(text: str) -> Promotion:
    """The promotion that a text tells.

    Raises:
        ValueError: It is none, of another format, or was edited.
    """
    statement = json.loads(text)
    try:
        found = _parse(statement)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"it cannot be read as a statement ({error!r})") from error
    # Whatever it holds besides would be vouched for by nobody.
    if found.as_statement() != statement:
        raise ValueError("its digest is not that of its content")
    return found


def _parse(statement: Mapping[str, Any]) -> Promotion:
    model, lineage = statement["subject"]
    it, decision = statement["predicate"], statement["predicate"]["decision"]
    return Promotion(
        model=it["model"],
        model_digest=model["digest"]["dirHash"],
        statement=lineage["digest"]["sha256"],
        evidence=it["evidence"]["sha256"],
        destination=it["destination"],
        asset=it["asset"],
        profile=it["profile"]["name"],
        profile_digest=it["profile"]["digest"]["sha256"],
        promoters=tuple(decision["promoters"]),
        authors=tuple(decision["authors"]),
        two_persons=decision["twoPersons"],
        owner=decision["owner"],
        reason=decision["reason"],
        decided=decision["decidedOn"],
        release=it["release"]["name"],
        release_digest=it["release"]["digest"]["sha256"],
        contrary=tuple(entry["sha256"] for entry in it["contrary"]),
        chain=tuple(entry["sha256"] for entry in it["chain"]),
    )
