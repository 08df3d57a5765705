"""Pipelines and steps by name, and the settings of a pipeline on the command line."""

# decision 70

import ast
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.control.repository.loaded_files import load_file
from tfhub_blocks.control.repository.pipeline_functions import pipeline_functions
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.foreign_text import is_utf_8
from tfhub_blocks.records.base.project_folders import package_folder, project_folder
from tfhub_blocks.records.base.redaction import has_secret

MODEL_TYPES = {"mlflow_model", "custom_model", "triton_model"}
DATA_TYPES = {"uri_folder", "uri_file", "mltable"} | MODEL_TYPES
# Data on Azure: an asset, a path in a datastore, or an address.
REMOTE_PREFIXES = ("azureml:", "https://", "wasbs://", "abfss://")


@dataclass(frozen=True)
class SourceFile:
    """The file of a pipeline or a step, found but not imported."""

    name: str
    path: Path

    @property
    def summary(self) -> str:
        """The first line of the file's docstring, without a leading name."""
        try:
            source = self.path.read_text(encoding="utf-8")
            text = ast.get_docstring(ast.parse(source, self.path.name)) or ""
        except (SyntaxError, ValueError) as error:
            return f"(unreadable: {error})"
        return text.partition("\n")[0].removeprefix(f"{self.name}: ")


def pipeline_files() -> dict[str, SourceFile]:
    """Return each pipeline by name. A project's pipeline hides an installed one of that name.

    The name is that of the function, as Python calls it: the function with the name of its file,
    or else each ``@dsl.pipeline`` function of the file.
    """
    found: dict[str, SourceFile] = {}
    for folder in _folders("pipelines"):
        paths = [*sorted(folder.glob("[!_]*.py")), *sorted(folder.glob("[!_]*/__init__.py"))]
        named = {path: pipeline_functions(path) for path in paths}
        own = [(name, path) for path, names in named.items() for name in names]
        # A function in the file of its name comes last, and so wins.
        of_names = dict(sorted(own, key=lambda it: it[0] == _stem(it[1])))
        for name, path in sorted(of_names.items()):
            found[name] = SourceFile(name, path)
    return found


def _stem(path: Path) -> str:
    """Return the name of a module: of its file, or of the folder of a package."""
    return path.parent.name if path.name == "__init__.py" else path.stem


def component_files() -> dict[str, SourceFile]:
    """Return each step by name. A project's step hides an installed one of that name."""
    folders = _folders("components")
    patterns = ("*/component.py", "operations/*/component.py")
    paths = [it for folder in folders for pattern in patterns for it in folder.glob(pattern)]
    found = {path.parent.name: SourceFile(path.parent.name, path) for path in paths}
    return dict(sorted(found.items()))


def _folders(kind: str) -> list[Path]:
    return [installed_folder(kind), project_folder() / kind]


def installed_folder(kind: str) -> Path:
    """Return the folder of ``components`` or ``pipelines`` that is installed with tfhub-blocks."""
    # In a checkout it is a link to the folder at the top.
    return (package_folder() / kind).resolve()


def find_pipeline(name: str) -> SourceFile:
    """Return the file of the named pipeline.

    Raises:
        BlocksError: The pipeline does not exist.
    """
    known = pipeline_files()
    if name not in known:
        raise BlocksError(
            "pipelines",
            name,
            f"pipeline {name!r} does not exist",
            "one of " + ", ".join(known),
            nearest(name, known) or "Run `tfhub-blocks list` to see all pipelines",
        )
    return known[name]


def find_pipeline_or_step(name: str) -> SourceFile:
    """Return the file of the named pipeline, or else of the named step.

    Raises:
        BlocksError: Neither a pipeline nor a step has the name.
    """
    known = component_files() | pipeline_files()
    if name not in known:
        raise BlocksError(
            "show",
            name,
            f"no pipeline and no step is called {name!r}",
            "one of " + ", ".join(known),
            nearest(name, known) or "Run `tfhub-blocks list` to see all names",
        )
    return known[name]


def load_pipeline(name: str) -> Any:
    """Return the ``@dsl.pipeline`` function of the named pipeline.

    Raises:
        BlocksError: The pipeline does not exist, its file cannot be imported, or the file does not
            define the function.
    """
    path = find_pipeline(name).path
    function = getattr(load_file(module_name(path), path), name, None)
    if not getattr(function, "_is_dsl_func", False):
        raise BlocksError(
            "pipelines",
            str(path),
            f"the file defines no @dsl.pipeline function {name!r}",
            "a function with the name of its file",
            f"Rename the pipeline function to {name}",
        )
    return function


def module_name(path: Path) -> str:
    """Return the name under which the file of a pipeline is imported.

    A project's own pipeline keeps the name that its neighbours import it by, ``pipelines.NAME``.
    """
    shipped = path.parent.resolve() == installed_folder("pipelines")
    return f"tfhub_blocks.pipelines.{_stem(path)}" if shipped else f"pipelines.{_stem(path)}"


# Inputs whose values add up if they are passed several times.
ADDING = ("facts",)


def split_word(where: str, option: str, word: str) -> tuple[str, str]:
    """Return the two sides of a ``NAME=VALUE`` word.

    Raises:
        BlocksError: The word has another form, or its value contains a credential.
    """
    name, _, value = word.partition("=")
    if not name or not value:
        side = "value" if name else "name"
        remedy = f"Write {option} {name or 'NAME'}={value or 'VALUE'}"
        raise BlocksError(where, f"{option} {word}", f"{word!r} has no {side}", "", remedy)
    if has_secret(value):
        raise BlocksError(
            where,
            f"{option} {name}",
            f"the value of {name} contains a credential, which records would keep",
            "a value without a password, a key or a signature",
            f"Pass {option} {name}=VALUE without it, and the credential in an environment variable"
            " or a Key Vault",
        )
    return name, value


def split_words(where: str, option: str, words: Iterable[str]) -> dict[str, str]:
    """Return the values of ``NAME=VALUE`` words by their names.

    Raises:
        BlocksError: A word has another form, its value contains a credential, or a name has two
            values.
    """
    values: dict[str, str] = {}
    for word in words:
        name, value = split_word(where, option, word)
        _check_once(where, option, name, values.get(name, value), value)
        values[name] = value
    return values


def _check_once(where: str, option: str, name: str, before: str, value: str) -> None:
    if before != value:
        problem = f"{option} passes {name} twice, as {before!r} and as {value!r}"
        remedy = f"Pass {option} {name}=VALUE once"
        raise BlocksError(where, f"{option} {name}", problem, "one value", remedy)


def parse_settings(
    settings: Iterable[str],
    ports: Mapping[str, Any],
    defaults: Mapping[str, Any],
    pipeline: str,
    remote: bool = False,
    whole: bool = True,
) -> dict[str, Any]:
    """Return the inputs of a pipeline from ``NAME=VALUE`` words, each converted to its port's type.

    Data inputs are checked for existence and returned as absolute paths.

    Args:
        settings: The words; later words override earlier ones.
        ports: The pipeline's declared inputs by name.
        defaults: The profile's values for inputs of these names.
        pipeline: The pipeline's name, for messages.
        remote: True if data inputs may also be on Azure, such as ``azureml:NAME:VERSION``; these
            are returned unchanged.
        whole: True if each input without a default is required; otherwise missing inputs are absent
            from the result.

    Raises:
        BlocksError: A name is unknown, a value does not fit its port, or an input is missing.
    """
    given = {name: value for name, value in defaults.items() if name in ports}
    passed: dict[str, str] = {}
    for word in settings:
        name, equals, text = word.partition("=")
        if not equals or name not in ports:
            raise BlocksError(
                pipeline,
                f"--set {word}",
                f"pipeline {pipeline} has no input {name!r}" if equals else f"{word!r} has no '='",
                "NAME=VALUE with NAME one of " + ", ".join(ports),
                (equals and nearest(name, ports))
                or f"Run `tfhub-blocks show {pipeline}` to see the inputs",
            )
        if name in ADDING and name in passed:
            text = passed[name] = f"{passed[name]},{text}"
        _check_once(pipeline, "--set", name, passed.get(name, text), text)
        given[name] = passed[name] = text
    missing = [
        name
        for name, port in ports.items()
        if whole and name not in given and not port.optional and port.default is None
    ]
    if missing:
        raise BlocksError(
            pipeline,
            ", ".join(missing),
            f"{', '.join(missing)} has no value and no default"
            if len(missing) == 1
            else f"{', '.join(missing)} have no values and no defaults",
            "",
            "Add " + " ".join(f"--set {name}=VALUE" for name in missing),
        )
    return {
        name: _typed(pipeline, name, ports[name], value, remote) for name, value in given.items()
    }


def _typed(pipeline: str, name: str, port: Any, value: Any, remote: bool) -> Any:
    def refuse(problem: str, expected: str) -> BlocksError:
        return BlocksError(pipeline, name, problem, expected, f"Pass --set {name}=VALUE")

    text = str(value)
    if port.type == "unknown":  # an input without a type that feeds no step
        return Path(text).absolute() if Path(text).exists() else text
    if has_secret(text):
        raise BlocksError(
            pipeline,
            name,
            f"the value of {name} contains a credential, which records and logs would keep",
            "a value without a password, a key or a signature",
            f"Pass --set {name}=VALUE without it, and the credential in an environment variable or"
            " a Key Vault, or pass the data as an asset, such as azureml:NAME:VERSION",
        )
    if "\0" in text or not is_utf_8(text):
        raise refuse(
            f"{text!r} contains a byte that is no text", "a value that a command line can contain"
        )
    if remote and port.type in DATA_TYPES and text.startswith(REMOTE_PREFIXES):
        if "@" in text:
            raise refuse(f"{text!r} can mean another version later", "an exact version")
        if "?" in text:
            problem = "the address contains a query, and a key in it would be stored with the job"
            raise refuse(problem, "an address without a query")
        return text
    if port.type in DATA_TYPES:
        try:
            path = Path(text).expanduser().absolute()
        except RuntimeError as error:
            raise refuse(f"path {text!r} is invalid ({error})", "a path") from error
        wanted = "a file" if port.type == "uri_file" else "a folder"
        if not (path.is_file() if port.type == "uri_file" else path.is_dir()):
            problem = f"{path} {f'is not {wanted}' if path.exists() else 'does not exist'}"
            raise refuse(problem, "" if path.exists() else wanted)
        return path
    try:
        typed = _CONVERT[port.type](text)
    except (KeyError, ValueError) as error:
        problem = f"{text!r} is not of type {port.type}"
        raise refuse(problem, _TYPES.get(port.type, "")) from error
    if isinstance(typed, float) and not math.isfinite(typed):
        raise refuse(f"{name} is {typed}", "a finite number")
    if port.enum and typed not in port.enum:
        raise refuse(f"{name} is {typed!r}", "one of " + ", ".join(map(str, port.enum)))
    if port.min is not None and not typed >= port.min:
        raise refuse(f"{name} is {typed}", f"at least {port.min}")
    if port.max is not None and not typed <= port.max:
        raise refuse(f"{name} is {typed}", f"at most {port.max}")
    if typed == "":
        raise refuse(f"{name} is empty", "a text that is not empty")
    return typed


_TYPES = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
_CONVERT: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": lambda text: {"true": True, "1": True, "false": False, "0": False}[text.lower()],
}
