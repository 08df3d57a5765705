"""Promotions of a model: statements next to the model's folder, which the registry's tags name."""

# decision 34

from collections.abc import Iterator
from pathlib import Path

from tfhub_blocks.control.lineage.chain_evidence import (
    digests_of_model,
    evidence_of_digest,
    sound_evidence,
)
from tfhub_blocks.control.lineage.chains import Chain
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.local_registrations import Registration, set_tag
from tfhub_blocks.control.lineage.recorded_output import ENVELOPE_SUFFIX, Output
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.formats.promotions import NAME_DIGITS, Promotion, read_promotion

# A tag of a registered version: promotion.DIGITS contains the digest of a promotion.
TAG = "promotion."
# The prefix of the tags in which a promoted model names its destination.
TAG_OF_ASSETS = "promoted"
_INFIX = ".promotion-"
_SUFFIX = ".json"


def promotion_path(model: Path, digest: str) -> Path:
    """Return the path of a promotion: next to the model, whose digest covers each file in it."""
    return model.with_name(f"{model.name}{_INFIX}{digest[:NAME_DIGITS]}{_SUFFIX}")


def promotion_files(output: Output) -> list[Path]:
    """Return the promotions that lie next to an output, whether they are valid or not."""
    start = output.path.name + _INFIX
    found = (path for path in output.path.parent.iterdir() if path.name.startswith(start))
    return sorted(path for path in found if not path.name.endswith(ENVELOPE_SUFFIX))


def promotions_of(chain: Chain) -> list[Promotion]:
    """Return the valid promotions of the chain's registered model, the earliest first."""
    version = chain.registration
    knot = chain.knots.get(version.source) if version else None
    found = []
    for path in promotion_files(knot.output) if knot else ():
        try:
            found.append(read_promotion(path, str(path)))
        except BlocksError:
            continue  # verify reports it
    return sorted(found, key=lambda it: it.decided)


def keep_promotion(version: Registration, promotion: Promotion, folder: Path) -> Path:
    """Write a promotion next to the model, and name it in the registry below ``.runs``.

    The registry of a workspace is only read. A repeated call changes nothing.
    """
    digest = promotion.digest
    path = promotion_path(version.source, digest)
    if not version.workspace:
        set_tag(folder, version, TAG + digest[:NAME_DIGITS], digest)
    write_file(path, promotion.as_text().encode())
    return path


def check_promotions(chain: Chain, archive: Archive, verdict: Verdict) -> None:
    """Add faults for promotions that were edited, planted, lost, or are of other content."""
    version = chain.registration
    knot = chain.knots.get(version.source) if version else None
    if version is None or knot is None:
        return
    named = {name: tag for name, tag in version.tags.items() if name.startswith(TAG)}
    for path in promotion_files(knot.output):
        try:
            promotion = read_promotion(path, str(path))
        except BlocksError as error:
            verdict.fault("promotion", path, "digest over itself", error.expected, error.problem)
            continue
        for what, expected, found in _differences(path, promotion, knot.output, version, archive):
            verdict.fault("promotion", path, what, expected, found)
    for digest in named.values():
        path = promotion_path(version.source, digest)
        if not path.is_file():
            verdict.gap("promotion", version, path.name, f"promotion {digest}", "not found locally")


def _differences(
    path: Path, promotion: Promotion, model: Output, version: Registration, archive: Archive
) -> Iterator[tuple[str, str, str]]:
    """Yield the fields in which a valid promotion contradicts the chain: field, expected, found."""
    digest = promotion.digest
    named = version.tags.get(TAG + digest[:NAME_DIGITS])
    if path != promotion_path(model.path, digest):
        yield "name", promotion_path(model.path, digest).name, "the name of another promotion"
    elif named != digest and not version.workspace:
        yield "registry", f"a tag that names promotion {digest}", "no tag: not recorded locally"
    if promotion.model_digest != model.digest:
        expected = f"the model next to it, {model.digest}"
        yield "subject", expected, f"model {promotion.model_digest}"
    if promotion.statement != model.statement:
        expected = f"the model's statement with sha256 {model.statement}"
        yield "subject", expected, f"a statement with sha256 {promotion.statement}"
    proof = evidence_of_digest(archive, promotion.evidence)
    evidence = sound_evidence(proof) if proof else None
    about = {promotion.model_digest, *digests_of_model(model)}
    if evidence and (evidence.model_digest not in about or not evidence.passed):
        found = f"evidence about {evidence.model_digest}, passed: {evidence.passed}"
        yield "evidence", f"passed evidence about model {promotion.model_digest}", found
    elif evidence is None:
        yield "evidence", f"evidence {promotion.evidence}, unchanged", "not found locally"
