"""Requests and answers against the facts of Microsoft's OpenAPI files in contract.json."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from loopback.schemas import FACTS, fact_of, parse, read_facts, schema_errors

ROOT = Path(__file__).parents[3]
# Versions that Microsoft's files lack, and the nearest that they have.
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
        {
            "type": "object",
            "required": ["system_metadata"],
            "propertyNames": {"enum": _MODEL_PROPERTIES},
        },
    ),
    "batch-auth-mode": ("/properties/authMode", {"const": "aadToken"}),
    # Where Azure ML's own server says that it is well; the OpenAPI wants a letter in each path.
    "liveness-path": ("/inferenceConfig/livenessRoute/path", {"const": "/"}),
    "readiness-path": ("/inferenceConfig/readinessRoute/path", {"const": "/"}),
}


# What nodes of pipelines have as jobs have it, but in the words of YAML.
_OF_NODES = {"distribution": "DistributionConfiguration", "resources": "JobResourceConfiguration"}


@dataclass(frozen=True)
class Operation:
    """One method of one path, with the facts for its requests and answers."""

    template: str
    method: str
    api_version: str
    described_by: str
    facts: Mapping[str, Any]
    values: Mapping[str, str]

    @property
    def file(self) -> str:
        """The name of the OpenAPI file that describes the operation, without its ending."""
        return str(self.facts["file"])

    def __str__(self) -> str:
        short = self.template.partition("/providers/Microsoft.MachineLearningServices")[2]
        return f"{self.file}.json {self.api_version} {self.method.upper()} {short}"


@dataclass(frozen=True)
class Contract:
    """The operations of a file of facts, and the checks of their requests and answers."""

    path: Path = FACTS

    def operation(self, method: str, path: str, api_version: str) -> Operation | None:
        """Return the operation that a request means; None if the contract lacks it."""
        described_by = STAND_INS.get(api_version, api_version)
        for template, pattern, methods in _read_paths(self.path):
            match = pattern.fullmatch(path)
            facts = fact_of(methods.get(method.lower(), []), described_by)
            if match and facts is not None:
                values = match.groupdict()
                return Operation(template, method.lower(), api_version, described_by, facts, values)
        return None

    def request_problems(
        self, operation: Operation, query: Mapping[str, str], body: Any
    ) -> list[str]:
        """Each way in which a request breaks its description; empty if it keeps it."""
        facts = operation.facts
        known = facts.get("query", {})
        named = {"api-version", *known}
        problems = [f"query {name}: it is not known" for name in query if name not in named]
        for name in facts.get("path", []):
            parameter = fact_of(read_facts(self.path)["parameters"][name], operation.described_by)
            problems += _parameter_problems("path", name, parameter, operation.values[name])
        for name, parameter in known.items():
            if name in query:
                problems += _parameter_problems("query", name, parameter, query[name])
            elif parse(parameter).is_required:
                problems.append(f"query {name}: it is missing")
        if "body" in facts and (body is not None or parse(facts["body"]).is_required):
            problems += self._problems("request", operation, facts["body"], body)
        for place in (("properties",), ("properties", "action", "jobDefinition")):
            problems += self._node_problems(operation, _object_at(body, *place))
        return [f"{operation}: {problem}" for problem in problems]

    def _node_problems(self, operation: Operation, job: Mapping[str, Any]) -> Iterator[str]:
        """Of the nodes of a pipeline, which may be anything there, what is described elsewhere."""
        if job.get("jobType") != "Pipeline":
            return
        for name in _object_at(job, "jobs"):
            for key, definition in _OF_NODES.items():
                given = _object_at(job, "jobs", name).get(key)
                if given is not None:
                    found = self._problems(
                        "request", operation, f"#{definition}", _in_camel_case(given)
                    )
                    yield from (f"jobs.{name}.{key}: {problem}" for problem in found)

    def answer_problems(self, operation: Operation, status: int, body: Any) -> list[str]:
        """Each way in which an answer breaks its description; empty if it keeps it."""
        responses = operation.facts["responses"]
        if str(status) not in responses and status < 400:
            return [f"{operation}: status {status} is not described"]
        schema = responses.get(str(status), responses.get("default"))
        if schema is None:
            return [f"{operation}: an answer {status} has no body"] if body is not None else []
        problems = self._problems("answer", operation, schema, body)
        return [f"{operation}: {problem}" for problem in problems]

    def _problems(self, kind: str, operation: Operation, schema: Any, value: Any) -> list[str]:
        found = schema_errors(
            self.path, operation.described_by, kind, operation.file, schema, value
        )
        return [
            f"body{_place(error)}: {error.message[:300]}"
            for error in found
            if not _is_allowed(error)
        ]


def _object_at(body: Any, *keys: str) -> Mapping[str, Any]:
    """Return the object at a place of a body; an empty one if there is none."""
    for key in keys:
        body = body.get(key) if isinstance(body, dict) else None
    return body if isinstance(body, dict) else {}


def _in_camel_case(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), key): node[key] for key in node}


def _place(error: ValidationError) -> str:
    return "".join(f"/{part}" for part in error.absolute_path)


def _is_allowed(error: ValidationError) -> bool:
    found = re.sub(r"/\d+$", "/*", _place(error))
    return any(
        found.endswith(place) and Draft202012Validator(schema).is_valid(error.instance)
        for place, schema in DEVIATIONS.values()
    )


def _parameter_problems(place: str, name: str, parameter: Any, text: str) -> list[str]:
    schema = parse(parameter)
    kind, facts, problem = schema.notation["type"], schema.more, ""
    if kind == "integer" and not re.fullmatch(r"-?\d+", text):
        problem = "is no integer"
    elif kind == "boolean" and text.lower() not in ("true", "false"):
        problem = "is no boolean"
    elif "pattern" in facts and not re.search(facts["pattern"], text):
        problem = f"does not match {facts['pattern']}"
    elif "enum" in facts and text not in facts["enum"]:
        problem = f"is none of {facts['enum']}"
    return [f"{place} {name}: {text!r} {problem}"] if problem else []


@cache
def _read_paths(path: Path) -> list[tuple[str, re.Pattern[str], Any]]:
    found = []
    for template, methods in read_facts(path)["paths"].items():
        pieces = re.split(r"\{(\w+)\}", template)
        literals, names = pieces[::2], [*pieces[1::2], ""]
        pattern = "".join(
            re.escape(literal) + (f"(?P<{name}>[^/]+)" if name else "")
            for literal, name in zip(literals, names, strict=True)
        )
        found.append((template, re.compile(pattern, re.I), methods))
    # `/jobs/{id}/cancel` before a template that would take "cancel" for a name.
    return sorted(found, key=lambda entry: entry[0].count("{"))
