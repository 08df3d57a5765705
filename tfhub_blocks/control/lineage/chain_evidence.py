"""Evidence in a chain: the search for evidence about a model, and the checks of its digests."""

# decision 43

import json
from collections.abc import Iterator

from tfhub_blocks.control.lineage.chains import Chain, Knot
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.champion_comparison import CHAMPION_PORT
from tfhub_blocks.records.formats.evidence import PREDICATE_TYPE, Evidence, read_evidence
from tfhub_blocks.records.formats.models import bare_digest
from tfhub_blocks.records.formats.snapshots import SNAPSHOT, open_snapshot
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

_MAX_BYTES = 16 * 2**20


def is_evidence(output: Output) -> bool:
    """Return True if a file has the form of evidence, even if the file was edited."""
    if output.lineage or not output.path.is_file() or output.path.stat().st_size > _MAX_BYTES:
        return False
    try:
        statement = json.loads(output.path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(statement, dict) and statement.get("predicateType") == PREDICATE_TYPE


def sound_evidence(output: Output) -> Evidence | None:
    """Return the evidence in a file, or None if the file was edited."""
    try:
        return read_evidence(output.path, str(output.path))
    except BlocksError:
        return None


def evidence_about(archive: Archive, *model_digests: str) -> Iterator[Output]:
    """Yield the evidence about a model, by its own statement or by that of its step."""
    for output in archive.outputs.values():
        if is_evidence(output):
            evidence = sound_evidence(output)
            is_named = evidence is not None and evidence.model_digest in model_digests
            if is_named or not _models_beside(archive, output).isdisjoint(model_digests):
                yield output


def evidence_of_digest(archive: Archive, digest: str) -> Output | None:
    """Return the evidence with a digest, as the tags of a registered model name it, or None."""
    for output in archive.outputs.values():
        if is_evidence(output):
            evidence = sound_evidence(output)
            if evidence and evidence.as_statement()["digest"] == digest:
                return output
    return None


def check_evidence(chain: Chain, archive: Archive, verdict: Verdict) -> None:
    """Add faults for evidence that was edited or that contradicts the chain.

    A contradiction is another model, other data, other code, or another encoder.
    """
    for knot in chain.knots.values():
        if not is_evidence(knot.output):
            continue
        where = str(knot.output.path)
        try:
            evidence = read_evidence(knot.output.path, where)
        except BlocksError as error:
            verdict.fault("evidence", where, "digest over itself", error.expected, error.problem)
            continue
        given = _given(knot)
        for model in {link for port, link in given if port == "model"}:
            if model != evidence.model_digest:
                verdict.fault(
                    "replay",
                    where,
                    "subject",
                    f"evidence about the input model, {model}",
                    f"the evidence is about model {evidence.model_digest}",
                )
        _check_champion(knot, evidence, verdict)
        _check_digests(chain, archive, knot, evidence, verdict)
    _check_registering(archive, chain, verdict)


def _given(knot: Knot) -> list[tuple[str, str]]:
    """Return port and digest of each input of the node's step: by statement, or else by the run."""
    found = [(link.port, link.material.digest or "") for link in knot.links if link.bound]
    if not found:
        found = [(link.port, link.output.digest) for link in knot.links if link.output]
    return [(port, digest) for port, digest in found if digest]


def _check_champion(knot: Knot, evidence: Evidence, verdict: Verdict) -> None:
    """Add faults for a comparison with a model that was no input of the step, or on other data."""
    found = {evidence.comparison.champion} if evidence.comparison else set[str]()
    links = [link for link in knot.links if link.port == CHAMPION_PORT]
    digests = [
        link.material.digest or (link.output.digest if link.output else "") for link in links
    ]
    champions = set(filter(None, digests))
    # If only the output was fetched, no record names the inputs of its step.
    is_known = bool(knot.links) and all(digests)
    if is_known and found != champions:
        expected, stated = (", ".join(sorted(it)) or "no model" for it in (champions, found))
        verdict.fault(
            "replay",
            knot.output.path,
            CHAMPION_PORT,
            f"a comparison with the input champion, {expected}",
            f"the evidence compares with {stated}",
        )
    for problem, wanted in evidence.contradictions():
        verdict.fault("evidence", knot.output.path, CHAMPION_PORT, wanted, problem)


def _models_beside(archive: Archive, output: Output) -> set[str]:
    materials = (o.lineage.material("model") for o in archive.beside(output) if o.lineage)
    return {material.digest for material in materials if material and material.digest}


def _check_digests(
    chain: Chain, archive: Archive, knot: Knot, evidence: Evidence, verdict: Verdict
) -> None:
    """Compare each digest that the evidence states with the chain."""
    known: dict[str, set[str]] = {}
    for other in archive.beside(knot.output):
        if other.lineage:
            made = other.lineage.provenance
            known.setdefault("code", set()).add(made.code_digest)
            known.setdefault("environment", set()).add(made.environment_digest)
    for link in knot.links:
        output = link.output
        if output is None or output.lineage is None or output.digest != link.material.digest:
            continue
        made = output.lineage.provenance
        if link.port == "model" and output.digest == evidence.model_digest:
            known["training_code"] = {made.code_digest}
            known["training_environment"] = {made.environment_digest}
            behind = [it.output for it in chain.behind(chain.knots[output.path])]
            known["encoder"] = set(filter(None, map(encoder_digest, behind)))
            known["training_snapshot"] = set(filter(None, map(snapshot_digest, behind)))
        if link.port == "snapshot":
            known["snapshot"] = set(filter(None, [snapshot_digest(output)]))
    for name, expected in known.items():
        stated = evidence.digests.get(name)
        if stated is not None and expected and stated not in expected:
            expectation = f"{' or '.join(sorted(expected))}, as in the chain"
            verdict.fault("evidence", knot.output.path, name, expectation, f"the file has {stated}")


def _check_registering(archive: Archive, chain: Chain, verdict: Verdict) -> None:
    """Add faults for steps of a run whose input evidence is not about their input model."""
    places = {str(place): place for knot in chain.knots.values() for place in knot.places}
    for place in places.values():
        if not {"model", "evidence"} <= place.step.inputs.keys():
            continue
        model, proof = archive.given(place, "model"), archive.given(place, "evidence")
        evidence = sound_evidence(proof) if proof and is_evidence(proof) else None
        if model and evidence and evidence.model_digest not in digests_of_model(model):
            verdict.fault(
                "replay",
                place,
                "evidence",
                f"evidence about the input model, {model.digest}",
                f"the evidence is about model {evidence.model_digest}",
            )


def digests_of_model(model: Output) -> set[str]:
    """Return the digests by which an evaluation may name a model: with and without its runtime."""
    return {model.digest} | ({bare_digest(model.lineage)} if model.lineage else set())


def encoder_digest(output: Output) -> str:
    """Return the digest of a pinned encoder as evidence and manifests name it, or an empty text."""
    try:
        return read_pin(output.path / PIN_NAME).digest if output.kind == "encoder" else ""
    except (BlocksError, OSError):
        return ""


def snapshot_digest(output: Output) -> str:
    """Return the digest of a snapshot's items as evidence names it, or an empty text."""
    if output.lineage is None or output.lineage.format != str(SNAPSHOT):
        return ""
    try:
        return open_snapshot(output.path, "lineage").manifest.digest
    except (BlocksError, OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""
