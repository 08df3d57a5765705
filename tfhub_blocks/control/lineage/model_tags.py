"""The tags of a registered model, held against the chain behind it."""

from collections.abc import Iterable, Mapping

from tfhub_blocks.control.lineage.archives import Archive
from tfhub_blocks.control.lineage.chains import Chain
from tfhub_blocks.control.lineage.evidences import (
    encoder_digest,
    evidence_of_digest,
    snapshot_digest,
    sound_evidence,
)
from tfhub_blocks.control.lineage.findings import Verdict


def check_registration(chain: Chain, archive: Archive, verdict: Verdict) -> None:
    """Find a model other than the one that was registered, and evidence of another."""
    version = chain.registration
    if version is None:
        return
    tags, knot = version.tags, chain.knots.get(version.source)
    if knot is None:
        verdict.gap(
            "model", version, str(version.source), f"model {tags.get('model_digest')}", "no files"
        )
    else:
        _hold_tags(chain, version.source, tags, verdict)
    digest = tags.get("evidence_digest", "")
    proof = evidence_of_digest(archive, digest)
    evidence = sound_evidence(proof) if proof else None
    if evidence is None:
        verdict.gap("evidence", version, "tag evidence_digest", f"evidence {digest}", "not here")
    elif evidence.model_digest != tags.get("model_digest"):
        verdict.fault(
            "replay",
            version,
            "tag evidence_digest",
            f"evidence about the model {tags.get('model_digest')}",
            f"it is evidence about the model {evidence.model_digest}",
        )
    champion = evidence.comparison.champion if evidence and evidence.comparison else ""
    if evidence and tags.get("champion_digest", "") != champion:
        verdict.fault(
            "registry",
            version,
            "tag champion_digest",
            tags.get("champion_digest", "no champion"),
            f"{champion or 'no champion'} in its evidence",
        )


def _hold_tags(chain: Chain, source: object, tags: Mapping[str, str], verdict: Verdict) -> None:
    knot = next(knot for path, knot in chain.knots.items() if path == source)
    output = knot.output
    found: dict[str, set[str]] = {"model_digest": {output.digest}}
    if output.lineage:
        made = output.lineage.provenance
        behind = [it.output for it in chain.behind(knot)]
        found |= {
            "statement_digest": {output.statement},
            "making": {output.lineage.making},
            "code_digest": {made.code_digest},
            "environment_digest": {made.environment_digest},
            "made_by": {made.step},
            "made": {made.finished},
            "encoder_digest": _all(encoder_digest(it) for it in behind),
            "snapshot_digest": _all(snapshot_digest(it) for it in behind),
        }
    for name, values in found.items():
        if name in tags and values and tags[name] not in values:
            told = " or ".join(sorted(values))
            kind = "statement" if name in ("statement_digest", "making") else "registry"
            verdict.fault(kind, source, f"tag {name}", tags[name], f"{told} in the chain")


def _all(values: Iterable[str]) -> set[str]:
    return {value for value in values if value}
