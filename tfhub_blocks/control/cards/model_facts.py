"""The facts of a chain about its model, for the card and the bill of materials."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tfhub_blocks.control.lineage.chain_evidence import (
    digests_of_model,
    encoder_digest,
    evidence_of_digest,
    is_evidence,
    snapshot_digest,
    sound_evidence,
)
from tfhub_blocks.control.lineage.chains import Chain, Knot
from tfhub_blocks.control.lineage.promotion_statements import promotions_of
from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.control.lineage.run_archive import Archive, StepOfRun
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Lineage
from tfhub_blocks.records.environment.package_locks import STEP_LOCK_NAME, Lock, parse_lock
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.models import bare_digest
from tfhub_blocks.records.formats.promotions import Promotion
from tfhub_blocks.records.formats.snapshots import SnapshotManifest, open_snapshot
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin

WHERE = "card"


@dataclass(frozen=True)
class OwnerStatements:
    """The facts that only the owner knows: the model's purpose and its limits."""

    purpose: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelFacts:
    """A model and its chain; a part that was not found locally is None or empty.

    ``data`` are the snapshots that the model learned from, by folder digest. ``measured_on`` is
    the snapshot of its evidence, and ``latency`` the evidence of its latency. ``trained`` is its
    lineage, or that of the same model without a runtime. ``makers`` are the steps of runs that
    built the model and its ancestors, the model's step first; ``lock`` is the environment of that
    step. ``promotions`` are the promotions of the registered version.
    """

    name: str
    version: str
    owner: str
    given: OwnerStatements
    output: Output
    lineage: Lineage
    metadata: Mapping[str, Any]
    data: Mapping[str, SnapshotManifest]
    measured_on: SnapshotManifest | None
    encoders: tuple[Pin, ...]
    evidence: Evidence | None
    latency: Evidence | None
    trained: Lineage
    makers: tuple[StepOfRun, ...]
    lock: Lock | None
    promotions: tuple[Promotion, ...] = ()

    @property
    def made(self) -> str:
        """The time when the model was finished, in UTC."""
        return self.lineage.provenance.finished


def gather(chain: Chain, archive: Archive, given: OwnerStatements) -> ModelFacts:
    """Return the facts of the one model of a chain.

    Raises:
        BlocksError: The chain is of no model, or of several models.
    """
    knot = model_knot(chain, WHERE)
    output, version = knot.output, chain.registration
    if output.lineage is None:
        raise BlocksError(
            WHERE,
            str(output.path),
            "the model has no lineage",
            "a model that a step built",
            "Run the pipeline that trains the model again, and pass its output",
        )
    behind = [it.output for it in chain.behind(knot)]
    evidence = _evidence(chain, archive, output, "evaluation")
    bare = bare_digest(output.lineage)
    trained = next((it for it in chain.behind(knot) if it.output.digest == bare), knot)
    learned_from = (it.output for it in chain.behind(trained))
    makers = _makers(chain, knot)
    place = next((it for it in makers if it in knot.places), None)
    owner = place.run.owner if place else ""
    description = version.description if version else ""
    return ModelFacts(
        name=version.name if version else output.lineage.provenance.step,
        version=str(version.version) if version else output.digest[:12],
        owner=(version.tags.get("owner") if version else "") or owner,
        given=OwnerStatements(given.purpose or description, given.limits),
        output=output,
        lineage=output.lineage,
        metadata=_metadata(output.path),
        data={it.digest: _manifest(it) for it in learned_from if snapshot_digest(it)},
        measured_on=_measured_on(archive, evidence),
        encoders=_encoders(behind),
        evidence=evidence,
        latency=_evidence(chain, archive, output, "latency"),
        trained=trained.output.lineage or output.lineage,
        makers=makers,
        lock=_lock(place),
        promotions=tuple(promotions_of(chain)),
    )


def model_knot(chain: Chain, where: str) -> Knot:
    """Return the node of the one model of a chain.

    Raises:
        BlocksError: The chain is of no model, or of several models.
    """
    if chain.registration:
        knot = chain.knots.get(chain.registration.source)
        # The registry may have lost the files, while the output of the step still exists.
        digest = chain.registration.tags.get("model_digest")
        found = (
            [knot] if knot else [it for it in chain.knots.values() if it.output.digest == digest]
        )
    else:
        known = [knot for knot in chain.of_kind("model") if not knot.is_champion]
        models = {knot.output.digest: knot for knot in reversed(known)}
        # A model that another model started from is not the end of the chain.
        inner = {
            link.material.digest
            for knot in models.values()
            for link in knot.links
            if link.material.digest in models
        }
        found = [knot for digest, knot in models.items() if digest not in inner]
    if len(found) != 1:
        raise BlocksError(
            where,
            chain.title,
            f"the chain has {len(found)} models",
            "one model",
            "Pass a registered model as MODEL:VERSION, or the folder of one model",
        )
    return found[0]


def _makers(chain: Chain, knot: Knot) -> tuple[StepOfRun, ...]:
    """Return the steps that wrote the outputs behind a model, as far as known, each once."""
    found = {}
    for it in chain.behind(knot):
        place = next((place for place in reversed(it.places) if not place.step.reused), None)
        if place:
            found[str(place)] = place
    return tuple(found.values())


def _evidence(chain: Chain, archive: Archive, model: Output, kind: str) -> Evidence | None:
    """Return the evidence of a kind that a model was registered with, or else the newest one."""
    if chain.registration:
        tag = "evidence_digest" if kind == "evaluation" else f"{kind}_digest"
        proof = evidence_of_digest(archive, chain.registration.tags.get(tag, ""))
        return sound_evidence(proof) if proof else None
    outputs = (output for output in archive.in_order() if is_evidence(output))
    found = [evidence for output in outputs if (evidence := sound_evidence(output))]
    about = [it for it in found if it.kind == kind and _is_about(it, model)]
    return about[-1] if about else None


def _is_about(evidence: Evidence, model: Output) -> bool:
    if evidence.kind == "latency":  # the report may have timed several runtimes of a model
        return evidence.digests.get("served_model") == model.digest
    return evidence.model_digest in digests_of_model(model)


def _metadata(model: Path) -> dict[str, Any]:
    try:
        metadata = yaml.safe_load((model / "MLmodel").read_text(encoding="utf-8"))["metadata"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _manifest(output: Output) -> SnapshotManifest:
    return open_snapshot(output.path, WHERE).manifest


def _measured_on(archive: Archive, evidence: Evidence | None) -> SnapshotManifest | None:
    wanted = evidence.digests.get("snapshot") if evidence else None
    outputs = archive.outputs.values() if wanted else ()
    return next((_manifest(it) for it in outputs if snapshot_digest(it) == wanted), None)


def _encoders(outputs: list[Output]) -> tuple[Pin, ...]:
    pins = {encoder_digest(it): it for it in outputs if encoder_digest(it)}
    return tuple(read_pin(output.path / PIN_NAME) for _, output in sorted(pins.items()))


def _lock(place: StepOfRun | None) -> Lock | None:
    """Return the package lock in the code of the step that built the model."""
    if place is None:
        return None
    path = place.folder / "steps" / place.name / "code" / "tfhub_blocks" / STEP_LOCK_NAME
    if not path.is_file():
        return None
    return parse_lock(path.read_text(encoding="utf-8"), str(path))
