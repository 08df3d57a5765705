"""The schemas of contract.json, converted to JSON Schema.

A schema in contract.json is a short notation, or an object whose ``type`` is such a notation:

    string            a type; ``integer:int32`` has a format, ``any`` has no type
    #Name             a definition of the same OpenAPI file; ``types-v3#Name`` of another
    [string]          an array of these
    {string}          an object with these values under any name
    string?           may be null
    string~           read-only: a request need not contain it
    string!           required in its object, or as a parameter

``choices`` names the definition for each value of the property ``discriminator``. Facts that differ
between api-versions are a list, and each item names its ``versions``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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

FACTS = Path(__file__).with_name("contract.json")
_NOTATION = re.compile(
    r"(?:\[(?P<items>.+)\]|\{(?P<values>.+)\}|(?P<file>[\w-]*)#(?P<name>[^?~!]+)"
    r"|(?P<type>\w+)(?::(?P<format>[\w-]+))?)(?P<flags>[?~!]*)"
)
_SCHEME = "facts"


@dataclass(frozen=True)
class Schema:
    """A parsed schema; ``more`` contains the keys of its object other than ``type``."""

    notation: Mapping[str, str]
    flags: str
    more: Mapping[str, Any]

    @property
    def may_be_null(self) -> bool:
        return "?" in self.flags

    @property
    def is_read_only(self) -> bool:
        return "~" in self.flags

    @property
    def is_required(self) -> bool:
        return "!" in self.flags

    def reference(self, file: str) -> tuple[str, str] | None:
        """Return the file and name of the definition that a reference names; None for others."""
        name = self.notation["name"]
        return (self.notation["file"] or file, name) if name else None


@cache
def _taken_apart(text: str) -> tuple[Mapping[str, str], str]:
    match = _NOTATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no notation of a schema")
    return match.groupdict(), match["flags"]


def parse(node: str | Mapping[str, Any]) -> Schema:
    """Parse a schema of contract.json.

    Raises:
        ValueError: The text is not a notation.
    """
    text, more = (node, {}) if isinstance(node, str) else (node["type"], node)
    return Schema(*_taken_apart(text), {k: v for k, v in more.items() if k != "type"})


@cache
def read_facts(path: Path = FACTS) -> Any:
    """Return the content of a file of facts."""
    return json.loads(path.read_text(encoding="utf-8"))


def fact_of(found: Any, version: str) -> Any:
    """Return the facts of an api-version; None if there are none for that version."""
    if not isinstance(found, list):
        return found
    return next((facts for facts in found if version in facts["versions"]), None)


def schema_errors(
    path: Path, version: str, kind: str, file: str, schema: Any, value: Any
) -> Iterator[ValidationError]:
    """Yield each error of a value against a schema of an OpenAPI file."""
    converter = _Converter(path, version, kind)
    validator = Draft202012Validator(
        converter.convert(schema, file), registry=converter.registry, format_checker=_FORMATS
    )
    return _leaves(validator.iter_errors(value))


def _leaves(errors: Any) -> Iterator[ValidationError]:
    """Yield the errors inside an alternative that failed, and other errors themselves."""
    for error in errors:
        if error.context and error.validator == "anyOf":
            # The other alternative is null.
            yield from _leaves(e for e in error.context if e.schema_path[0] == 0)
        elif error.context:
            yield from _leaves(sorted(error.context, key=relevance))
        else:
            yield error


@dataclass(frozen=True)
class _Converter:
    """Converts facts to JSON Schema, a definition when a reference to it is first resolved.

    ``allOf`` is folded into one object, so that ``additionalProperties: false`` sees all
    properties; a discriminator becomes a choice by its value. In requests, read-only properties
    are never required.
    """

    path: Path
    version: str
    kind: str

    @cached_property
    def registry(self) -> Any:
        return Registry(retrieve=self._retrieve)

    def _retrieve(self, uri: str) -> Any:
        return _resource(self, uri)

    def uri(self, file: str, name: str) -> str:
        return f"{_SCHEME}:{file}/{name}"

    def definition(self, file: str, name: str) -> Any:
        """Return the facts of a definition.

        Raises:
            KeyError: The contract lacks it.
        """
        found = fact_of(read_facts(self.path)["definitions"].get(f"{file}#{name}"), self.version)
        if found is None:
            raise KeyError(f"{file}#{name} of {self.version}")
        return found

    def convert(self, node: Any, file: str) -> dict[str, Any]:
        """Convert a schema of a file; references stay references."""
        schema = parse(node)
        made = self.convert_parsed(schema, file)
        return {"anyOf": [made, {"type": "null"}]} if schema.may_be_null else made

    def convert_parsed(self, schema: Schema, file: str) -> dict[str, Any]:
        """Convert a schema without the null that its flags may allow."""
        if target := schema.reference(file):
            return {"$ref": self.uri(*target)}
        structure = ("allOf", "properties", "items", "additionalProperties", "required")
        dropped = (*structure, "discriminator", "choices", "versions")
        made = {key: value for key, value in schema.more.items() if key not in dropped}
        notation = schema.notation
        if notation["items"]:
            made |= {"type": "array", "items": self.convert(notation["items"], file)}
        elif notation["values"]:
            values = self.convert(notation["values"], file)
            made |= {"type": "object", "additionalProperties": values}
        elif notation["type"] != "any":
            made["type"] = notation["type"]
        if notation["format"]:
            made["format"] = notation["format"]
        properties, required = self._fold(schema, file)
        if "allOf" in schema.more or "properties" in schema.more:
            made["properties"] = {
                name: self.convert(node, where) for name, (node, where) in properties.items()
            }
        if self.kind == "request":
            required -= {name for name, (node, _) in properties.items() if parse(node).is_read_only}
        if required:
            made["required"] = sorted(required)
        for key in ("items", "additionalProperties"):
            if key in schema.more:
                inner = schema.more[key]
                made[key] = inner if isinstance(inner, bool) else self.convert(inner, file)
        return made

    def _fold(self, schema: Schema, file: str) -> tuple[dict[str, tuple[Any, str]], set[str]]:
        """Return the properties and required names of an object and of all its ancestors."""
        properties: dict[str, tuple[Any, str]] = {}
        required = set(schema.more.get("required", []))
        for node in schema.more.get("allOf", []):
            parent, where = parse(node), file
            if target := parent.reference(file):
                parent, where = parse(self.definition(*target)), target[0]
            inherited, wanted = self._fold(parent, where)
            properties |= inherited
            required |= wanted
        own = schema.more.get("properties", {})
        required |= {name for name, node in own.items() if parse(node).is_required}
        return properties | {name: (node, file) for name, node in own.items()}, required


@cache
def _resource(converter: _Converter, uri: str) -> Any:
    file, _, name = uri.removeprefix(f"{_SCHEME}:").partition("/")
    facts = converter.definition(file, name)
    made = converter.convert_parsed(parse(facts), file)
    if "choices" in facts:
        key, choices = facts["discriminator"], facts["choices"]
        made = {
            "type": "object",
            "required": [key],
            "properties": {key: {"enum": list(choices)}},
            "allOf": [
                {
                    "if": {"properties": {key: {"const": value}}, "required": [key]},
                    "then": converter.convert(child, file),
                }
                for value, child in choices.items()
            ],
        }
    return Resource(contents=made, specification=DRAFT202012)


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
