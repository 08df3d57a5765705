"""What a model's card says, and its bill of materials."""

import hashlib
import json

import jsonschema
import pytest
from chain_tampering import edit_json
from test_lineage_command import Page

from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.environment.package_locks import parse_lock

PURPOSE = "Tell *cats* from dogs | <script>alert(1)</script>"
TEXT = {"type": "string", "minLength": 1}
SHA256 = {
    "type": "object",
    "required": ["alg", "content"],
    "additionalProperties": False,
    "properties": {
        "alg": {"const": "SHA-256"},
        "content": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
}
LICENCE = {
    "type": "object",
    "required": ["license"],
    "additionalProperties": False,
    "properties": {
        "license": {
            "type": "object",
            "oneOf": [{"required": ["id"]}, {"required": ["name"]}],
            "properties": {"id": TEXT, "name": TEXT},
            "additionalProperties": False,
        }
    },
}


def texts(*names):
    return {
        "type": "object",
        "properties": dict.fromkeys(names, TEXT),
        "additionalProperties": False,
    }


def array(items):
    return {"type": "array", "items": items, "uniqueItems": True}


# Of the reference of CycloneDX 1.6 (cyclonedx.org/docs/1.6/json), what a bill of ours holds.
METRIC = texts("type", "value", "slice")
METRIC["properties"] = METRIC["properties"] | {
    "confidenceInterval": texts("lowerBound", "upperBound")
}
MODEL_CARD = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "modelParameters": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "approach": {
                    "properties": {
                        "type": {
                            "enum": [
                                "supervised",
                                "unsupervised",
                                "reinforcement-learning",
                                "semi-supervised",
                                "self-supervised",
                            ]
                        }
                    }
                },
                "task": TEXT,
                "datasets": {"type": "array", "items": texts("ref")},
                "inputs": {"type": "array", "items": texts("format")},
                "outputs": {"type": "array", "items": texts("format")},
            },
        },
        "quantitativeAnalysis": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"performanceMetrics": {"type": "array", "items": METRIC}},
        },
        "considerations": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "useCases": {"type": "array", "items": TEXT},
                "technicalLimitations": {"type": "array", "items": TEXT},
            },
        },
    },
}
COMPONENT = {
    "type": "object",
    "required": ["type", "name"],
    "additionalProperties": False,
    "properties": {
        "type": {
            "enum": ["application", "library", "file", "machine-learning-model", "data"],
        },
        "bom-ref": TEXT,
        "name": TEXT,
        "version": TEXT,
        "description": TEXT,
        "authors": {"type": "array", "items": texts("name", "email")},
        "licenses": {"type": "array", "items": LICENCE},
        "hashes": {"type": "array", "items": SHA256},
        "purl": {"type": "string", "pattern": r"^pkg:pypi/[a-z0-9-]+@\S+$"},
        "components": array({"$ref": "#/definitions/component"}),
        "modelCard": MODEL_CARD,
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "additionalProperties": False,
                "properties": {
                    "type": {"enum": ["dataset"]},
                    "name": TEXT,
                    "contents": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "properties": {"type": "array", "items": texts("name", "value")}
                        },
                    },
                },
            },
        },
        "properties": {"type": "array", "items": texts("name", "value")},
    },
}
UUID = r"^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
BOM = {
    "definitions": {"component": COMPONENT},
    "type": "object",
    "required": ["bomFormat", "specVersion", "serialNumber", "version", "metadata", "components"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {"type": "string", "pattern": UUID},
        "version": {"const": 1},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT[\d:.]+Z$"},
                "tools": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"components": array({"$ref": "#/definitions/component"})},
                },
                "component": {"$ref": "#/definitions/component"},
            },
        },
        "components": array({"$ref": "#/definitions/component"}),
        "dependencies": array(
            {
                "type": "object",
                "required": ["ref"],
                "additionalProperties": False,
                "properties": {"ref": TEXT, "dependsOn": array(TEXT)},
            }
        ),
    },
}


def write_card(chain, what="toy:2", to="card", *words):
    outcome = chain.main("card", what, "--to", to, *words, anew=False)
    assert outcome.status == 0, outcome.err
    return {path.name: path.read_bytes() for path in (chain.folder / to).iterdir()}


def bill(chain, *words):
    return json.loads(write_card(chain, "toy:2", "card", *words)["bom.cdx.json"])


def test_card_tells_what_the_chain_tells(chain, golden):
    words = ("--purpose", PURPOSE, "--limit", "Not for lions.", "--limit", "1. Not at night.")
    golden("card", chain.normal(write_card(chain, "toy:2", "card", *words)["card.md"].decode()))


def test_nothing_in_the_page_is_meant(chain):
    page = Page(write_card(chain, "toy:2", "card", "--purpose", PURPOSE)["card.html"].decode())
    assert PURPOSE in page.text
    assert "dog & <b>" in page.text
    assert "Apache-2.0" in page.text
    assert "Drawn by Ada. License: CC BY 4.0" in page.text
    assert not page.tags & {"script", "link", "img", "iframe", "b"}
    assert not page.attributes.keys() & {"src", "href"}


def test_same_chain_gives_the_same_files(chain):
    first = write_card(chain)
    (chain.folder / ".runs").rename(chain.folder / "moved")
    assert write_card(chain, "toy:2", "again", "--runs-dir", "moved") == first
    assert write_card(chain, "toy:1", "other", "--runs-dir", "moved") != first


def test_description_in_the_registry_is_the_purpose(chain):
    from mlflow import MlflowClient

    uri = f"sqlite:///{chain.folder}/.runs/mlflow.db"
    MlflowClient(uri, uri).update_registered_model("toy", "To be played with")
    assert b"To be played with" in write_card(chain)["card.md"]
    assert b"Not stated by the owner" not in write_card(chain)["card.md"]


def test_bill_is_a_cyclonedx_document(chain):
    jsonschema.validate(bill(chain, "--purpose", PURPOSE), BOM)
    jsonschema.validate(bill(chain), BOM)


def test_bill_names_files_and_packages_by_what_they_are(chain):
    found = bill(chain)
    model = found["metadata"]["component"]
    for component, folder in (
        (model, chain.output("trained", "model")),
        (found["components"][0], chain.output("encoder", "encoder") / "saved_model"),
    ):
        assert component["components"]
        for file in component["components"]:
            content = (folder / file["name"]).read_bytes()
            assert file["hashes"][0]["content"] == hashlib.sha256(content).hexdigest()
    code = chain.folder / ".runs/runs" / chain.runs[1] / "steps/trained/code/tfhub_blocks"
    lock = parse_lock((code / "environment.lock").read_text(), "test")
    libraries = [it for it in found["components"] if it["type"] == "library"]
    assert {it["name"]: it["version"] for it in libraries} == lock.target_versions()
    assert len(libraries) > 50


def test_references_in_a_bill_name_something(chain):
    found = bill(chain)
    named = [found["metadata"]["component"], *found["components"]]
    references = [component["bom-ref"] for component in named]
    assert len(set(references)) == len(references)
    used = [it["ref"] for it in found["dependencies"]]
    used += [it for entry in found["dependencies"] for it in entry.get("dependsOn", ())]
    datasets = named[0]["modelCard"]["modelParameters"]["datasets"]
    used += [it["ref"] for it in datasets]
    assert len(datasets) == 1
    assert set(used) == set(references)


def test_metrics_in_a_bill_are_those_of_the_evidence(chain):
    card = bill(chain)["metadata"]["component"]["modelCard"]
    (metric,) = card["quantitativeAnalysis"]["performanceMetrics"]
    assert (metric["type"], float(metric["value"])) == ("accuracy", 0.9)
    interval = metric["confidenceInterval"]
    assert float(interval["lowerBound"]) == pytest.approx(0.85)
    assert float(interval["upperBound"]) == pytest.approx(0.95)


def test_model_that_nobody_measured_says_so(chain):
    for run in (0, 1):
        evidence = chain.output("measured", "evidence", run=run)
        evidence.unlink()
        for record in chain.folder.glob(f".runs/store/{evidence.parent.name}/step.json"):
            edit_json(record, lambda step: [step[k].pop("evidence") for k in ("digests", "whole")])
    found = write_card(chain, str(chain.output("trained", "model")))
    assert b"No evidence about the model was found locally." in found["card.md"]
    model = json.loads(found["bom.cdx.json"])["metadata"]["component"]
    assert "quantitativeAnalysis" not in model["modelCard"]


def test_no_card_is_written_of_a_chain_that_does_not_hold(chain, golden):
    edit_json(
        chain.output("snapshot", "snapshot") / STATEMENT_NAME,
        lambda s: s["predicate"]["buildDefinition"]["externalParameters"].update(split_salt="x"),
    )
    outcome = chain.main("card", "toy:2", "--to", "card", anew=False)
    assert outcome.status == 2
    assert not (chain.folder / "card").exists()
    golden("error_card_tampered", chain.normal(outcome.err))


def test_what_has_no_model_gets_no_card(chain, golden):
    snapshot = str(chain.output("snapshot", "snapshot"))
    outcome = chain.main("card", snapshot, "--to", "card", anew=False)
    assert outcome.status == 2
    golden("error_card_no_model", chain.normal(outcome.err))
