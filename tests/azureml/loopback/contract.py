"""Requests and answers against Microsoft's OpenAPI files."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import isodate
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, relevance
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).parents[3]
_SERVICE = Path(
    "specification/machinelearningservices/resource-manager/Microsoft.MachineLearningServices"
)
# Versions that the files lack, and the nearest that they hold.
STAND_INS = {
    "2024-10-01-preview": "2024-04-01-preview",
    "2025-01-01-preview": "2024-04-01-preview",
    # That of registries alone.
    "2021-10-01-dataplanepreview": "2023-04-01-preview",
}
_MODEL_PROPERTIES = [
    *("description", "flavors", "isAnonymous", "isArchived", "jobName", "modelType", "modelUri"),
    *("properties", "provisioningState", "stage", "system_metadata", "tags"),
]
# Where the SDK and the OpenAPI disagree, and Azure takes what the SDK sends: the end of the place
# in the body (`*` for any item), and what is checked there instead.
DEVIATIONS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "code-hash-version": ("/properties/properties/hash_version", {"type": ["integer", "string"]}),
    "schedule-frequency": (
        "/properties/trigger/frequency",
        {"enum": ["minute", "hour", "day", "week", "month"]},
    ),
    "schedule-week-days": (
        "/schedule/weekDays/*",
        {"enum": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]},
    ),
    # By this the SDK knows a step of a pipeline.
    "child-job": ("/properties", {"type": "null"}),
    "registry-model": (
        "/properties",
        {"required": ["system_metadata"], "propertyNames": {"enum": _MODEL_PROPERTIES}},
    ),
    "batch-auth-mode": ("/properties/authMode", {"const": "aadToken"}),
    # Where Azure ML's own server says that it is well; the OpenAPI wants a letter in each path.
    "liveness-path": ("/inferenceConfig/livenessRoute/path", {"const": "/"}),
    "readiness-path": ("/inferenceConfig/readinessRoute/path", {"const": "/"}),
}


# What nodes of pipelines have as jobs have it, but in the words of YAML.
_OF_NODES = {"distribution": "DistributionConfiguration", "resources": "JobResourceConfiguration"}


def openapi_folder() -> Path | None:
    """Where the files are: ``AZURE_OPENAPI_DIR``, else beside the repository; None if nowhere."""
    given = os.environ.get("AZURE_OPENAPI_DIR")
    folder = Path(given) if given else ROOT.parent / "shared" / "azure-openapi"
    return folder if (folder / _SERVICE).is_dir() else None


@dataclass(frozen=True)
class Operation:
    """One method of one path of one file."""

    file: Path
    template: str
    method: str
    api_version: str
    parameters: tuple[Mapping[str, Any], ...]
    responses: Mapping[str, Any]
    values: Mapping[str, str]

    def __str__(self) -> str:
        short = self.template.partition("/providers/Microsoft.MachineLearningServices")[2]
        return f"{self.file.name} {self.api_version} {self.method.upper()} {short}"


@dataclass
class Contract:
    """The OpenAPI files of one folder, read when they are first needed."""

    folder: Path
    _registries: dict[str, Any] = field(default_factory=dict)

    def operation(self, method: str, path: str, api_version: str) -> Operation | None:
        """The operation that a request means, if the files have it."""
        for file, template, pattern, item in self._paths(api_version):
            match = pattern.fullmatch(path)
            if match and method.lower() in item:
                entry = item[method.lower()]
                listed = [*item.get("parameters", []), *entry.get("parameters", [])]
                parameters = tuple(self._dereference(file, p) for p in listed)
                return Operation(
                    file,
                    template,
                    method.lower(),
                    api_version,
                    parameters,
                    entry["responses"],
                    match.groupdict(),
                )
        return None

    def request_problems(
        self, operation: Operation, query: Mapping[str, str], body: Any
    ) -> list[str]:
        """Each way in which a request breaks its description; empty if it keeps it."""
        problems = []
        known = {"api-version"} | {p["name"] for p in operation.parameters if p["in"] == "query"}
        problems += [f"query {name}: it is not known" for name in query if name not in known]
        for parameter in operation.parameters:
            place, name = parameter["in"], parameter["name"]
            values: Mapping[str, Any] = operation.values if place == "path" else query
            if place == "body":
                found = self._problems("request", operation.file, parameter["schema"], body)
                problems += found if body is not None or parameter.get("required") else []
            elif place in ("path", "query") and name in values:
                problems += _parameter_problems(parameter, values[name])
            elif place == "query" and parameter.get("required") and name != "api-version":
                problems.append(f"query {name}: it is missing")
        properties = (body or {}).get("properties") or {}
        for job in (properties, (properties.get("action") or {}).get("jobDefinition") or {}):
            problems += self._node_problems(operation.file, job)
        return [f"{operation}: {problem}" for problem in problems]

    def _node_problems(self, file: Path, job: Mapping[str, Any]) -> Iterator[str]:
        """Of the nodes of a pipeline, which may be anything there, what is described elsewhere."""
        if job.get("jobType") != "Pipeline":
            return
        for name, node in (job.get("jobs") or {}).items():
            for key, definition in _OF_NODES.items():
                if node.get(key) is not None:
                    schema = {"$ref": f"#/definitions/{definition}"}
                    found = self._problems("request", file, schema, _in_camel_case(node[key]))
                    yield from (f"jobs.{name}.{key}: {problem}" for problem in found)

    def answer_problems(self, operation: Operation, status: int, body: Any) -> list[str]:
        """Each way in which an answer breaks its description; empty if it keeps it."""
        described = operation.responses.get(str(status))
        if described is None and status < 400:
            return [f"{operation}: status {status} is not described"]
        described = described or operation.responses.get("default", {})
        if "schema" not in described:
            return [f"{operation}: an answer {status} has no body"] if body is not None else []
        problems = self._problems("answer", operation.file, described["schema"], body)
        return [f"{operation}: {problem}" for problem in problems]

    def _paths(self, api_version: str) -> list[tuple[Path, str, re.Pattern[str], Any]]:
        return _read_paths(self.folder, STAND_INS.get(api_version, api_version))

    def _dereference(self, file: Path, node: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in node:
            return node
        name, _, pointer = node["$ref"].partition("#/")
        target = _read((file.parent / name).resolve() if name else file)
        for key in pointer.split("/"):
            target = target[key]
        return target

    def _problems(self, kind: str, file: Path, schema: Any, value: Any) -> Iterator[str]:
        converter = _Converter(kind)
        validator = Draft202012Validator(
            converter.convert(schema, file), registry=converter.registry, format_checker=_FORMATS
        )
        return [
            f"body{_place(error)}: {error.message[:300]}"
            for error in _leaves(validator.iter_errors(value))
            if not _is_allowed(error)
        ]


def _in_camel_case(node: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), key): node[key] for key in node}


def _place(error: ValidationError) -> str:
    return "".join(f"/{part}" for part in error.absolute_path)


def _is_allowed(error: ValidationError) -> bool:
    found = re.sub(r"/\d+$", "/*", _place(error))
    return any(
        found.endswith(place) and Draft202012Validator(schema).is_valid(error.instance)
        for place, schema in DEVIATIONS.values()
    )


def _leaves(errors: Any) -> Iterator[ValidationError]:
    """Of an alternative that failed, what failed in it; of others the error itself."""
    for error in errors:
        if error.context and error.validator == "anyOf":
            # The other alternative is null.
            yield from _leaves(e for e in error.context if e.schema_path[0] == 0)
        elif error.context:
            yield from _leaves(sorted(error.context, key=relevance))
        else:
            yield error


def _parameter_problems(parameter: Mapping[str, Any], text: str) -> list[str]:
    name, kind = parameter["name"], parameter.get("type")
    problem = ""
    if kind == "integer" and not re.fullmatch(r"-?\d+", text):
        problem = "is no integer"
    elif kind == "boolean" and text.lower() not in ("true", "false"):
        problem = "is no boolean"
    elif "pattern" in parameter and not re.search(parameter["pattern"], text):
        problem = f"does not match {parameter['pattern']}"
    elif "enum" in parameter and text not in parameter["enum"]:
        problem = f"is none of {parameter['enum']}"
    return [f"{parameter['in']} {name}: {text!r} {problem}"] if problem else []


@cache
def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8-sig"))


@cache
def _read_paths(folder: Path, api_version: str) -> list[tuple[Path, str, re.Pattern[str], Any]]:
    found = []
    for kind in ("preview", "stable"):
        for file in sorted((folder / _SERVICE / kind / api_version).glob("*.json")):
            for template, item in _read(file)["paths"].items():
                pieces = re.split(r"\{(\w+)\}", template)
                literals, names = pieces[::2], [*pieces[1::2], ""]
                pattern = "".join(
                    re.escape(literal) + (f"(?P<{name}>[^/]+)" if name else "")
                    for literal, name in zip(literals, names, strict=True)
                )
                found.append((file.resolve(), template, re.compile(pattern, re.I), item))
    # `/jobs/{id}/cancel` before a template that would take "cancel" for a name.
    return sorted(found, key=lambda entry: entry[1].count("{"))


class _Converter:
    """Swagger 2 schemas as JSON Schema, definition by definition, when a ``$ref`` asks for it.

    ``allOf`` is folded into one object, so that ``additionalProperties: false`` sees all
    properties; a discriminator becomes a choice by its value. In requests, read-only properties
    are never required.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @cached_property
    def registry(self) -> Any:
        return Registry(retrieve=self._retrieve)

    def _retrieve(self, uri: str) -> Any:
        return _definition(self.kind, uri)

    def convert(self, node: Mapping[str, Any], file: Path) -> dict[str, Any]:
        """A schema of a file; what it refers to stays a reference."""
        if "$ref" in node:
            name, _, pointer = node["$ref"].partition("#")
            target = (file.parent / name).resolve() if name else file
            made: dict[str, Any] = {"$ref": f"swagger:{target}?{pointer.rpartition('/')[2]}"}
        else:
            made = self._convert_plain(node, file)
        if node.get("x-nullable"):
            made = {"anyOf": [made, {"type": "null"}]}
        return made

    def _convert_plain(self, node: Mapping[str, Any], file: Path) -> dict[str, Any]:
        kept = ("type", "enum", "pattern", "format", "minLength", "maxLength", "minimum")
        made = {key: node[key] for key in (*kept, "maximum", "required") if key in node}
        if "allOf" in node or "properties" in node:
            properties, required = self._fold(node, file)
            made["properties"] = {
                name: self.convert(schema, where) for name, (schema, where) in properties.items()
            }
            read_only = {name for name, (schema, _) in properties.items() if schema.get("readOnly")}
            made["required"] = sorted(required - (read_only if self.kind == "request" else set()))
        extra = node.get("additionalProperties")
        if isinstance(extra, dict):
            made["additionalProperties"] = self.convert(extra, file)
        elif extra is not None:
            made["additionalProperties"] = extra
        if "items" in node:
            made["items"] = self.convert(node["items"], file)
        return made

    def _fold(
        self, node: Mapping[str, Any], file: Path
    ) -> tuple[dict[str, tuple[Any, Path]], set[str]]:
        """The properties and required names of an object with those of all its ancestors."""
        properties: dict[str, tuple[Any, Path]] = {}
        required = set(node.get("required", []))
        for parent in node.get("allOf", []):
            name, _, pointer = parent.get("$ref", "#").partition("#")
            where = (file.parent / name).resolve() if name else file
            definition = (
                _read(where)["definitions"][pointer.rpartition("/")[2]] if pointer else parent
            )
            inherited, wanted = self._fold(definition, where)
            properties |= inherited
            required |= wanted
        properties |= {name: (s, file) for name, s in node.get("properties", {}).items()}
        return properties, required


@cache
def _definition(kind: str, uri: str) -> Any:
    path, _, name = uri.removeprefix("swagger:").partition("?")
    file, converter = Path(path), _Converter(kind)
    definitions = _read(file)["definitions"]
    schema = converter.convert(
        {k: v for k, v in definitions[name].items() if k != "x-nullable"}, file
    )
    children = dict(_children(definitions, name))
    if "discriminator" in definitions[name] and children:
        key = definitions[name]["discriminator"]
        schema = {
            "type": "object",
            "required": [key],
            "properties": {key: {"enum": list(children)}},
            "allOf": [
                {
                    "if": {"properties": {key: {"const": value}}, "required": [key]},
                    "then": {"$ref": f"swagger:{file}?{child}"},
                }
                for value, child in children.items()
            ],
        }
    return Resource(contents=schema, specification=DRAFT202012)


def _children(definitions: Mapping[str, Any], parent: str) -> Iterator[tuple[str, str]]:
    """The discriminator value and name of each definition that is made from another."""
    for name, definition in definitions.items():
        parents = {p.get("$ref", "").rpartition("/")[2] for p in definition.get("allOf", [])}
        if parent in parents:
            if "x-ms-discriminator-value" in definition:
                yield definition["x-ms-discriminator-value"], name
            else:
                yield from _children(definitions, name)


_FORMATS = FormatChecker(formats=[])


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: Any) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value))


@_FORMATS.checks("duration", raises=(ValueError, isodate.ISO8601Error))
def _is_duration(value: Any) -> bool:
    return not isinstance(value, str) or bool(isodate.parse_duration(value)) or True


@_FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: Any) -> bool:
    return not isinstance(value, str) or bool(UUID(value))
