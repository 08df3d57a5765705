"""TOML documents as frozen dataclasses. A misspelt key is an error, and the error names it."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from tfhub_blocks.records.base.errors import BlocksError

T = TypeVar("T")

VERSION_KEY = "format_version"
# The metadata of a field that the document does not contain: the code that reads it sets the field.
SET_BY_READER: Mapping[str, Any] = {"set_by_reader": True}
NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    date: "a date, as 2027-12-31 without quotes",
}


def read_document(path: Path, kind: type[T], version: int) -> T:
    """Read a document as the dataclass that describes it. Every key and type is checked.

    A field without a default is required. Types: str, int, float, bool, date, Literal, tuples of
    fixed or any length, Mapping[str, ...], dataclasses, any of these or None, and Any for values
    that other code reads.

    Args:
        path: The TOML file. Its key ``format_version`` states the version that it was written for.
        kind: The dataclass.
        version: The newest format version that this code reads.

    Raises:
        BlocksError: The file is not TOML or of a newer version, or a key is missing, unknown or
            mistyped.
    """
    where = str(path)
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BlocksError(
            where,
            "file",
            f"{path.name} cannot be read ({error})",
            "a TOML document",
            f"Check that {path} exists and that you may read it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise BlocksError(
            where,
            "file",
            f"{path.name} is not a TOML document ({error})",
            "",
            "Fix the syntax, or restore the file from git",
        ) from error
    found = record.pop(VERSION_KEY, None)
    if type(found) is not int or not 1 <= found <= version:
        newer = type(found) is int and found > version
        raise BlocksError(
            where,
            VERSION_KEY,
            f"{VERSION_KEY} is {'missing' if found is None else repr(found)}",
            f"a version from 1 to {version}",
            "Update tfhub-blocks, which is older than this file"
            if newer
            else f"Set {VERSION_KEY} = {version} in {path.name}",
        )
    return read_record(record, kind, where)


def document_fields(kind: Any) -> tuple[Field[Any], ...]:
    """Return the fields of a dataclass that are keys of its document."""
    return tuple(it for it in fields(kind) if not it.metadata.get("set_by_reader"))


def read_record(record: Mapping[str, Any], kind: type[T], where: str, key: str = "") -> T:
    """Convert a parsed document to its dataclass, with the same checks as ``read_document``.

    Args:
        record: The document, or one of its tables.
        kind: The dataclass.
        where: The file, for errors.
        key: The key of the table, for errors.

    Raises:
        BlocksError: A key is missing, unknown or mistyped.
    """
    result: T = _value(dict(record), kind, where, key)
    return result


def write_document(path: Path, document: Any, version: int) -> None:
    """Write a dataclass as TOML for ``read_document``. Fields that are None are left out."""
    path.write_text(tomli_w.dumps({VERSION_KEY: version} | as_record(document)), encoding="utf-8")


def as_record(document: Any) -> dict[str, Any]:
    """Return a dataclass as the table from which ``read_record`` reads it."""
    return asdict(document, dict_factory=_without_none)


def _without_none(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None}


def _value(value: Any, kind: Any, where: str, key: str) -> Any:
    """Convert a value to its declared type; an error names the key."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return _value(value, inner, where, key)
    if origin is Literal:
        if value not in arguments:
            near = get_close_matches(str(value), arguments, 1)
            raise _mistyped(where, key, value, "one of " + ", ".join(arguments), near)
        return value
    if origin is tuple:
        if type(value) is not list:
            raise _mistyped(where, key, value, "a list")
        if arguments[1:] == (...,):
            arguments = arguments[:1] * len(value)
        if len(value) != len(arguments):
            raise _mistyped(where, key, value, f"a list of {len(arguments)} values")
        return tuple(_value(v, a, where, key) for v, a in zip(value, arguments, strict=True))
    if origin is not None or is_dataclass(kind):
        if type(value) is not dict:
            raise _mistyped(where, key, value, "a table")
        if is_dataclass(kind):
            return _table(value, kind, where, key)
        return {name: _value(v, arguments[1], where, f"{key}.{name}") for name, v in value.items()}
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise _mistyped(where, key, value, NAMES[kind])


def _table(record: Mapping[str, Any], kind: Any, where: str, key: str) -> Any:
    hints = get_type_hints(kind)
    types = {field.name: hints[field.name] for field in document_fields(kind)}
    prefix = f"{key}." if key else ""
    for name in record:
        if name not in types:
            near = get_close_matches(name, types, 1)
            raise BlocksError(
                where,
                prefix + name,
                f"key {prefix + name!r} is unknown",
                "" if near else "one of " + ", ".join(types),
                f"Did you mean {prefix + near[0]!r}?" if near else f"Remove the key from {where}",
            )
    for field in document_fields(kind):
        if field.name not in record and field.default is field.default_factory is MISSING:
            name = prefix + field.name
            expected = NAMES.get(types[field.name], "a value")
            problem, remedy = f"key {name!r} is missing", f"Add {name} to {where}"
            raise BlocksError(where, name, problem, expected, remedy)
    return kind(
        **{name: _value(v, types[name], where, prefix + name) for name, v in record.items()}
    )


def _mistyped(
    where: str, key: str, value: Any, expected: str, near: list[str] | None = None
) -> BlocksError:
    remedy = f"Did you mean {near[0]!r}?" if near else f"Edit {key} in {where}"
    return BlocksError(where, key, f"{key} is {value!r}", expected, remedy)
