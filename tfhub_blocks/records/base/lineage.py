"""The lineage of an output: an in-toto statement with a SLSA-provenance predicate.

See https://github.com/in-toto/attestation (Statement v1, DigestSet) and
https://slsa.dev/spec/v1.0/provenance.
"""

# decisions 1 and 29

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
# Facts that each output of a chain states after the first that a person allowed them for: the
# operations that a pin allows by name, and trust in the code of a third-party model.
ALLOWED_FACT, TRUSTED_FACT = "allowed_operations", "trusted_code"


@dataclass(frozen=True)
class Material:
    """An input of a step: its port, and the digest of its content if it has one.

    If the input is the output of a step, ``statement`` is the SHA-256 of its lineage.json, and
    ``making`` the digest of how it was made (``Lineage.making``). Older statements have neither.
    """

    name: str
    digest: str | None = None
    statement: str | None = None
    making: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return an in-toto ResourceDescriptor, which needs a digest or a URI."""
        if not self.digest:
            return {"name": self.name, "uri": PORT_URN + self.name}
        found: dict[str, Any] = {"name": self.name, "digest": {"dirHash": self.digest}}
        bound = {"statement": self.statement, "making": self.making}
        annotations = {name: value for name, value in bound.items() if value}
        return found | ({"annotations": annotations} if annotations else {})


@dataclass(frozen=True)
class Provenance:
    """The origin of an output: step, parameters, materials, code, environment, and times."""

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
        """The values that identify the work, by name, JSON-ready. Times are not included."""
        return {
            "step": self.step,
            **{f"parameter {name}": value for name, value in self.parameters.items()},
            **{f"input {material.name}": material.digest for material in self.materials},
            "code": self.code_digest,
            "environment": self.environment_digest,
        }


@dataclass(frozen=True)
class Lineage:
    """The description of an output folder: its format, the SHA-256 of each file, and its origin."""

    name: str
    format: str
    files: Mapping[str, str]
    provenance: Provenance

    @property
    def digest(self) -> str:
        """The digest of the files. Their origin and times are not included."""
        return tree_digest(self.files)

    @property
    def making(self) -> str:
        """The digest of the content and its origin, and of the origin of all inputs.

        Repeating the same work with the same result gives the same digest. Another parameter,
        input, code or environment gives another digest, in this step or in any earlier one. Times
        and facts are not included, since facts contain measured speeds.
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
        """Return the material that the step got at a port, or None."""
        return next((m for m in self.provenance.materials if m.name == port), None)

    def as_statement(self) -> dict[str, Any]:
        """Return the lineage as an in-toto statement."""
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
        """Write the statement into the folder that it describes."""
        text = json.dumps(self.as_statement(), indent=1, ensure_ascii=False)
        (folder / STATEMENT_NAME).write_text(text + "\n", encoding="utf-8")


def read_lineage(folder: Path, name: str = STATEMENT_NAME) -> Lineage:
    """Read the lineage of a folder, and check its digest against its file list.

    Args:
        folder: The folder.
        name: The file to read; only an unfinished folder has its lineage under another name.

    Raises:
        BlocksError: The folder has no lineage, so no step finished it, or the lineage is invalid.
    """
    path = folder / name
    if not path.is_file():
        raise BlocksError(
            str(folder),
            name,
            f"the folder has no {name}" if folder.is_dir() else f"folder {folder} does not exist",
            "a finished output of a step",
            "Pass the output of a finished run; if the run was interrupted, run it again",
        )
    try:
        lineage = _parse(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        problem = f"{STATEMENT_NAME} is not a valid in-toto statement ({error!r})"
        raise _damaged(folder, problem) from error
    return lineage


def output_material(port: str, folder: Path) -> Material:
    """Return the output folder of one step as a material of another step.

    Raises:
        BlocksError: The folder has no valid lineage.
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
        stated = whole["digest"]["dirHash"]
        raise ValueError(f"the stated digest {stated} is not that of the listed files")
    return lineage


def _damaged(folder: Path, problem: str) -> BlocksError:
    return BlocksError(
        str(folder),
        STATEMENT_NAME,
        problem,
        "the statement that the step wrote",
        "Run the step that wrote this folder again, and do not edit its files",
    )
