import hashlib
import json
import re
from dataclasses import replace

import pytest

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import (
    STATEMENT_NAME,
    Lineage,
    Material,
    Provenance,
    output_material,
    read_lineage,
)

SHA = "ab" * 32
PROVENANCE = Provenance(
    step="make",
    parameters={"text": "ä", "count": 3, "rate": 0.1, "flag": True, "maybe": None},
    materials=(Material("source"), Material("encoder", SHA), Material("data", SHA, SHA, SHA)),
    code_digest="cd" * 32,
    environment_digest="ef" * 32,
    started="2026-01-02T03:04:05.678Z",
    finished="2026-01-02T03:04:06.000Z",
    facts={"loss": 0.25},
)
LINEAGE = Lineage("made", "made/1", {"a/b": SHA, "ü": "12" * 32}, PROVENANCE)

HEX_DIGEST = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
RESOURCE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "digest": HEX_DIGEST,
        "uri": {"type": "string"},
        "annotations": {"type": "object"},
    },
    "anyOf": [{"required": ["digest"]}, {"required": ["uri"]}, {"required": ["content"]}],
    "additionalProperties": False,
}
TIMESTAMP = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
# in-toto's statement.md, resource_descriptor.md and field_types.md, and SLSA v1's provenance.
STATEMENT = {
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "additionalProperties": False,
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "subject": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"allOf": [RESOURCE, {"required": ["name", "digest"]}]},
        },
        "predicateType": {"const": "https://slsa.dev/provenance/v1"},
        "predicate": {
            "type": "object",
            "required": ["buildDefinition", "runDetails"],
            "properties": {
                "buildDefinition": {
                    "required": ["buildType", "externalParameters"],
                    "properties": {
                        "buildType": {"type": "string", "pattern": "^[a-z]+:"},
                        "externalParameters": {"type": "object"},
                        "internalParameters": {"type": "object"},
                        "resolvedDependencies": {"type": "array", "items": RESOURCE},
                    },
                    "additionalProperties": False,
                },
                "runDetails": {
                    "required": ["builder"],
                    "properties": {
                        "builder": {"required": ["id"]},
                        "metadata": {
                            "properties": {"startedOn": TIMESTAMP, "finishedOn": TIMESTAMP}
                        },
                    },
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        },
    },
}


def test_written_lineage_reads_back_as_it_was(tmp_path):
    LINEAGE.write(tmp_path)
    assert read_lineage(tmp_path) == LINEAGE


def test_statement_is_in_toto_with_slsa_provenance():
    import jsonschema

    statement = json.loads(json.dumps(LINEAGE.as_statement()))
    jsonschema.validate(statement, STATEMENT)


def test_time_of_a_step_is_what_in_toto_calls_a_timestamp():
    from tfhub_blocks.compute.step.step_frame import _now

    assert re.fullmatch(TIMESTAMP["pattern"], _now())


def test_digest_is_of_the_files_alone():
    later = replace(LINEAGE, provenance=replace(PROVENANCE, finished="2027-01-01T00:00:00Z"))
    assert later.digest == LINEAGE.digest
    assert replace(LINEAGE, files={"a/b": SHA}).digest != LINEAGE.digest


def test_material_by_port():
    assert LINEAGE.material("encoder") == Material("encoder", SHA)
    assert LINEAGE.material("other") is None


def test_making_is_of_the_work_and_of_all_work_before_it_and_not_of_times():
    def making(lineage=LINEAGE, **changed):
        return replace(lineage, provenance=replace(PROVENANCE, **changed)).making

    assert making(started="", finished="", facts={}) == LINEAGE.making
    source, encoder, data = PROVENANCE.materials
    # The same work, on content whose statement was written at another time.
    assert making(materials=(source, encoder, replace(data, statement="0" * 64))) == LINEAGE.making
    others = {
        making(parameters={"count": 4}),
        making(code_digest=SHA),
        making(environment_digest=SHA),
        making(step="other"),
        making(materials=(source, encoder, replace(data, making="0" * 64))),
        making(materials=(source, encoder, replace(data, digest="0" * 64))),
        making(replace(LINEAGE, files={"a/b": SHA})),
    }
    assert len(others | {LINEAGE.making}) == 8


def test_kept_work_does_not_depend_on_when_its_inputs_were_made():
    later = tuple(replace(m, statement="0" * 64, making="1" * 64) for m in PROVENANCE.materials)
    assert replace(PROVENANCE, materials=later).work == PROVENANCE.work


def test_statement_of_old_binds_contents_alone(tmp_path):
    edit(
        tmp_path,
        lambda s: s["predicate"]["buildDefinition"]["resolvedDependencies"][2].pop("annotations"),
    )
    assert read_lineage(tmp_path).material("data") == Material("data", SHA)


def test_material_binds_the_statement_of_the_step_that_made_it(tmp_path):
    LINEAGE.write(tmp_path)
    statement = hashlib.sha256((tmp_path / STATEMENT_NAME).read_bytes()).hexdigest()
    made = Material("port", LINEAGE.digest, statement, LINEAGE.making)
    assert output_material("port", tmp_path) == made


def edit(folder, change):
    statement = LINEAGE.as_statement()
    change(statement)
    (folder / STATEMENT_NAME).write_text(json.dumps(statement))


def test_tampered_file_digest_is_found(tmp_path):
    edit(tmp_path, lambda s: s["subject"][1]["digest"].update(sha256="00" * 32))
    with pytest.raises(BlocksError) as refusal:
        read_lineage(tmp_path)
    problem = f"the stated digest {LINEAGE.digest} is not that of the listed files"
    assert problem in str(refusal.value)
    remedy = "Run the step that wrote this folder again, and do not edit its files."
    assert str(refusal.value).endswith(remedy)


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a/../../b", "a\\..\\b", "."])
def test_path_that_leaves_the_folder_is_refused(path, tmp_path):
    lineage = replace(LINEAGE, files={path: SHA})
    (tmp_path / STATEMENT_NAME).write_text(json.dumps(lineage.as_statement()))
    with pytest.raises(BlocksError, match="leaves the folder"):
        read_lineage(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.pop("subject"),
        lambda s: s.update(subject=[]),
        lambda s: s.update(subject=["x"]),
        lambda s: s.update(predicate=3),
        lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda s: s["predicate"]["buildDefinition"].update(buildType=3),
        lambda s: s["predicate"]["buildDefinition"].update(resolvedDependencies=["a", "b", "c"]),
        lambda s: s["predicate"]["buildDefinition"].update(resolvedDependencies=[]),
        lambda s: s["subject"][1].update(digest={"sha512": "x"}),
    ],
)
def test_malformed_statement_is_refused(change, tmp_path):
    edit(tmp_path, change)
    with pytest.raises(BlocksError, match="is not a valid in-toto statement"):
        read_lineage(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"_type": '])
def test_file_that_is_no_statement_is_refused(content, tmp_path):
    (tmp_path / STATEMENT_NAME).write_bytes(content)
    with pytest.raises(BlocksError, match="is not a valid in-toto statement"):
        read_lineage(tmp_path)


def test_folder_without_lineage_is_told_from_no_folder(tmp_path):
    remedy = (
        "Expected a finished output of a step. Pass the output of a finished run; if the run was "
        "interrupted, run it again."
    )
    with pytest.raises(BlocksError) as unfinished:
        read_lineage(tmp_path)
    with pytest.raises(BlocksError) as absent:
        read_lineage(tmp_path / "x")
    start = f"[{tmp_path} > lineage.json] "
    assert str(unfinished.value) == f"{start}the folder has no lineage.json. {remedy}"
    folder = tmp_path / "x"
    assert (
        str(absent.value) == f"[{folder} > lineage.json] folder {folder} does not exist. {remedy}"
    )
