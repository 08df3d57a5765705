"""Write the reference pages from the code: ``make reference`` writes ``docs/reference/``.

A page that nobody has to edit cannot be wrong about a port, an option, a name or an error. The test
tests/test_reference.py compares the pages with the code.
"""

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

import tfhub_blocks
from tfhub_blocks import components
from tfhub_blocks.cli import command_parser
from tfhub_blocks.commands.schemas import KINDS, schema_of, schema_text
from tfhub_blocks.control.local.run_display import mermaid
from tfhub_blocks.control.project.run_requests import draft_graph, pipeline_ports
from tfhub_blocks.control.repository.catalog import component_files, pipeline_files
from tfhub_blocks.records.base.folders import Format
from tfhub_blocks.records.base.port_texts import port_limits

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
DECISIONS = ROOT / "docs" / "decisions"
PACKAGE = ROOT / "tfhub_blocks"
# The schemas of TOML files, which are installed with the package.
SCHEMAS = PACKAGE / "schemas"
# What a reader finds where, in the order of the index.
PAGES: dict[str, tuple[str, str, Callable[[], Iterator[str]]]] = {}

Page = Callable[[], Iterator[str]]


def page(title: str, summary: str) -> Callable[[Page], Page]:
    """Register a function that yields the lines of a page of its name."""

    def register(function: Page) -> Page:
        PAGES[f"{function.__name__}.md"] = (title, summary, function)
        return function

    return register


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    written = {}
    index = ["# Reference", "", "`make reference` writes all pages in this folder from the code."]
    index += ["", "| page | content |", "|---|---|"]
    for name, (title, summary, lines) in PAGES.items():
        text = "\n".join([f"# {title}", "", *lines()])
        written[name] = re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"
        index.append(f"| [{title}]({name}) | {summary} |")
    return {"README.md": "\n".join(index) + "\n", **written}


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    names, cells = list(header), [list(row) for row in rows]
    if not cells:
        return
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in cells:
        yield f"| {' | '.join(_cell(value) for value in row)} |"
    yield ""


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", r"\|").split())


@page("Steps", "each step: ports, limits, defaults, role, environment, an example call")
def steps() -> Iterator[str]:
    """Yield the page of the steps."""
    summaries = {name: component_files()[name].summary for name in _installed_steps()}
    yield "`tfhub-blocks show NAME` prints the same for one step. A data input takes the output of"
    yield "another step; a parameter takes a value."
    yield ""
    yield from table(
        ("step", "purpose"),
        ((f"[`{name}`](#{name})", summary) for name, summary in summaries.items()),
    )
    for name in summaries:
        yield from _step(name, getattr(components, name))


def _installed_steps() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "components").rglob("component.py"))


def _step(name: str, component: Any) -> Iterator[str]:
    environment = str(component.environment).removeprefix("azureml:").partition(":")[0]
    yield f"## {name}"
    yield ""
    yield f"{component.description}"
    yield ""
    yield f"Role `{component.tags['role']}`, environment `{environment}`, version"
    yield f"{component.version}."
    yield ""
    ports = component.inputs
    data = {key: port for key, port in ports.items() if _is_data(port)}
    yield from table(
        ("input", "type", "description"),
        ((f"`{key}`", port_limits(port), port.description) for key, port in data.items()),
    )
    if rest := {key: port for key, port in ports.items() if key not in data}:
        yield from table(
            ("parameter", "type", "description"),
            ((f"`{key}`", port_limits(port), port.description) for key, port in rest.items()),
        )
    yield from table(
        ("output", "type", "description"),
        ((f"`{key}`", port.type, port.description) for key, port in component.outputs.items()),
    )
    needed = [k for k, port in ports.items() if not port.optional and port.default is None]
    yield "```python"
    yield f"from tfhub_blocks.components import {name}"
    yield ""
    yield f"node = {name}({', '.join(f'{key}={key}' for key in needed)})"
    yield f"{', '.join(f'node.outputs.{key}' for key in component.outputs)}"
    yield "```"
    yield ""


def _is_data(port: Any) -> bool:
    return str(port.type) not in {"string", "integer", "number", "boolean"}


@page("Pipelines", "each pipeline: its inputs and its graph")
def pipelines() -> Iterator[str]:
    """Yield the page of the pipelines."""
    yield "Run a pipeline with `tfhub-blocks run NAME --set INPUT=VALUE`; `submit` takes the same"
    yield "inputs. Prefixes such as `Thresholds:` group inputs of one kind."
    yield ""
    installed = {it.name: it for it in pipeline_files().values() if it.path.is_relative_to(ROOT)}
    for name, file in sorted(installed.items()):
        yield f"## {name}"
        yield ""
        yield file.summary
        yield ""
        yield from table(
            ("input", "type", "description"),
            (
                (f"`{key}`", port_limits(port), port.description)
                for key, port in pipeline_ports(name).items()
            ),
        )
        yield "```mermaid"
        yield mermaid(draft_graph(name)).rstrip("\n")
        yield "```"
        yield ""


@page("Commands", "each command with all its options")
def commands() -> Iterator[str]:
    """Yield the page of the commands."""
    yield "`tfhub-blocks COMMAND --help` prints the same for one command. Exit status: 0 done,"
    yield "1 a step failed or a check found a fault, 2 the request was wrong, 130 interrupted."
    yield ""
    for words, parser in _commands(command_parser(), ()):
        yield f"## {' '.join(words)}"
        yield ""
        yield f"{parser.description or parser.usage_help}"
        yield ""
        yield "```text"
        yield _usage(parser)
        yield "```"
        yield ""
        yield from table(("argument", "meaning"), _arguments(parser))


def _commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    groups = [it for it in parser._actions if isinstance(it, argparse._SubParsersAction)]
    if words and (not groups or any(it.nargs != 0 for it in parser._actions if it not in groups)):
        yield words, parser
    for group in groups:
        helps = {it.dest: it.help for it in group._choices_actions}
        for name, child in group.choices.items():
            child.usage_help = helps.get(name, "")
            yield from _commands(child, (*words, name))


def _usage(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=96)
    return parser.format_usage().strip().removeprefix("usage: ")


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        if "-h" in action.option_strings or action.help == argparse.SUPPRESS:
            continue
        value = action.metavar or (
            f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper()
        )
        shown = "" if action.nargs == 0 or not action.option_strings else f" {value}"
        names = ", ".join(action.option_strings) or str(value)
        yield f"`{names}{shown}`", (action.help or "").replace("%(default)s", str(action.default))


@page("Python", "each public name: signature, arguments, errors, an example")
def python() -> Iterator[str]:
    """Yield the page of the public names."""
    yield "All names are imported from `tfhub_blocks`. [Public names](../public-names.md) groups"
    yield "them by purpose, and shows a step of one's own."
    yield ""
    for name in sorted(tfhub_blocks.__all__, key=str.casefold):
        value = getattr(tfhub_blocks, name)
        if isinstance(value, str) or inspect.ismodule(value):
            continue
        yield f"## {name}"
        yield ""
        if isinstance(value, Format):
            yield f"The format `{value}` of an output folder: pass it to"
            yield "`run.begin_output` and `open_folder`."
            yield ""
            continue
        yield "```python"
        yield _signature(name, value)
        yield "```"
        yield ""
        yield from markdown(inspect.getdoc(value) or "")
        if inspect.isclass(value):
            yield from _members(name, value)


def _signature(name: str, value: Any) -> str:
    signature = inspect.signature(value)
    given = "" if inspect.isclass(value) else f" -> {_short(signature.return_annotation)}"
    parameters = [_parameter(it) for it in signature.parameters.values()]
    line = f"{name}({', '.join(parameters)}){given}"
    if len(line) <= 96:
        return line
    return "\n".join([f"{name}(", *(f"    {it}," for it in parameters), f"){given}"])


def _parameter(it: inspect.Parameter) -> str:
    stars = {it.VAR_POSITIONAL: "*", it.VAR_KEYWORD: "**"}.get(it.kind, "")
    text = f"{stars}{it.name}"
    if it.annotation is not it.empty:
        text += f": {_short(it.annotation)}"
    if it.default is it.empty:
        return text
    default = "..." if "<" in repr(it.default) else repr(it.default)
    return f"{text} = {default}"


def _short(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b(?:\w+\.)+(?=[A-Za-z_]\w*)", "", text)
    return re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"ndarray[\1]", text)


def _members(name: str, value: type) -> Iterator[str]:
    rows = []
    for key, member in vars(value).items():
        if key.startswith("_") or not (callable(member) or isinstance(member, property)):
            continue
        text = (inspect.getdoc(member) or "").partition("\n")[0]
        rows.append((f"`{key}`" if isinstance(member, property) else f"`{key}()`", text))
    if rows:
        yield f"Members of `{name}`:"
        yield ""
        yield from table(("name", "meaning"), rows)


def markdown(docstring: str) -> Iterator[str]:
    """Yield the lines of a docstring as Markdown: sections as lists, indented blocks as code."""
    section, code = "", None
    for line in [*docstring.replace("``", "`").splitlines(), ""]:
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if code is not None and (indent >= 4 or not text):
            code.append(line[4:])
            continue
        if code is not None:
            yield from _code(code)
            code = None
        if re.fullmatch(r"(Args|Raises|Returns|Yields|Attributes):", text) and indent == 0:
            section = text
            yield from (f"**{text}**", "")
        elif re.fullmatch(r"Example:{1,2}", text) and indent == 0:
            section, code = "", []
        elif section and indent >= 8:
            yield f"  {text}"
        elif section and text:
            key, _, rest = text.partition(":")
            yield f"- `{key}`: {rest.strip()}" if rest else f"- {text}"
        elif text.endswith("::"):
            code = []
            yield text[:-1]
        elif indent >= 4 and text:
            code = [line[4:]]
        else:
            yield text
    if code is not None:
        yield from _code(code)
    yield ""


def _code(lines: list[str]) -> Iterator[str]:
    yield from ("", "```python", *"\n".join(lines).strip("\n").split("\n"), "```", "")


@page("File formats", "each output folder and statement: version, content, columns")
def formats() -> Iterator[str]:
    """Yield the page of the file formats."""
    yield "A finished folder contains `lineage.json`, which lists each of its files with their"
    yield "SHA-256. Readers accept the versions below and refuse others."
    yield ""
    for path in sorted((PACKAGE / "records" / "formats").glob("[!_]*.py")):
        module = import_module(f"tfhub_blocks.records.formats.{path.stem}")
        kinds = {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, Format) or (key == "FORMAT" and isinstance(value, str))
        }
        own = {key for key in kinds if re.search(rf"^(\w+, )*{key}\b.* = ", path.read_text(), re.M)}
        if not own:
            continue
        yield f"## {path.stem}"
        yield ""
        yield from markdown(module.__doc__ or "")
        shown = (
            value if isinstance(value, str) else f"{value}"
            for key, value in kinds.items()
            if key in own
        )
        yield f"Format: {', '.join(f'`{it}`' for it in shown)}."
        yield ""
        for key, value in vars(module).items():
            if isinstance(value, pa.Schema) and key in path.read_text():
                yield f"Columns of `{key.removesuffix('_SCHEMA').lower()}`:"
                yield ""
                yield from table(
                    ("column", "type"), ((f"`{it.name}`", f"`{it.type}`") for it in value)
                )


@page("TOML files", "each TOML file that people write: keys, types, defaults")
def toml() -> Iterator[str]:
    """Yield the page of the TOML files."""
    yield "The tables below come from the code that reads the files: a key that is missing here is"
    yield "refused. The same tables are JSON Schemas: an editor completes and checks a file while"
    yield "you write. Write a schema next to a file, and name it in the first line of the file:"
    yield ""
    yield "    tfhub-blocks schema profile > profile.schema.json"
    yield ""
    yield "```toml"
    yield "#:schema ./profile.schema.json"
    yield "```"
    yield ""
    yield "The editor extensions Tombi and Even Better TOML read this line. `check-jsonschema"
    yield "--schemafile profile.schema.json FILE` checks a file in CI. A schema checks keys and"
    yield "types; tfhub-blocks also checks the values, when it reads the file."
    yield ""
    for kind, (files, _, _) in KINDS.items():
        schema = schema_of(kind)
        yield f"## {kind}"
        yield ""
        yield f"`{files}`. {_introduction(schema)}"
        yield ""
        yield from _keys(schema)
        for name, part in schema["$defs"].items():
            yield f"### {kind}: {name}"
            yield ""
            yield _introduction(part)
            yield ""
            yield from _keys(part)


def _introduction(schema: dict[str, Any]) -> str:
    """Return the description of a table without the sentences that its keys repeat."""
    text: str = schema["description"]
    summary, _, rest = text.partition(". ")
    for part in schema["properties"].values():
        rest = rest.replace(part.get("description") or "\0", "")
    return " ".join(f"{summary.rstrip('.')}. {rest}".split())


def _keys(schema: dict[str, Any]) -> Iterator[str]:
    yield from table(
        ("key", "type", "default", "meaning"),
        (
            (
                f"`{key}`",
                _key_type(part),
                "required"
                if key in schema["required"]
                else f"`{json.dumps(part['default'])}`"
                if "default" in part
                else "",
                part.get("description", ""),
            )
            for key, part in schema["properties"].items()
        ),
    )


def _key_type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        return f"table {part['$ref'].rpartition('/')[2]}"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if part.get("type") == "array":
        return f"list of {_key_type(part['items'])}" if "items" in part else "list"
    if "additionalProperties" in part:
        return f"table of {_key_type(part['additionalProperties'])} by name"
    return str(part.get("format") or part.get("type") or "any")


@page("Errors", "each message: the problem, the expected value, the remedy")
def errors() -> Iterator[str]:
    """Yield the page of the errors."""
    yield "A message reads `[WHERE > WHAT] PROBLEM. Expected EXPECTED. REMEDY.` Words in braces"
    yield "stand for values. Search this page for a part of a message that you saw."
    yield ""
    for folder in ("records", "compute", "control", "interactive", "samples", "commands"):
        rows = set()
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            rows |= set(_errors(path))
        yield f"## {folder}"
        yield ""
        yield from table(("problem", "expected", "remedy"), sorted(rows))


def _errors(path: Path) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "BlocksError" and len(node.args) == 5:
            problem, expected, remedy = (_text(it) for it in node.args[2:])
            if re.search(r"[a-z]{3}", re.sub(r"\{[^}]*\}", "", problem)):
                yield problem, expected, remedy


def _text(node: ast.expr) -> str:
    """Return a text as the source has it, with the names of its values in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{_name(node.value)}}}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return f"{{{_name(node)}}}"


def _name(node: ast.expr) -> str:
    words = [it.id for it in ast.walk(node) if isinstance(it, ast.Name)]
    attributes = [it.attr for it in ast.walk(node) if isinstance(it, ast.Attribute)]
    named = [word for word in (*attributes, *words) if word not in {"str", "len", "repr", "join"}]
    return named[0].strip("_").replace("_", " ") if named else "value"


def decisions_index() -> str:
    """Return the index of the decisions with one row for each record, in the order of numbers."""
    rows = []
    for path in sorted(DECISIONS.glob("0*.md")):
        text = path.read_text(encoding="utf-8")
        title = re.match(r"# (\d+)\. (.+(?:\n.+)*)", text)
        date, status = (re.search(rf"^- {key}: (.+)$", text, re.M) for key in ("Date", "Status"))
        if not (title and date and status):
            raise ValueError(f"{path} has no title, date or status")
        link = f"[{' '.join(title[2].split())}]({path.name})"
        rows.append(f"| {title[1]} | {link} | {date[1]} | {status[1].partition(';')[0]} |")
    text = (DECISIONS / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not re.match(r"\| \d+ \|", line)]
    start = next(i for i, line in enumerate(lines) if line.startswith("|---")) + 1
    return "\n".join([*lines[:start], *rows, *lines[start:]]) + "\n"


def main() -> int:
    """Write all pages, the index of the decisions, and the schemas of TOML files."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    (DECISIONS / "README.md").write_text(decisions_index(), encoding="utf-8")
    SCHEMAS.mkdir(exist_ok=True)
    for kind in KINDS:
        (SCHEMAS / f"{kind}.schema.json").write_text(schema_text(kind), encoding="utf-8")
    print(f"Wrote {len(made)} pages to {FOLDER.relative_to(ROOT)}")
    print(f"Wrote {len(KINDS)} schemas to {SCHEMAS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
