"""Promotions: the decision to use a model in a destination, as an in-toto statement."""

# decision 34

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, STATEMENT_TYPE
from tfhub_blocks.records.base.sealed_statements import sealed

PREDICATE_TYPE = "urn:tfhub-blocks:predicate:promotion"
FORMAT = "promotion/1"
# The number of digits of a digest in the name of the file and in the version of the data asset.
NAME_DIGITS = 12


@dataclass(frozen=True)
class Promotion:
    """The decision that exactly this model may be used in a destination.

    ``model`` is NAME:VERSION in the registry of origin, with the workspace if it has one;
    ``destination`` is the target workspace or registry, and ``asset`` the NAME:VERSION there.
    ``statement`` is the SHA-256 of the model's ``lineage.json``, ``evidence`` the digest in its
    evidence. ``promoters`` are all known names of the promoter, ``authors`` all known names of the
    model's makers. ``release`` and ``release_digest`` identify the release lock of the model, if
    the profile required one. ``contrary`` lists evidence about the same model that did not meet its
    thresholds. ``chain`` contains the SHA-256 of each verified statement.
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
        """The digest in the statement, which covers its content."""
        return str(self.as_statement()["digest"])

    def as_statement(self) -> dict[str, Any]:
        """Return the promotion as an in-toto statement that contains its own digest."""
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
        return sealed(statement)

    def as_text(self) -> str:
        """Return the text of the statement's file."""
        return json.dumps(self.as_statement(), indent=1, ensure_ascii=False) + "\n"


def read_promotion(path: Path, where: str) -> Promotion:
    """Read the promotion in a file, and check its digest.

    Raises:
        BlocksError: The file is not a promotion, has another format, or was edited.
    """
    try:
        return parse_promotion(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BlocksError(
            where,
            "promotion",
            f"{path} is not a valid promotion ({error})",
            "the unchanged statement that promote wrote",
            "Download the statement again from the destination; promote published it there as a "
            "data asset",
        ) from error


def parse_promotion(text: str) -> Promotion:
    """Parse the text of a promotion.

    Raises:
        ValueError: The text is not a promotion, has another format, or was edited.
    """
    statement = json.loads(text)
    try:
        found = _parse(statement)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"the file is not a promotion statement ({error!r})") from error
    # Comparing the complete statements also refuses additional keys, which no digest covers.
    if found.as_statement() != statement:
        raise ValueError("the digest does not match the content")
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
