"""The check of a registered model's tags against the model's chain and its registration."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfhub_blocks.control.lineage.chain_evidence import (
    digests_of_model,
    encoder_digest,
    evidence_of_digest,
    snapshot_digest,
    sound_evidence,
)
from tfhub_blocks.control.lineage.chains import Chain
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.local_registrations import Registration
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.records.formats.evidence import Evidence

# Tags that register_model sets on every model.
REQUIRED = (
    "model_digest",
    "statement_digest",
    "evidence_digest",
    "code_digest",
    "environment_digest",
    "owner",
    "made_by",
    "made",
    "registered_as",
)
_STEP, _PORT = "register_model", "registration"


def check_registration(chain: Chain, archive: Archive, verdict: Verdict) -> None:
    """Add faults for a model that differs from the registered one, and for evidence of others."""
    version = chain.registration
    if version is None:
        return
    tags, knot = version.tags, chain.knots.get(version.source)
    for name in REQUIRED:
        if not tags.get(name, "").strip():
            verdict.fault("registry", version, f"tag {name}", "the tag of register_model", "none")
    _check_name(version, archive, verdict)
    if knot is None:
        verdict.gap(
            "model", version, str(version.source), f"model {tags.get('model_digest')}", "no files"
        )
    else:
        _check_tags(chain, version.source, tags, verdict)
    digest = tags.get("model_digest", "")
    outputs = [it.output for it in chain.knots.values() if it.output.digest == digest]
    evaluated = {digest, *(it for output in outputs for it in digests_of_model(output))}
    if tags.get("latency_digest"):
        latency = _named_evidence(archive, version, "latency_digest", verdict)
        served = latency.digests.get("served_model", latency.model_digest) if latency else digest
        if served != digest:
            _replayed(version, "latency_digest", served, verdict)
        elif latency and not outputs:  # without the model's files, only this names its ancestor
            evaluated.add(latency.model_digest)
    evidence = _named_evidence(archive, version, "evidence_digest", verdict)
    if evidence and evidence.model_digest not in evaluated:
        _replayed(version, "evidence_digest", evidence.model_digest, verdict)
    champion = evidence.comparison.champion if evidence and evidence.comparison else ""
    if evidence and tags.get("champion_digest", "") != champion:
        verdict.fault(
            "registry",
            version,
            "tag champion_digest",
            tags.get("champion_digest", "no champion"),
            f"{champion or 'no champion'} in its evidence",
        )


def _check_name(version: Registration, archive: Archive, verdict: Verdict) -> None:
    """Add faults for a version that was copied from another name, and for another owner.

    The step register_model wrote the name, the version and the owner into its output, which the
    store protects by a digest.
    """
    tags, stated = version.tags, version.tags.get("registered_as", "")
    if stated and stated != version.name:
        verdict.fault("registry", version, "tag registered_as", version.name, stated)
    records = list(_records(archive, tags.get("model_digest", "")))
    own = [it for it in records if it.get("name") == version.name]
    if records and not own:
        names = ", ".join(sorted({str(it.get("name")) for it in records}))
        verdict.fault(
            "registry",
            version,
            "registration",
            f"a step {_STEP} that registered it under this name",
            f"only registered as {names}",
        )
    owners = {str(it.get("owner")) for it in own if str(it.get("version")) == str(version.version)}
    if owners and tags.get("owner") not in owners:
        expected = " or ".join(sorted(owners))
        verdict.fault("registry", version, "tag owner", expected, tags.get("owner", "none"))


def _records(archive: Archive, digest: str) -> Iterator[Mapping[str, Any]]:
    """Yield what each step register_model wrote about a model, unless its output was edited."""
    for _, run in archive.runs:
        for step in run.steps.values():
            path = step.outputs.get(_PORT) if step.component == _STEP else None
            output = archive.at(Path(path)) if path else None
            if output is None or output.recorded_digest not in ("", output.digest):
                continue
            try:
                record = json.loads(output.path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(record, dict) and record.get("digest") == digest:
                yield record


def _named_evidence(
    archive: Archive, version: Registration, tag: str, verdict: Verdict
) -> Evidence | None:
    """Return the evidence that a tag names, if it exists locally and is unchanged."""
    digest = version.tags.get(tag, "")
    proof = evidence_of_digest(archive, digest)
    evidence = sound_evidence(proof) if proof else None
    if evidence is None:
        verdict.gap("evidence", version, f"tag {tag}", f"evidence {digest}", "not found locally")
    return evidence


def _replayed(version: Registration, tag: str, about: str, verdict: Verdict) -> None:
    verdict.fault(
        "replay",
        version,
        f"tag {tag}",
        f"evidence about the model {version.tags.get('model_digest')}",
        f"the evidence is about model {about}",
    )


def _check_tags(chain: Chain, source: object, tags: Mapping[str, str], verdict: Verdict) -> None:
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
            stated = " or ".join(sorted(values))
            kind = "statement" if name in ("statement_digest", "making") else "registry"
            verdict.fault(kind, source, f"tag {name}", tags[name], f"{stated} in the chain")


def _all(values: Iterable[str]) -> set[str]:
    return {value for value in values if value}
