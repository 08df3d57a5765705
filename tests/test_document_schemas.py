"""The schemas of TOML files: shipped, up to date, and as strict as the files' readers."""

import json
import tomllib
from datetime import date
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from tfhub_blocks.cli import main
from tfhub_blocks.commands.schemas import KINDS, schema_of, schema_text
from tfhub_blocks.records.base.documents import VERSION_KEY, document_fields, read_record
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.releases import ReleaseLock

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "tfhub_blocks" / "schemas"
WRONG = {"string": 1, "integer": "1", "number": "1", "boolean": "true", "array": "a", "object": 1}
EXAMPLES = {
    "pin": sorted(ROOT.glob("tests/compat/*/encoder/encoder.toml")),
    "profile": sorted((ROOT / "pipelines" / "profiles").glob("*.toml")),
    "prices": [ROOT / "pipelines" / "prices.toml"],
    "ci": [ROOT / "pipelines" / "ci.toml"],
}
SCHEDULE = """
format_version = 1
pipeline = "transfer_learning"
profile = "experiment"
time_zone = "Europe/Berlin"
inputs = { source = "azureml:images:1" }
register = { model = "nightly" }
[recurrence]
frequency = "month"
month_days = [1, 15]
"""


def documents(kind):
    """Return the shipped files of a kind, as (name, record)."""
    if kind == "schedule":
        return [("example", tomllib.loads(SCHEDULE))]
    return [(path.name, tomllib.loads(path.read_text())) for path in EXAMPLES[kind]]


def validator(kind):
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def reads(kind, record):
    _, module, name = KINDS[kind]
    kind = getattr(import_module(f"tfhub_blocks.{module}"), name)
    rest = {key: value for key, value in record.items() if key != VERSION_KEY}
    try:
        read_record(rest, kind, "file")
    except BlocksError:
        return False
    return True


def as_json(value):
    """Return a record as validators read it: dates are texts."""
    return json.loads(json.dumps(value, default=lambda it: it.isoformat()))


def changed(record, path=()):
    """Yield the record with one change at each place: a key more, less, misspelt or mistyped."""
    for key, value in record.items():
        yield {**record, f"{key}_": value}
        yield {k: v for k, v in record.items() if k != key}
        yield record | {key: object_of_another_type(value)}
        if isinstance(value, dict):
            yield from (record | {key: inner} for inner in changed(value))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from (record | {key: [inner, *value[1:]]} for inner in changed(value[0]))


def object_of_another_type(value):
    return [["x"]] if isinstance(value, str | int | float | dict | date) else "x"


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_files_fit_their_schema(kind):
    check, found = validator(kind), documents(kind)
    assert found
    for name, record in found:
        assert [error.message for error in check.iter_errors(as_json(record))] == [], name


@pytest.mark.parametrize("kind", KINDS)
def test_schema_refuses_exactly_what_the_reader_refuses(kind):
    check = validator(kind)
    refused = 0
    for name, record in documents(kind):
        for other in changed({k: v for k, v in record.items() if k != VERSION_KEY}):
            fits = check.is_valid(as_json({VERSION_KEY: 1, **other}))
            assert fits == reads(kind, other), (name, other)
            refused += not fits
    assert refused > 5


def test_profile_refuses_the_keys_that_its_reader_sets():
    check = validator("profile")
    [(_, record)] = [it for it in documents("profile") if it[0] == "local.toml"]
    for key in ("name", "path"):
        other = record | {key: "x"}
        assert not check.is_valid(other)
        assert not reads("profile", other)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_schema_refuses_other_versions(version):
    [(_, record)] = documents("ci")
    assert not validator("ci").is_valid(record | {VERSION_KEY: version})


@pytest.mark.parametrize("kind", KINDS)
def test_each_key_has_a_description(kind):
    schema = schema_of(kind)
    tables = {kind: schema, **schema["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, part in table["properties"].items()
        if not part.get("description")
    ]
    assert bare == []


def test_installed_schemas_are_those_that_the_code_gives():
    written = {path.name: path.read_text(encoding="utf-8") for path in SCHEMAS.glob("*.json")}
    made = {f"{kind}.schema.json": schema_text(kind) for kind in KINDS}
    assert written == made, "run `make reference`"


def test_command_prints_a_schema(capsys):
    assert main(["schema", "schedule"]) == 0
    assert json.loads(capsys.readouterr().out) == schema_of("schedule")


def test_schema_of_locks_has_the_keys_of_the_reader():
    schema = json.loads((ROOT / "docs" / "release-lock.schema.json").read_text())
    assert schema["properties"].keys() == {VERSION_KEY} | {
        it.name for it in document_fields(ReleaseLock)
    }
