"""How an output came to be: an in-toto statement with a SLSA-provenance predicate.

See https://github.com/in-toto/attestation (Statement v1, DigestSet) and
https://slsa.dev/spec/v1.0/provenance.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import (
    file_sha256,
    is_safe_relative_path,
    record_digest,
    tree_digest,
)
from tfhub_blocks.records.base.errors import BlocksError

STATEMENT_NAME = "lineage.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
STEP_URN = "urn:tfhub-blocks:step:"
FORMAT_URN = "urn:tfhub-blocks:format:"
PORT_URN = "urn:tfhub-blocks:port:"


@dataclass(frozen=True)
class Material:
    """Something that a step was given: its port, and the digest of its content if it has one.

    Of the output of a step also ``statement``, the SHA-256 of the lineage that it carried, and
    ``making``, what that said of how it was made (``Lineage.making``). Statements from before
    these were kept have neither.
    """

    name: str
    digest: str | None = None
    statement: str | None = None
    making: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As an in-toto ResourceDescriptor, which needs a digest or a URI."""
        if not self.digest:
            return {"name": self.name, "uri": PORT_URN + self.name}
        found: dict[str, Any] = {"name": self.name, "digest": {"dirHash": self.digest}}
        bound = {"statement": self.statement, "making": self.making}
        annotations = {name: value for name, value in bound.items() if value}
        return found | ({"annotations": annotations} if annotations else {})


@dataclass(frozen=True)
class Provenance:
    """What made an output: step, parameters, materials, code, environment, and when."""

    step: str
    parameters: Mapping[str, Any]
    materials: tuple[Material, ...]
    code_digest: str
    environment_digest: str
    started: str
    finished: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> dict[str, Any]:
        """What makes two attempts the same work, by name; JSON-ready, and not when it was done."""
        return {
            "step": self.step,
            **{f"parameter {name}": value for name, value in self.parameters.items()},
            **{f"input {material.name}": material.digest for material in self.materials},
            "code": self.code_digest,
            "environment": self.environment_digest,
        }


@dataclass(frozen=True)
class Lineage:
    """What an output folder is: its format, the SHA-256 of each file, and what made it."""

    name: str
    format: str
    files: Mapping[str, str]
    provenance: Provenance

    @property
    def digest(self) -> str:
        """The digest of the whole content: of the files, not of how and when they were made."""
        return tree_digest(self.files)

    @property
    def making(self) -> str:
        """The digest of what was made how, of what that was itself made how: times are no part.

        The same work that gives the same content again has the same, and another parameter, input,
        code or environment another, here or in any step before. Facts are no part, either: they
        hold measured speeds.
        """
        made = self.provenance
        return record_digest(
            {
                "output": [self.name, self.format, self.digest],
                "work": made.work,
                "materials": {material.name: material.making for material in made.materials},
            }
        )

    def material(self, port: str) -> Material | None:
        """What the step that made this was given at a port, or None."""
        return next((m for m in self.provenance.materials if m.name == port), None)

    def as_statement(self) -> dict[str, Any]:
        """As an in-toto statement."""
        made = self.provenance
        return {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": ".", "digest": {"dirHash": self.digest}},
                *({"name": name, "digest": {"sha256": sha}} for name, sha in self.files.items()),
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": STEP_URN + made.step,
                    "externalParameters": dict(made.parameters),
                    "internalParameters": {
                        "name": self.name,
                        "format": FORMAT_URN + self.format,
                        "facts": dict(made.facts),
                    },
                    "resolvedDependencies": [
                        *(material.as_dict() for material in made.materials),
                        {"name": "(code)", "digest": {"dirHash": made.code_digest}},
                        {"name": "(environment)", "digest": {"sha256": made.environment_digest}},
                    ],
                },
                "runDetails": {
                    "builder": {"id": "urn:tfhub-blocks:builder:step"},
                    "metadata": {"startedOn": made.started, "finishedOn": made.finished},
                },
            },
        }

    def write(self, folder: Path) -> None:
        """Write the statement into the folder that it speaks of."""
        text = json.dumps(self.as_statement(), indent=1, ensure_ascii=False)
        (folder / STATEMENT_NAME).write_text(text + "\n", encoding="utf-8")


def read_lineage(folder: Path) -> Lineage:
    """The lineage that a folder carries, with its own digest checked against its file list.

    Raises:
        BlocksError: There is none, so the folder is unfinished or not ours; or it is not sound.
    """
    path = folder / STATEMENT_NAME
    if not path.is_file():
        raise BlocksError(
            str(folder),
            STATEMENT_NAME,
            "this folder has no lineage" if folder.is_dir() else "there is no such folder",
            "a finished output of a step",
            "give the output of a finished run; an interrupted one is made again by running it",
        )
    try:
        lineage = _parse(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, f"it cannot be read as an in-toto statement ({error!r})") from error
    return lineage


def output_material(port: str, folder: Path) -> Material:
    """A folder that a step made, as something that another step is given.

    Raises:
        BlocksError: It carries no sound lineage.
    """
    lineage = read_lineage(folder)
    statement = file_sha256(folder / STATEMENT_NAME)
    return Material(port, lineage.digest, statement, lineage.making)


def _bound(material: Mapping[str, Any]) -> dict[str, str | None]:
    annotations = material.get("annotations", {})
    return {name: annotations.get(name) for name in ("statement", "making")}


def _parse(statement: dict[str, Any]) -> Lineage:
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise ValueError(f"type {statement['_type']}, predicate {statement['predicateType']}")
    whole, *subjects = statement["subject"]
    definition = statement["predicate"]["buildDefinition"]
    internal = definition["internalParameters"]
    *materials, code, environment = definition["resolvedDependencies"]
    metadata = statement["predicate"]["runDetails"]["metadata"]
    lineage = Lineage(
        name=internal["name"],
        format=internal["format"].removeprefix(FORMAT_URN),
        files={subject["name"]: subject["digest"]["sha256"] for subject in subjects},
        provenance=Provenance(
            step=definition["buildType"].removeprefix(STEP_URN),
            parameters=definition["externalParameters"],
            materials=tuple(
                Material(m["name"], m.get("digest", {}).get("dirHash"), **_bound(m))
                for m in materials
            ),
            code_digest=code["digest"]["dirHash"],
            environment_digest=environment["digest"]["sha256"],
            started=metadata["startedOn"],
            finished=metadata["finishedOn"],
            facts=internal["facts"],
        ),
    )
    unsafe = [name for name in lineage.files if not is_safe_relative_path(name)]
    if unsafe:
        raise ValueError(f"the path {unsafe[0]!r} leaves the folder")
    if whole["digest"]["dirHash"] != lineage.digest:
        raise ValueError(f"it states digest {whole['digest']['dirHash']}, its files give another")
    return lineage


def _damaged(folder: Path, problem: str) -> BlocksError:
    return BlocksError(
        str(folder),
        STATEMENT_NAME,
        problem,
        "the statement that the step wrote",
        "run the step that made this folder again; do not edit its files",
    )
