"""A job on Azure ML as the proof of a release: what it ran is what is here, and what it made."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tfhub_blocks.control.costs.job_records import job_folder
from tfhub_blocks.control.jobs.job_outputs import fetch_job
from tfhub_blocks.control.jobs.release_checks import step_problem
from tfhub_blocks.control.jobs.submitted_jobs import Job
from tfhub_blocks.control.lineage.recorded_output import Output, read_output
from tfhub_blocks.control.lineage.run_archive import FETCHED
from tfhub_blocks.control.project.assets import typed
from tfhub_blocks.control.project.output_store import Stored, content_digest
from tfhub_blocks.control.project.run_records import RECORD_NAME, read_run
from tfhub_blocks.control.project.run_requests import pipeline_ports
from tfhub_blocks.control.project.step_graph import Node, OutputOf
from tfhub_blocks.control.releases.release_replay import snapshot
from tfhub_blocks.control.releases.resolution import Resolved
from tfhub_blocks.control.releases.run_evidence import proven_evidence
from tfhub_blocks.control.releases.run_proofs import (
    Here,
    Proof,
    check_run,
    differs,
    parameter_reasons,
)
from tfhub_blocks.control.workspace.azure_errors import find
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.environment.environment_drift import Drift
from tfhub_blocks.records.formats.releases import LockedEvidence, LockedStep

# As jobs are called that were sent by this product.
_JOB_NAME = re.compile(r"-\d{8}T\d{6}Z-[0-9a-f]{6}")
_COMPONENT = re.compile(r"(?:azureml:|.*/components/)([^/:]+)(?::|/versions/)([^/:]+)")
_ANONYMOUS = "azureml_anonymous"


def is_job(name: str, runs_dir: Path) -> bool:
    """Whether a name is that of a job rather than of a run on this machine."""
    return _JOB_NAME.search(name) is not None and not (runs_dir / "runs" / name).exists()


@dataclass(frozen=True)
class JobProof(Proof):
    """A job that ended well, with what its steps made, fetched.

    ``nodes`` is what it says of each step; ``not_given`` are the inputs of the pipeline that it
    has nothing for, ``missing`` is what could not be fetched.
    """

    connection: Connection
    nodes: Mapping[str, Any]
    not_given: frozenset[str]
    missing: tuple[str, ...]

    @property
    def again(self) -> str:
        """The command that sends such a job again."""
        return f"tfhub-blocks submit {self.record.pipeline} --profile {self.record.profile}"

    def check(self, here: Here) -> LockedEvidence | None:
        """As that of a run; what its steps were and made is in the workspace.

        A step is known by its component there, whose code, command and environment are held
        against those here, and by the statement that it left.
        """
        graph, resolved = here.graph, here.resolved
        if self.record.steps.keys() != graph.nodes.keys():
            names = sorted(self.record.steps.keys() ^ graph.nodes.keys())
            raise differs(self, [f"{name} is a step of one of the two only" for name in names])
        nodes, made = here.job._to_dict()["jobs"], dict[str, dict[str, Output]]()
        problems = list(self.missing)
        for node in graph.nodes.values():
            outputs = self.record.steps[node.name].outputs
            made[node.name] = {port: read_output(Path(path)) for port, path in outputs.items()}
            told = [
                *self._wiring_reasons(node, nodes[node.name]),
                *self._component_reasons(node, resolved),
                *_made_reasons(node, resolved.steps[node.name], made),
            ]
            problems += [f"step {node.name}: {it}" for it in told]
        if problems:
            raise differs(self, problems)
        stored = {
            name: Stored({port: it.path for port, it in outputs.items()}, {}, 0.0)
            for name, outputs in made.items()
        }
        return proven_evidence(graph, stored)

    def _wiring_reasons(self, node: Node, here: Mapping[str, Any]) -> Iterator[str]:
        """Which ports got something else than they get here."""
        before, now = (self._given(node, it) for it in (self.nodes[node.name], here))
        for port in sorted(before.keys() | now.keys()):
            if before.get(port) != now.get(port):
                yield f"{port} was {before.get(port)!r}, here it is {now.get(port)!r}"

    def _given(self, node: Node, entry: Mapping[str, Any]) -> dict[str, Any]:
        """What ports are bound to, or the values that they have; not what nobody gave."""
        inputs = (entry.get("inputs") or {}).items()
        texts = {p: it.get("path") if isinstance(it, dict) else it for p, it in inputs}
        nothing = {None, *(f"${{{{parent.inputs.{name}}}}}" for name in self.not_given)}
        return {
            port: text if str(text).startswith("${{") else typed(node.input_types[port], text)
            for port, text in texts.items()
            if text not in nothing and port in node.input_types
        }

    def _component_reasons(self, node: Node, resolved: Resolved) -> Iterator[str]:
        reference = str(self.nodes[node.name].get("component"))
        match = _COMPONENT.fullmatch(reference)
        name, version = match.groups() if match else (reference, "")
        wanted = resolved.components[node.component].version
        if name != _ANONYMOUS and (name, version) != (node.component, wanted):
            yield f"it was {name}:{version}, here it is {node.component}:{wanted}"
            return
        components = self.connection.client.components
        found = find("lock", f"component {name}:{version}", components.get, name, version)
        if found is None:
            yield f"{self.connection} has no component {name}:{version} any more"
        elif problem := step_problem(self.connection, found, node.entity):
            yield f"its component {problem}"


def fetch_proof(connection: Connection, name: str, runs_dir: Path, pipeline: str) -> JobProof:
    """The job of that name, and what its steps made, below ``.runs/fetched``.

    Raises:
        BlocksError: There is none, it did not end well, it is of another pipeline or was not sent
            with a profile.
    """
    job = find("lock", f"--from-run {name}", connection.client.jobs.get, name)
    if job is None:
        raise BlocksError(
            "lock",
            f"--from-run {name}",
            f"there is no such run in {runs_dir}, nor such a job in {connection}",
            "a run on this machine, or a job of the workspace",
            f"tfhub-blocks run {pipeline}",
        )
    told = Job(connection, name).record()
    check_run(told, pipeline)
    if not told.profile:
        raise BlocksError(
            "lock",
            f"--from-run {name}",
            "nothing tells under which profile it was sent",
            "a job of tfhub-blocks submit",
            f"tfhub-blocks submit {pipeline}",
        )
    folder, missing = runs_dir / FETCHED, list[str]()
    fetch_job(connection, name, folder, missing.append)
    told = read_run(job_folder(name, folder) / RECORD_NAME)
    record = job._to_dict()
    given = record.get("inputs") or {}
    told.inputs = {
        key: str(it.get("path", "") if isinstance(it, dict) else it) for key, it in given.items()
    }
    not_given = frozenset(pipeline_ports(pipeline).keys() - told.inputs.keys())
    return JobProof(told, runs_dir, connection, record["jobs"], not_given, tuple(missing))


def _made_reasons(
    node: Node, step: LockedStep, made: Mapping[str, Mapping[str, Output]]
) -> Iterator[str]:
    """Why what a step made is not what the step here makes, as its statement tells."""
    outputs = made[node.name]
    if lacking := sorted(node.output_types.keys() - outputs.keys()):
        yield f"its output {', '.join(lacking)} is not there"
    for output in outputs.values():
        if output.problem:
            yield f"its output {output.path.name}: {output.problem}"
        elif output.lineage and content_digest(output.path) != output.digest:
            yield f"its output {output.path.name} was changed after it was made"
    told = next((it.lineage.provenance for it in outputs.values() if it.lineage), None)
    if told is None:
        return  # files alone: its component tells
    code, environment = snapshot(node)
    if told.code_digest != code:
        yield "it ran other code"
    yield from _environment_reasons(told, environment)
    yield from parameter_reasons(told, step)
    for port, value in node.inputs.items():
        material = next((it for it in told.materials if it.name == port), None)
        given = made[value.node].get(value.port) if isinstance(value, OutputOf) else None
        if given and given.lineage and (material is None or material.digest != given.digest):
            yield f"its {port} is not what step {value.node} made"


def _environment_reasons(told: Provenance, pinned: str) -> Iterator[str]:
    """Whether a step ran in another environment than it is pinned to here, or in more or less."""
    facts = dict(told.facts.get("environment") or {})
    if facts.get("environment") != pinned:
        yield f"it was pinned to {facts.get('environment') or 'nothing'}, here it is to {pinned}"
        return
    beside = (facts.pop("extra", None) or {}).get("count", 0)
    known = {it.name: facts[it.name] for it in fields(Drift) if it.name in facts}
    found = Drift(**known, extra={}).differences(extra_counts=False)
    if beside:
        found.append(f"{beside} packages are not in the lock")
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield f"where it ran, {found[0]}{more}"
