"""A CycloneDX 1.6 bill of materials of a model: encoder, data, and the packages of its build.

See https://cyclonedx.org/docs/1.6/json/.
"""

import re
import uuid
from collections.abc import Iterator
from typing import Any

from tfhub_blocks import __version__
from tfhub_blocks.control.cards.cards import limits
from tfhub_blocks.control.cards.model_facts import ModelFacts
from tfhub_blocks.records.formats.snapshots import SnapshotManifest
from tfhub_blocks.records.pins.pins import Pin

SPEC_VERSION = "1.6"
# The SPDX identifiers that encoders and data commonly have; other licences are named.
_SPDX = frozenset(
    {
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC-BY-4.0",
        "CC-BY-NC-4.0",
        "CC-BY-SA-4.0",
        "CC0-1.0",
        "MIT",
    }
)


def bill_of_materials(facts: ModelFacts) -> dict[str, Any]:
    """Return the document as JSON-ready values.

    The same chain gives the same document, with the same serial number and time.
    """
    model = f"model:{facts.output.digest}"
    encoders = [_encoder(pin) for pin in facts.encoders]
    data = [_data(digest, manifest) for digest, manifest in facts.data.items()]
    libraries = list(_libraries(facts))
    components = [*encoders, *data, *libraries]
    identity = f"{model} {facts.output.statement} {facts.name} {facts.version}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, identity)}",
        "version": 1,
        "metadata": {
            "timestamp": facts.made,
            "tools": {
                "components": [
                    {"type": "application", "name": "tfhub-blocks", "version": __version__}
                ]
            },
            "component": _model(facts, model, [it["bom-ref"] for it in data]),
        },
        "components": components,
        "dependencies": [
            {"ref": model, "dependsOn": [it["bom-ref"] for it in components]},
            *({"ref": it["bom-ref"]} for it in components),
        ],
    }


def _model(facts: ModelFacts, reference: str, data: list[str]) -> dict[str, Any]:
    made = facts.lineage.provenance
    purpose = {"description": facts.given.purpose} if facts.given.purpose else {}
    owner = {"authors": [{"name": facts.owner}]} if facts.owner else {}
    modalities = sorted({pin.modality for pin in facts.encoders})
    card: dict[str, Any] = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "classification",
            "datasets": [{"ref": it} for it in data],
            **({"inputs": [{"format": it} for it in modalities]} if modalities else {}),
            "outputs": [{"format": "label, probability, probabilities"}],
        },
        "considerations": {"technicalLimitations": list(limits(facts))},
    }
    if facts.evidence:
        card["quantitativeAnalysis"] = {"performanceMetrics": list(_metrics(facts))}
    if facts.given.purpose:
        card["considerations"]["useCases"] = [facts.given.purpose]
    return {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": facts.name,
        "version": facts.version,
        **purpose,
        **owner,
        "modelCard": card,
        "components": [
            {"type": "file", "name": name, "hashes": [_hash(sha256)]}
            for name, sha256 in facts.lineage.files.items()
        ],
        "properties": [
            _property("dirHash", facts.output.digest),
            _property("statement", facts.output.statement),
            _property("step", made.step),
            _property("code", made.code_digest),
            _property("environment", made.environment_digest),
            *(
                _property(f"parameter:{name}", str(value))
                for name, value in made.parameters.items()
                if value is not None
            ),
        ],
    }


def _metrics(facts: ModelFacts) -> Iterator[dict[str, Any]]:
    for name, estimate in facts.evidence.metrics.items() if facts.evidence else ():
        if isinstance(estimate, dict) and "value" in estimate:
            metric: dict[str, Any] = {
                "type": name,
                "value": repr(estimate["value"]),
                "slice": "test",
            }
            if {"low", "high"} <= estimate.keys():
                bounds = {"lowerBound": repr(estimate["low"]), "upperBound": repr(estimate["high"])}
                metric |= {"confidenceInterval": bounds}
            yield metric


def _encoder(pin: Pin) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"encoder:{pin.digest}",
        "name": pin.name,
        "version": pin.digest[:12],
        "description": pin.handle,
        **_licences(pin.licence),
        "components": [
            {"type": "file", "name": name, "hashes": [_hash(file.sha256)]}
            for name, file in pin.files.items()
        ],
        "properties": [
            _property("dirHash", pin.digest),
            _property("handle", pin.handle),
            *(_property("allowedOperation", name) for name in pin.operations.allowed or ()),
        ],
    }


def _data(digest: str, manifest: SnapshotManifest) -> dict[str, Any]:
    described = f"{manifest.items} {manifest.modality} items of {len(manifest.labels)} classes"
    return {
        "type": "data",
        "bom-ref": f"snapshot:{digest}",
        "name": f"snapshot {manifest.digest[:12]}",
        "version": manifest.digest[:12],
        "description": described,
        **_licences(manifest.attribution),
        "data": [
            {
                "type": "dataset",
                "name": f"snapshot {manifest.digest[:12]}",
                "contents": {
                    "properties": [
                        {"name": f"{split} {label}", "value": str(count)}
                        for split, counts in manifest.counts.items()
                        for label, count in counts.items()
                    ]
                },
            }
        ],
        "properties": [_property("dirHash", digest), _property("data", manifest.digest)],
    }


def _libraries(facts: ModelFacts) -> Iterator[dict[str, Any]]:
    versions = facts.lock.target_versions() if facts.lock else {}
    for name, version in sorted(versions.items()):
        purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version.replace('+', '%2B')}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }


def _licences(licence: str) -> dict[str, Any]:
    if not licence or licence == "unknown":
        return {}
    return {"licenses": [{"license": {"id" if licence in _SPDX else "name": licence}}]}


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"tfhub-blocks:{name}", "value": value}
