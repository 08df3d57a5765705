"""TOML documents as frozen dataclasses, read strictly: what is misspelt is named, not ignored."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from tfhub_blocks.records.base.errors import BlocksError

T = TypeVar("T")

VERSION_KEY = "format_version"
NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    date: "a date, as 2027-12-31 without quotes",
}


def read_document(path: Path, kind: type[T], version: int) -> T:
    """A document as the dataclass that describes it, every key and type checked.

    A field without a default is required. Types: str, int, float, bool, date, Literal, tuples of
    fixed or any length, Mapping[str, ...], dataclasses, any of these or None, and Any for what
    somebody else will read.

    Args:
        path: The TOML file; its key ``format_version`` says which version it was written for.
        kind: The dataclass.
        version: The newest format version that this code reads.

    Raises:
        BlocksError: It is no TOML, of a newer version, or a key is missing, unknown or mistyped.
    """
    where = str(path)
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BlocksError(
            where, "file", f"it cannot be read ({error})", "a TOML document", "mend or replace it"
        ) from error
    found = record.pop(VERSION_KEY, None)
    if type(found) is not int or not 1 <= found <= version:
        newer = type(found) is int and found > version
        raise BlocksError(
            where,
            VERSION_KEY,
            "it is missing" if found is None else f"it is {found!r}",
            f"a version from 1 to {version}",
            "update tfhub-blocks, which is older than this file" if newer else "state the version",
        )
    return read_record(record, kind, where)


def read_record(record: Mapping[str, Any], kind: type[T], where: str, key: str = "") -> T:
    """A parsed document as the dataclass that describes it, as ``read_document`` checks it.

    Args:
        record: The document, or one table of it.
        kind: The dataclass.
        where: The file, for the error.
        key: The table's own key, for the error.

    Raises:
        BlocksError: A key is missing, unknown or mistyped.
    """
    result: T = _value(dict(record), kind, where, key)
    return result


def write_document(path: Path, document: Any, version: int) -> None:
    """Write a dataclass as the TOML that ``read_document`` reads; what is None is left out."""
    path.write_text(tomli_w.dumps({VERSION_KEY: version} | as_record(document)), encoding="utf-8")


def as_record(document: Any) -> dict[str, Any]:
    """The table that ``read_record`` reads as the same dataclass."""
    return asdict(document, dict_factory=_without_none)


def _without_none(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None}


def _value(value: Any, kind: Any, where: str, key: str) -> Any:
    """The value as its declared type, or a BlocksError that names its key."""
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
    types = {field.name: hints[field.name] for field in fields(kind)}
    prefix = f"{key}." if key else ""
    for name in record:
        if name not in types:
            near = get_close_matches(name, types, 1)
            raise BlocksError(
                where,
                prefix + name,
                "this key is unknown",
                repr(prefix + near[0]) if near else "one of " + ", ".join(types),
                "correct its spelling, or remove it",
            )
    for field in fields(kind):
        if field.name not in record and field.default is field.default_factory is MISSING:
            expected = NAMES.get(types[field.name], "a value")
            raise BlocksError(where, prefix + field.name, "this key is missing", expected, "add it")
    return kind(
        **{name: _value(v, types[name], where, prefix + name) for name, v in record.items()}
    )


def _mistyped(
    where: str, key: str, value: Any, expected: str, near: list[str] | None = None
) -> BlocksError:
    remedy = f"did you mean {near[0]!r}?" if near else "correct it"
    return BlocksError(where, key, f"it is {value!r}", expected, remedy)
