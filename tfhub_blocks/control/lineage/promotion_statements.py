"""Decisions to promote a model: statements beside its files, which the registry's tags name."""

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

# Of the tags of a registered version: promotion.DIGITS is the digest of a decision about it.
TAG = "promotion."
# With this begin those with which a promoted model says so where it went to.
TAG_OF_ASSETS = "promoted"
_INFIX = ".promotion-"
_SUFFIX = ".json"


def promotion_path(model: Path, digest: str) -> Path:
    """Where a decision is: beside the model, for in it each file is part of its content."""
    return model.with_name(f"{model.name}{_INFIX}{digest[:NAME_DIGITS]}{_SUFFIX}")


def promotion_files(output: Output) -> list[Path]:
    """What lies beside an output as a decision about it, sound or not."""
    start = output.path.name + _INFIX
    found = (path for path in output.path.parent.iterdir() if path.name.startswith(start))
    return sorted(path for path in found if not path.name.endswith(ENVELOPE_SUFFIX))


def promotions_of(chain: Chain) -> list[Promotion]:
    """The sound decisions about the registered model that a chain is of, the earliest first."""
    version = chain.registration
    knot = chain.knots.get(version.source) if version else None
    found = []
    for path in promotion_files(knot.output) if knot else ():
        try:
            found.append(read_promotion(path, str(path)))
        except BlocksError:
            continue  # verify tells
    return sorted(found, key=lambda it: it.decided)


def keep_promotion(version: Registration, promotion: Promotion, folder: Path) -> Path:
    """Write a decision beside the model, and name it in the registry below ``.runs``.

    That of a workspace is read alone. Done again, it makes nothing twice.
    """
    digest = promotion.digest
    path = promotion_path(version.source, digest)
    if not version.workspace:
        set_tag(folder, version, TAG + digest[:NAME_DIGITS], digest)
    write_file(path, promotion.as_text().encode())
    return path


def check_promotions(chain: Chain, archive: Archive, verdict: Verdict) -> None:
    """Find decisions that were edited, planted or lost, or are of another model or evidence."""
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
            verdict.gap("promotion", version, path.name, f"decision {digest}", "it is not here")


def _differences(
    path: Path, promotion: Promotion, model: Output, version: Registration, archive: Archive
) -> Iterator[tuple[str, str, str]]:
    """What a sound decision is not so about: what, expected and found."""
    digest = promotion.digest
    named = version.tags.get(TAG + digest[:NAME_DIGITS])
    if path != promotion_path(model.path, digest):
        yield "name", promotion_path(model.path, digest).name, "that of another decision"
    elif named != digest and not version.workspace:
        yield "registry", f"a tag that names decision {digest}", "none: nobody took it here"
    if promotion.model_digest != model.digest:
        yield "subject", f"the model beside it, {model.digest}", f"model {promotion.model_digest}"
    if promotion.statement != model.statement:
        expected = f"its statement with sha256 {model.statement}"
        yield "subject", expected, f"one with sha256 {promotion.statement}"
    proof = evidence_of_digest(archive, promotion.evidence)
    evidence = sound_evidence(proof) if proof else None
    about = {promotion.model_digest, *digests_of_model(model)}
    if evidence and (evidence.model_digest not in about or not evidence.passed):
        found = f"it is about {evidence.model_digest}, passed: {evidence.passed}"
        yield "evidence", f"passed evidence about model {promotion.model_digest}", found
    elif evidence is None:
        yield "evidence", f"evidence {promotion.evidence}, unchanged", "there is none here"
