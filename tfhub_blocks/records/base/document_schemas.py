"""JSON Schemas of TOML documents, from the dataclasses that ``read_document`` reads them into."""

# decision 124

import re
from dataclasses import MISSING, Field, is_dataclass
from datetime import date
from inspect import cleandoc
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tfhub_blocks.records.base.documents import VERSION_KEY, document_fields

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    # Validators read a TOML date as its text.
    date: {"type": "string", "format": "date"},
}
_SENTENCES = re.compile(r"(?<=\.)\s+")


def document_schema(kind: Any, version: int, title: str) -> dict[str, Any]:
    """Return the JSON Schema of a document.

    The schema refuses each key that ``read_document`` refuses, each missing key and each type. A
    value that has the right type may still be refused by the code that uses the document. The
    descriptions of tables and keys come from the docstrings of the dataclasses.

    Args:
        kind: The dataclass of the document.
        version: The newest format version that the code reads.
        title: The name of the kind of document, for editors.
    """
    tables: dict[str, dict[str, Any]] = {}
    schema = _table(kind, tables)
    number = {"type": "integer", "minimum": 1, "maximum": version}
    described = number | {"description": "The format version that the file was written for."}
    return {
        "$schema": DIALECT,
        "title": title,
        **schema,
        "properties": {VERSION_KEY: described, **schema["properties"]},
        "required": [VERSION_KEY, *schema["required"]],
        "$defs": tables,
    }


def _table(kind: Any, tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    docstring = cleandoc(kind.__doc__ or "").partition("Example::")[0]
    paragraphs = [" ".join(text.split()) for text in docstring.split("\n\n")]
    sentences = [each for text in paragraphs for each in _SENTENCES.split(text)]
    return {
        "type": "object",
        "description": " ".join(paragraphs).replace("``", "`").strip(),
        "additionalProperties": False,
        "required": [it.name for it in document_fields(kind) if _is_required(it)],
        "properties": {
            it.name: _key(it, hints[it.name], sentences, tables) for it in document_fields(kind)
        },
    }


def _key(
    it: Field[Any], kind: Any, sentences: list[str], tables: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the schema of one key, with the sentences of the docstring that name the key."""
    schema = dict(_schema(kind, tables))
    if told := [text for text in sentences if f"``{it.name}``" in text]:
        schema["description"] = " ".join(told).replace("``", "`")
    if isinstance(it.default, str | int | float | bool) and it.default != "":
        schema["default"] = it.default
    return schema


def _is_required(it: Field[Any]) -> bool:
    return it.default is it.default_factory is MISSING


def _schema(kind: Any, tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if origin in (Union, UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return _schema(inner, tables)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": _schema(arguments[0], tables)}
    if origin is tuple:
        count = len(arguments)
        parts = [_schema(argument, tables) for argument in arguments]
        return {"type": "array", "prefixItems": parts, "minItems": count, "maxItems": count}
    if origin is not None:
        return {"type": "object", "additionalProperties": _schema(arguments[1], tables)}
    if isinstance(kind, type) and is_dataclass(kind):
        name = kind.__name__
        if name not in tables:
            tables[name] = {}  # a table that contains itself refers to its own entry
            tables[name] = _table(kind, tables)
        return {"$ref": f"#/$defs/{name}"}
    return _TYPES[kind]
