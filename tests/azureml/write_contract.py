"""Write loopback/contract.json: the facts of Microsoft's OpenAPI files that the loopback checks.

    python tests/azureml/write_contract.py DIR

DIR is a copy of the repository Azure/azure-rest-api-specs, or of its folders
specification/machinelearningservices and specification/common-types. The same files give the same
bytes. ``USED`` lists the operations that are written. loopback/schemas.py explains the notation.
"""

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FACTS = Path(__file__).parent / "loopback" / "contract.json"
SERVICE = Path(
    "specification/machinelearningservices/resource-manager/Microsoft.MachineLearningServices"
)
# The collections that the SDK asks for, by api-version. Only operations that the loopback answers
# are written.
USED: Mapping[str, tuple[str, ...]] = {
    "2022-02-01-preview": ("workspaces/onlineEndpoints",),
    "2023-02-01-preview": ("workspaces/batchEndpoints",),
    "2023-04-01": ("workspaces/codes",),
    "2023-04-01-preview": (
        *("workspaces/data", "workspaces/environments", "workspaces/onlineEndpoints"),
        *("workspaces/jobs", "registries/codes", "registries/components", "registries/data"),
        *("registries/environments", "registries/models"),
    ),
    "2023-06-01-preview": ("workspaces/schedules",),
    "2023-08-01-preview": ("workspaces", "workspaces/computes", "workspaces/models"),
    "2023-10-01": ("workspaces/batchEndpoints",),
    "2024-01-01-preview": (
        *("workspaces/batchEndpoints", "workspaces/components", "workspaces/jobs"),
        "workspaces/schedules",
    ),
    "2024-04-01": (
        *("workspaces", "workspaces/datastores", "locations/usages", "locations/vmSizes"),
    ),
    # Stands in for later ones (contract.STAND_INS).
    "2024-04-01-preview": ("workspaces", "workspaces/datastores", "workspaces/jobs"),
}
# The names below a resource for which the loopback answers.
BELOW = {"versions", "deployments", "startPendingUpload", "listSecrets", "cancel", "trigger"}
ABOUT = """
Facts of Azure Machine Learning's REST API, written by tests/azureml/write_contract.py from the
OpenAPI files of github.com/Azure/azure-rest-api-specs (as of May 2024) that "files" names with
their git blob ids, under the licence below. Do not edit: change the script, and run it again.
"""
LICENCE = """
The MIT License (MIT). Copyright (c) Microsoft Corporation. Permission is hereby granted, free of
charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software,
and to permit persons to whom the Software is furnished to do so, subject to the following
conditions: The above copyright notice and this permission notice shall be included in all copies
or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY
KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS
FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS
BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN
THE SOFTWARE.
"""
_KEPT = ("enum", "pattern", "minLength", "maxLength", "minimum", "maximum")
_WIDTH = 100
# A file, and the name of one of its definitions.
Place = tuple[Path, str]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not (Path(arguments[0]) / SERVICE).is_dir():
        print(
            "error: [write_contract.py > DIR] a copy of github.com/Azure/azure-rest-api-specs is "
            "needed. Pass the directory that contains its folder specification.",
            file=sys.stderr,
        )
        return 2
    FACTS.write_text(contract_text(Path(arguments[0])), encoding="utf-8")
    return 0


def contract_text(folder: Path, used: Mapping[str, tuple[str, ...]] = USED) -> str:
    """Return the facts of the operations in use, and of all that their bodies refer to."""
    reader = _Reader(folder.resolve())
    for version, collections in used.items():
        reader.read_version(version, collections)
    facts = {
        "about": ABOUT.split("\n")[1:-1],
        "licence": LICENCE.split("\n")[1:-1],
        "files": reader.files(),
        "parameters": {n: _merged(found) for n, found in sorted(reader.parameters.items())},
        "paths": {
            path: {method: _merged(found, True) for method, found in sorted(methods.items())}
            for path, methods in sorted(reader.paths.items())
        },
        "definitions": {n: _merged(found) for n, found in sorted(reader.definitions.items())},
    }
    return layout(facts) + "\n"


class _Reader:
    """The facts that have been read, each with its api-version, and the files they are from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: dict[str, dict[str, list[tuple[str, Any]]]] = {}
        self.parameters: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        self.definitions: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        self._files: set[Path] = set()
        self._wanted: list[Place] = []

    def files(self) -> dict[str, dict[str, str]]:
        """Return the git ids of the files that facts were taken from, by folder and name."""
        found: dict[str, dict[str, str]] = {}
        for file in sorted(self._files):
            folder = file.parent.relative_to(self.folder).as_posix()
            found.setdefault(folder, {})[file.name] = _git_id(file)
        return found

    def read_version(self, version: str, collections: tuple[str, ...]) -> None:
        """Read the operations of some collections, and all definitions that they refer to."""
        for kind in ("preview", "stable"):
            for file in sorted((self.folder / SERVICE / kind / version).glob("*.json")):
                for path, item in _read(file)["paths"].items():
                    for method, entry in item.items():
                        if _is_used(path, method, collections):
                            self._read_operation(version, file, path, method, item, entry)
        done: set[Place] = set()
        while self._wanted:
            place = self._wanted.pop()
            if place not in done:
                done.add(place)
                self._read_definition(version, *place)

    def _read_operation(
        self, version: str, file: Path, path: str, method: str, item: Any, entry: Any
    ) -> None:
        listed = [*item.get("parameters", []), *entry.get("parameters", [])]
        facts: dict[str, Any] = {"file": file.stem}
        for parameter in (self._parameter(file, each) for each in listed):
            place, name = parameter["in"], parameter["name"]
            if place == "body":
                facts["body"] = self._schema(parameter["schema"], file, parameter.get("required"))
            elif place == "query" and name != "api-version":
                required = parameter.get("required", False)
                facts.setdefault("query", {})[name] = self._schema(parameter, file, required)
            elif place == "path" and not _is_any_text(parameter):
                # Parameters without a pattern are any text, and the path itself names them.
                facts.setdefault("path", []).append(name)
                self._keep_parameter(version, name, self._schema(parameter, file))
        facts["responses"] = {
            status: self._schema(answer["schema"], file) if "schema" in answer else None
            for status, answer in sorted(entry["responses"].items())
        }
        self._files.add(file)
        self.paths.setdefault(path, {}).setdefault(method, []).append((version, facts))

    def _keep_parameter(self, version: str, name: str, facts: Any) -> None:
        known = self.parameters[name]
        if any(of == version and other != facts for of, other in known):
            raise ValueError(f"parameter {name} of {version} has several meanings: {facts}")
        if (version, facts) not in known:
            known.append((version, facts))

    def _parameter(self, file: Path, node: Any) -> Any:
        if "$ref" not in node:
            return node
        target, pointer = _target(node, file)
        self._files.add(target)
        found = _read(target)
        for key in pointer.strip("/").split("/"):
            found = found[key]
        return found

    def _read_definition(self, version: str, file: Path, name: str) -> None:
        self._files.add(file)
        definitions = _read(file)["definitions"]
        facts = self._schema(definitions[name], file)
        children = dict(_children(definitions, name))
        if "discriminator" in definitions[name] and children:
            self._wanted += [(file, child) for child in children.values()]
            facts["discriminator"] = definitions[name]["discriminator"]
            facts["choices"] = {value: f"#{child}" for value, child in children.items()}
        self.definitions[f"{_short(file)}#{name}"].append((version, facts))

    def _schema(self, node: Mapping[str, Any], file: Path, required: bool = False) -> Any:
        """Return the facts of a schema: a notation, or an object if a notation is not enough."""
        flags = (
            ("?" if node.get("x-nullable") else "")
            + ("~" if node.get("readOnly") else "")
            + ("!" if required else "")
        )
        if "$ref" in node:
            target, pointer = _target(node, file)
            name = pointer.rpartition("/")[2]
            self._wanted.append((target, name))
            return f"{'' if target == file else _short(target)}#{name}{flags}"
        more: dict[str, Any] = {key: node[key] for key in _KEPT if key in node}
        names = set(node.get("required", [])) if isinstance(node.get("required"), list) else set()
        if "allOf" in node:
            more["allOf"] = [self._schema(parent, file) for parent in node["allOf"]]
        if "properties" in node:
            more["properties"] = {
                name: self._schema(schema, file, name in names)
                for name, schema in sorted(node["properties"].items())
            }
        if elsewhere := sorted(names - node.get("properties", {}).keys()):
            more["required"] = elsewhere
        notation = node.get("type", "any") + (f":{node['format']}" if "format" in node else "")
        inner = {
            key: node[key] if isinstance(node[key], bool) else self._schema(node[key], file)
            for key in ("items", "additionalProperties")
            if key in node
        }
        for key, kind, form in (
            ("items", "array", "[%s]"),
            ("additionalProperties", "object", "{%s}"),
        ):
            if isinstance(inner.get(key), str) and notation == kind and not more:
                notation = form % inner.pop(key)
        more |= inner
        return {"type": notation + flags, **more} if more else notation + flags


def _is_used(path: str, method: str, collections: tuple[str, ...]) -> bool:
    """Return True if the SDK asks for an operation, and the loopback answers."""
    tail = path.partition("/providers/Microsoft.MachineLearningServices/")[2].split("/")
    collection = "/".join(tail[:3:2])
    literals = {part for part in tail[3:] if not part.startswith("{")}
    methods = ("get",) if collection == "workspaces" else ("get", "put", "post", "delete")
    return (
        collection in collections
        and method in methods
        and literals <= BELOW
        and (method == "post") == (tail[-1] in BELOW - {"versions", "deployments"})
    )


def _is_any_text(parameter: Mapping[str, Any]) -> bool:
    return parameter["type"] == "string" and not {"pattern", "enum", "format"} & parameter.keys()


def _children(definitions: Mapping[str, Any], parent: str) -> Iterator[tuple[str, str]]:
    """Yield the discriminator value and the name of each definition that extends another."""
    for name, definition in definitions.items():
        parents = {p.get("$ref", "").rpartition("/")[2] for p in definition.get("allOf", [])}
        if parent in parents:
            if "x-ms-discriminator-value" in definition:
                yield definition["x-ms-discriminator-value"], name
            else:
                yield from _children(definitions, name)


def _target(node: Mapping[str, Any], file: Path) -> tuple[Path, str]:
    name, _, pointer = node["$ref"].partition("#")
    return ((file.parent / name).resolve() if name else file), pointer


def _short(file: Path) -> str:
    """Return a short name of a file; files of common-types exist in several versions."""
    return f"{file.stem}-{file.parent.name}" if "common-types" in file.parts else file.stem


@cache
def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8-sig"))


def _git_id(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _merged(found: list[tuple[str, Any]], always: bool = False) -> Any:
    """Merge versions with equal facts; name the versions where facts differ, or always."""
    versions: dict[str, list[str]] = {}
    for version, facts in found:
        versions.setdefault(json.dumps(facts), []).append(version)
    if len(versions) == 1 and not always:
        return found[0][1]
    return [{"versions": of, **json.loads(facts)} for facts, of in versions.items()]


def layout(value: Any, indent: int = 0, before: int = 0) -> str:
    """Return JSON in lines of 100 columns, of which ``before`` are taken in the first line."""
    flat = json.dumps(value, ensure_ascii=False)
    if indent + before + len(flat) < _WIDTH or not isinstance(value, dict | list):
        return flat
    pad, end = "\n" + " " * (indent + 1), "\n" + " " * indent
    if isinstance(value, dict):
        keys = {json.dumps(key): item for key, item in value.items()}
        parts = [f"{k}: {layout(v, indent + 1, len(k) + 2)}" for k, v in keys.items()]
        return f"{{{pad}{f',{pad}'.join(parts)}{end}}}"
    parts = [layout(item, indent + 1) for item in value]
    if any(isinstance(item, dict | list) for item in value):
        return f"[{pad}{f',{pad}'.join(parts)}{end}]"
    lines = [""]
    for part in parts:
        if lines[-1] and indent + len(lines[-1]) + len(part) + 4 > _WIDTH:
            lines.append("")
        lines[-1] += f"{', ' if lines[-1] else ''}{part}"
    return f"[{pad}{f',{pad}'.join(lines)}{end}]"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
