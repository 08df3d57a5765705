"""The facts by which requests and answers are checked: where they are from, and what they check."""

import copy
import json
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import write_contract
from azure.ai.ml.entities import (
    BatchEndpoint,
    ManagedOnlineEndpoint,
)
from loopback.contract import Contract, Operation
from loopback.schemas import FACTS, fact_of, parse, read_facts
from test_schedules import weekly

_PROVIDER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices"
# Beside the names of properties, parameters, files, paths and definitions.
_WORDS = {
    *("type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "properties"),
    *("allOf", "items", "additionalProperties", "required", "discriminator", "choices", "versions"),
}
_OPERATION_WORDS = {"versions", "file", "path", "query", "body", "responses"}


def variants(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def schemas_in(node: Any) -> Iterator[Any]:
    """A schema, and all that it contains."""
    yield node
    if isinstance(node, dict):
        inner = [*node.get("properties", {}).values(), *node.get("allOf", [])]
        inner += [node[key] for key in ("items", "additionalProperties") if key in node]
        inner += node.get("choices", {}).values()
        for each in inner:
            if not isinstance(each, bool):
                yield from schemas_in(each)
    elif re.fullmatch(r"[\[{].*[?~!]*", node):
        yield from schemas_in(re.sub(r"^.|.[?~!]*$", "", node))


def schemas_of(operation: Any) -> list[Any]:
    answers = [answer for answer in operation["responses"].values() if answer]
    bodies = [operation["body"]] if "body" in operation else []
    return [*bodies, *answers, *operation.get("query", {}).values()]


def test_facts_are_laid_out_by_the_script():
    assert write_contract.layout(read_facts()) + "\n" == FACTS.read_text()


def test_facts_are_notation_and_numbers_and_no_prose():
    facts = read_facts()
    assert facts.keys() == {"about", "licence", "files", "parameters", "paths", "definitions"}
    described = [v for found in facts["parameters"].values() for v in variants(found)]
    described += [v for found in facts["definitions"].values() for v in variants(found)]
    for methods in facts["paths"].values():
        for operation in (v for found in methods.values() for v in found):
            assert operation.keys() <= _OPERATION_WORDS
            described += schemas_of(operation)
    for schema in (inner for each in described for inner in schemas_in(each)):
        parse(schema)
        assert isinstance(schema, str) or schema.keys() <= _WORDS, schema


def test_every_reference_leads_to_a_definition_and_every_definition_is_referred_to():
    facts, reached = read_facts(), set()
    todo = [
        (version, operation["file"], schema)
        for methods in facts["paths"].values()
        for found in methods.values()
        for operation in found
        for version in operation["versions"]
        for schema in schemas_of(operation)
    ]
    while todo:
        version, file, schema = todo.pop()
        for target in (parse(inner).reference(file) for inner in schemas_in(schema)):
            if target and (version, target) not in reached:
                reached.add((version, target))
                definition = fact_of(facts["definitions"]["#".join(target)], version)
                assert definition is not None, (version, target)
                todo.append((version, target[0], definition))
    assert {"#".join(target) for _, target in reached} == facts["definitions"].keys()


def test_microsofts_files_give_the_same_bytes():
    folder = os.environ.get("AZURE_OPENAPI_DIR")
    if not folder:
        pytest.skip(
            "AZURE_OPENAPI_DIR is not set. To compare contract.json with Microsoft's files, set it "
            "to a checkout of github.com/Azure/azure-rest-api-specs of May 2024"
        )
    assert write_contract.contract_text(Path(folder)) == FACTS.read_text(encoding="utf-8")


def test_folder_without_the_files_is_told_in_one_line(tmp_path, capsys):
    before = FACTS.read_bytes()
    for arguments in ([], [str(tmp_path)]):
        assert write_contract.main(arguments) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("error: [write_contract.py > DIR] a copy of github.com/Azure/")
    assert FACTS.read_bytes() == before


# From a small OpenAPI file with one of each kind of fact.

_COMMON = {
    "definitions": {
        "Error": {"type": "object", "properties": {"code": {"type": "string"}}},
        "Base": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string", "readOnly": True, "description": "An id."}},
        },
    }
}
_ANIMALS: dict[str, Any] = {
    "Animal": {
        "type": "object",
        "discriminator": "kind",
        "required": ["kind", "born"],
        "properties": {
            "kind": {"$ref": "#/definitions/Kind"},
            "born": {"type": "string", "format": "date-time"},
        },
        "additionalProperties": False,
    },
    "Kind": {"type": "string", "enum": ["Cat", "Dog"], "x-ms-enum": {"name": "Kind"}},
    "Pet": {"type": "object", "allOf": [{"$ref": "#/definitions/Animal"}]},
    "Cat": {
        "type": "object",
        "x-ms-discriminator-value": "Cat",
        "allOf": [{"$ref": "#/definitions/Pet"}],
        "properties": {
            "lives": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9},
            "colour": {"type": "string", "pattern": "^[a-z]+$", "x-nullable": True},
        },
        "additionalProperties": False,
    },
    "Dog": {
        "type": "object",
        "x-ms-discriminator-value": "Dog",
        "allOf": [{"$ref": "#/definitions/Animal"}],
        "properties": {"owner": {"$ref": "#/definitions/Owner", "x-nullable": True}},
    },
    "Owner": {
        "title": "An owner.",
        "type": "object",
        "allOf": [{"$ref": "../types/v3/types.json#/definitions/Base"}],
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 4},
            "token": {"type": "string", "format": "uuid"},
            "names": {"type": "array", "items": {"type": "string"}, "x-nullable": True},
            "ages": {"type": "object", "additionalProperties": {"type": "integer"}},
            "pause": {"type": "string", "format": "duration"},
            "notes": {"type": "object"},
            "size": {"$ref": "#/definitions/Size"},
            "extra": {},
        },
    },
    "Size": {"type": "object", "properties": {"cm": {"type": "number"}}},
    "Unused": {"type": "object"},
}
_ITEM = "/subscriptions/{subscriptionId}/resourceGroups/{group}/providers/"
_ITEM += "Microsoft.MachineLearningServices/workspaces/{workspaceName}/codes/{name}"


@pytest.fixture
def written(tmp_path) -> Path:
    """The facts of two versions of a small API, in the second of which sizes are texts."""
    service = tmp_path / write_contract.SERVICE
    (tmp_path / "specification/common-types/types/v3").mkdir(parents=True)
    common = tmp_path / "specification/common-types/types/v3/types.json"
    common.write_text(json.dumps(_COMMON))
    up = os.path.relpath(common, service / "stable" / "1")
    parameter = {"in": "path", "required": True, "type": "string"}
    answer = {"description": "Done.", "schema": {"$ref": "#/definitions/Animal"}}
    failed = {"description": "Failed.", "schema": {"$ref": f"{up}#/definitions/Error"}}
    animal = {"name": "body", "in": "body", "required": True, "schema": answer["schema"]}
    query = [
        {"in": "query", "name": "count", "type": "integer", "required": True},
        {"in": "query", "name": "all", "type": "boolean"},
        {"in": "query", "name": "order", "type": "string", "enum": ["Up", "Down"]},
        {"in": "query", "name": "api-version", "type": "string", "required": True},
    ]
    put = {"parameters": [animal, *query], "responses": {"200": answer, "default": failed}}
    item = {
        "parameters": [parameter | {"name": "name", "pattern": "^[a-z]+$"}],
        "put": {"description": "Writes an animal.", **put},
        "delete": {"responses": {"204": {"description": "Gone."}}},
        "patch": put,
    }
    for version in ("1", "2"):
        definitions = copy.deepcopy(_ANIMALS)
        if version == "2":
            definitions["Size"]["properties"]["cm"]["type"] = "string"
        text = json.dumps({"paths": {_ITEM: item}, "definitions": definitions})
        (service / "stable" / version).mkdir(parents=True)
        path = service / "stable" / version / "mfe.json"
        path.write_text("\ufeff" + text.replace("../types/v3/types.json", up), encoding="utf-8")
    used = {"1": ("workspaces/codes",), "2": ("workspaces/codes",)}
    facts = tmp_path / "facts.json"
    facts.write_text(write_contract.contract_text(tmp_path, used))
    assert facts.read_text() == write_contract.contract_text(tmp_path, used)
    return facts


CAT = {"kind": "Cat", "born": "2026-01-02T03:04:05Z", "lives": 9, "colour": None}
OWNER = {
    "name": "Ada",
    "token": "72f988bf-0000-4000-8000-00000000000a",
    "names": None,
    "ages": {"a": 1},
    "pause": "PT3S",
    "notes": {"any": "thing"},
    "size": {"cm": 1.5},
    "extra": [1],
}
DOG = {"kind": "Dog", "born": "2026-01-02", "owner": OWNER}


def changed(body: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A body with another value at a place such as ``owner/name``, or without it."""
    body = copy.deepcopy(body)
    *parents, last = place.split("/")
    inner = body
    for key in parents:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return body


def problems_of(
    written: Path, body: Any, version: str = "1", name: str = "abc", **query: str
) -> list[str]:
    contract = Contract(written)
    path = f"{_PROVIDER}/workspaces/w/codes/{name}"
    operation = contract.operation("PUT", path, version)
    assert operation is not None
    assert str(operation) == f"mfe.json {version} PUT /workspaces/{{workspaceName}}/codes/{{name}}"
    found = contract.request_problems(operation, {"count": "1", **query}, body)
    return [problem.removeprefix(f"{operation}: ") for problem in found]


def test_good_bodies_have_no_problems(written):
    for body in (CAT, DOG, changed(DOG, "owner", None), changed(DOG, "owner/names", ["a"])):
        assert problems_of(written, body) == []
    assert problems_of(written, CAT, all="True", order="Up", **{"api-version": "1"}) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "body: 'kind' is a required property"),
        (changed(CAT, "kind", "Cow"), "body/kind: 'Cow' is not one of ['Cat', 'Dog']"),
        (changed(CAT, "kind", ...), "body: 'kind' is a required property"),
        (changed(CAT, "born", ...), "body: 'born' is a required property"),
        (changed(CAT, "born", "soon"), "body/born: 'soon' is not a 'date-time'"),
        (changed(CAT, "lives", 0), "body/lives: 0 is less than the minimum of 1"),
        (changed(CAT, "lives", 10), "body/lives: 10 is greater than the maximum of 9"),
        (changed(CAT, "lives", "9"), "body/lives: '9' is not of type 'integer'"),
        (changed(CAT, "lives", None), "body/lives: None is not of type 'integer'"),
        (changed(CAT, "colour", "Red"), "body/colour: 'Red' does not match '^[a-z]+$'"),
        (changed(CAT, "stray", 1), "body: Additional properties are not allowed ('stray' was un"),
        (changed(DOG, "owner/name", ...), "body/owner: 'name' is a required property"),
        (changed(DOG, "owner/name", "A"), "body/owner/name: 'A' is too short"),
        (changed(DOG, "owner/name", "Augusta"), "body/owner/name: 'Augusta' is too long"),
        (changed(DOG, "owner/token", "x"), "body/owner/token: 'x' is not a 'uuid'"),
        (changed(DOG, "owner/names", [1]), "body/owner/names/0: 1 is not of type 'string'"),
        (changed(DOG, "owner/ages/a", "1"), "body/owner/ages/a: '1' is not of type 'integer'"),
        (changed(DOG, "owner/pause", "3 s"), "body/owner/pause: '3 s' is not a 'duration'"),
        (changed(DOG, "owner/notes", []), "body/owner/notes: [] is not of type 'object'"),
        (changed(DOG, "owner/size/cm", "1"), "body/owner/size/cm: '1' is not of type 'number'"),
        (changed(DOG, "owner/id", 3), "body/owner/id: 3 is not of type 'string'"),
    ],
)
def test_each_kind_of_fact_is_kept_and_checked(written, body, expected):
    [found] = problems_of(written, body)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"count": "few"}, "query count: 'few' is no integer"),
        ({"all": "1"}, "query all: '1' is no boolean"),
        ({"order": "up"}, "query order: 'up' is none of ['Up', 'Down']"),
        ({"stray": "1"}, "query stray: it is not known"),
        ({"name": "Abc"}, "path name: 'Abc' does not match ^[a-z]+$"),
    ],
)
def test_parameters_are_kept_and_checked(written, query, expected):
    assert problems_of(written, CAT, **query) == [expected]


def test_what_is_needed_differs_between_requests_and_answers_and_between_versions(written):
    contract = Contract(written)
    put = contract.operation("PUT", f"{_PROVIDER}/workspaces/w/codes/a", "1")
    assert contract.request_problems(put, {}, CAT) == [f"{put}: query count: it is missing"]
    # Read-only: the server adds it.
    [missing] = contract.answer_problems(put, 200, DOG)
    assert missing == f"{put}: body/owner: 'id' is a required property"
    assert contract.answer_problems(put, 200, changed(DOG, "owner/id", "i")) == []
    assert contract.answer_problems(put, 400, {"code": "Bad"}) == []
    [failed] = contract.answer_problems(put, 400, {"code": 3})
    assert failed == f"{put}: body/code: 3 is not of type 'string'"
    [other] = problems_of(written, DOG, version="2")
    assert other == "body/owner/size/cm: 1.5 is not of type 'string'"
    delete = contract.operation("DELETE", f"{_PROVIDER}/workspaces/w/codes/a", "1")
    assert contract.answer_problems(delete, 204, None) == []
    assert contract.answer_problems(delete, 204, {}) == [f"{delete}: an answer 204 has no body"]


def test_only_what_the_loopback_answers_and_refers_to_is_kept(written):
    facts = json.loads(written.read_text())
    assert [sorted(methods) for methods in facts["paths"].values()] == [["delete", "put"]]
    assert "mfe#Unused" not in facts["definitions"]
    assert [of["versions"] for of in facts["definitions"]["mfe#Size"]] == [["1"], ["2"]]
    assert isinstance(facts["definitions"]["mfe#Owner"], dict)
    assert not re.search(r"description|title|An id|x-ms", written.read_text())
    assert facts["files"].keys() == {
        "specification/common-types/types/v3",
        (write_contract.SERVICE / "stable" / "1").as_posix(),
        (write_contract.SERVICE / "stable" / "2").as_posix(),
    }


# What the SDK really sends, and what it gets.


@pytest.fixture
def exchanged(azure, monkeypatch) -> list[tuple[str, Operation, Any]]:
    """Each body that the loopback checks from here on, as (kind, operation, body)."""
    found, contract = [], azure.contract

    class Recording:
        operation = staticmethod(contract.operation)

        @staticmethod
        def request_problems(operation: Operation, query: Any, body: Any) -> list[str]:
            found.append(("request", operation, copy.deepcopy(body)))
            return contract.request_problems(operation, query, body)

        @staticmethod
        def answer_problems(operation: Operation, status: int, body: Any) -> list[str]:
            found.append((str(status), operation, copy.deepcopy(body)))
            return contract.answer_problems(operation, status, body)

    monkeypatch.setattr(azure, "contract", Recording)
    return found


MORE = "(more)"


def places(body: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value in a body, and one for a property more in each object."""
    if isinstance(body, dict):
        for key, value in [*body.items(), (MORE, None)]:
            yield (*place, key)
            yield from places(value, (*place, key))
    for index, value in enumerate(body if isinstance(body, list) else ()):
        yield (*place, index)
        yield from places(value, (*place, index))


def broken(body: Any, place: tuple[Any, ...]) -> Any:
    """A body with a list at a place, or with an object where there is a list."""
    body = copy.deepcopy(body)
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    is_list = place[-1] != MORE and isinstance(inner[place[-1]], list)
    inner[place[-1]] = {"wrong": 1} if is_list else [["wrong"]]
    return body


def unchecked(contract: Contract, kind: str, operation: Operation, body: Any) -> Iterator[str]:
    """The outermost places of a body where anything is taken; ``/*`` for all in an object."""
    if kind == "request":
        check = partial(contract.request_problems, operation, {})
    else:
        check = partial(contract.answer_problems, operation, int(kind))
    usual, free = check(body), set()
    for place in places(body):
        within = any(place[:length] in free for length in range(1, len(place)))
        if not within and check(broken(body, place)) == usual:
            free.add(place)
    for place in free:
        beside = {other for other in places(body) if other[:-1] == place[:-1] and len(place) > 1}
        last = "*" if beside and beside <= free else place[-1]
        names = ["*" if isinstance(key, int) else key for key in (*place[:-1], last)]
        yield re.sub(r"/jobs/(left|right|joined)/", "/jobs/NODE/", f"/{'/'.join(names)}")


def test_golden_of_what_the_contract_leaves_open(exchanged, azure, request, golden):
    """A check that is lost adds a line: a place where anything is taken."""
    toys = request.getfixturevalue("toys")
    client = toys.client
    client.jobs.create_or_update(toys.job())
    client.schedules.begin_create_or_update(weekly(toys.job())).result()
    client.schedules.trigger("weekly")
    list(client.jobs.list())
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="online")).result()
    client.batch_endpoints.begin_create_or_update(BatchEndpoint(name="batch")).result()
    assert azure.problems() == []
    lines, contract = set(), Contract()
    for kind, operation, body in exchanged:
        collection = operation.template.partition("{workspaceName}/")[2].partition("/")[0]
        side = "request" if kind == "request" else "answer"
        for place in unchecked(contract, kind, operation, body):
            lines.add(f"{collection or 'workspaces'} {side}: {place}\n")
    golden("unchecked_places", "".join(sorted(lines)))


def test_bad_answer_of_the_loopback_fails_the_test(toys, azure):
    azure.workspace.get("environments/toy/versions/1")["properties"]["isArchived"] = "perhaps"
    toys.client.environments.get("toy", "1")
    [problem] = azure.problems()
    assert problem.startswith("our answer: mfe.json 2023-04-01-preview GET /workspaces/")
    assert problem.endswith("body/properties/isArchived: 'perhaps' is not of type 'boolean'")
    azure.recorder.broken_answers.clear()
