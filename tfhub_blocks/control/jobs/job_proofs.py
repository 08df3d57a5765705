"""A job on Azure ML as the proof of a release: its steps, and the outputs that they wrote."""

# decision 52

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
from tfhub_blocks.control.project.run_records import RECORD_NAME, RunRecord, read_run
from tfhub_blocks.control.project.run_requests import pipeline_ports
from tfhub_blocks.control.project.step_graph import Node, OutputOf, unquoted_text
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
from tfhub_blocks.records.formats.data_versions import CHILD_FACT, read_child
from tfhub_blocks.records.formats.releases import LockedEvidence, LockedStep

# The form of job names that `submit` creates.
_JOB_NAME = re.compile(r"-\d{8}T\d{6}Z-[0-9a-f]{6}")
_COMPONENT = re.compile(r"(?:azureml:|.*/components/)([^/:]+)(?::|/versions/)([^/:]+)")
_ANONYMOUS = "azureml_anonymous"


def is_job(name: str, runs_dir: Path) -> bool:
    """Return True if a name is a job's, and not that of a local run."""
    return _JOB_NAME.search(name) is not None and not (runs_dir / "runs" / name).exists()


@dataclass(frozen=True)
class JobProof(Proof):
    """A job that ended well, with its steps' outputs downloaded.

    ``nodes`` are the job's records of its steps; ``not_given`` are the pipeline's inputs that the
    job has no value for, and ``missing`` lists the outputs that could not be downloaded.
    """

    connection: Connection
    nodes: Mapping[str, Any]
    not_given: frozenset[str]
    missing: tuple[str, ...]

    @property
    def again(self) -> str:
        """The command that submits such a job again."""
        return f"tfhub-blocks submit {self.record.pipeline} --profile {self.record.profile}"

    def check(self, here: Here) -> LockedEvidence | None:
        """Check the job against the local pipeline, from the records in the workspace.

        Each step's component in the workspace must have the code, command and environment of the
        local component, and the statements of its outputs must agree.
        """
        graph, resolved = here.graph, here.resolved
        if self.record.steps.keys() != graph.nodes.keys():
            names = sorted(self.record.steps.keys() ^ graph.nodes.keys())
            raise differs(self, [f"only one of the two has a step {name}" for name in names])
        nodes, made = here.job._to_dict()["jobs"], dict[str, dict[str, Output]]()
        problems = list(self.missing)
        for node in graph.nodes.values():
            outputs = self.record.steps[node.name].outputs
            made[node.name] = {port: read_output(Path(path)) for port, path in outputs.items()}
            reasons = [
                *self._wiring_reasons(node, nodes[node.name]),
                *self._component_reasons(node, resolved),
                *_made_reasons(node, resolved.steps[node.name], made),
            ]
            problems += [f"step {node.name}: {reason}" for reason in reasons]
        if problems:
            raise differs(self, problems)
        stored = {
            name: Stored({port: it.path for port, it in outputs.items()}, {}, 0.0)
            for name, outputs in made.items()
        }
        return proven_evidence(graph, stored)

    def _wiring_reasons(self, node: Node, here: Mapping[str, Any]) -> Iterator[str]:
        """Yield each port whose value differs from the local pipeline's."""
        before, now = (self._given(node, it) for it in (self.nodes[node.name], here))
        for port in sorted(before.keys() | now.keys()):
            if before.get(port) != now.get(port):
                yield f"{port} was {before.get(port)!r}, but locally is {now.get(port)!r}"

    def _given(self, node: Node, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return the bindings and values of ports, without inputs that have no value."""
        inputs = (entry.get("inputs") or {}).items()
        texts = {p: it.get("path") if isinstance(it, dict) else it for p, it in inputs}
        nothing = {None, *(f"${{{{parent.inputs.{name}}}}}" for name in self.not_given)}
        return {
            port: text
            if str(text).startswith("${{")
            else typed(node.input_types[port], unquoted_text(str(text)))
            for port, text in texts.items()
            if text not in nothing and port in node.input_types
        }

    def _component_reasons(self, node: Node, resolved: Resolved) -> Iterator[str]:
        reference = str(self.nodes[node.name].get("component"))
        match = _COMPONENT.fullmatch(reference)
        name, version = match.groups() if match else (reference, "")
        wanted = resolved.components[node.component].version
        if name != _ANONYMOUS and (name, version) != (node.component, wanted):
            local = f"{node.component}:{wanted}"
            yield f"the component was {name}:{version}, but locally is {local}"
            return
        components = self.connection.client.components
        found = find("lock", f"component {name}:{version}", components.get, name, version)
        if found is None:
            yield f"{self.connection} no longer has component {name}:{version}"
        elif problem := step_problem(self.connection, found, node.entity):
            yield f"component {name}:{version} {problem}"


def fetch_proof(connection: Connection, name: str, runs_dir: Path, pipeline: str) -> JobProof:
    """Return a job as a proof, after downloading its steps' outputs below ``.runs/fetched``.

    Raises:
        BlocksError: The job does not exist, did not end well, belongs to another pipeline, or was
            submitted without a profile.
    """
    job = find("lock", f"--from-run {name}", connection.client.jobs.get, name)
    if job is None:
        raise BlocksError(
            "lock",
            f"--from-run {name}",
            f"{name} is neither a run in {runs_dir} nor a job in {connection}",
            "a local run, or a job of the workspace",
            f"Run `tfhub-blocks run {pipeline}`, and pass that run with --from-run",
        )
    run = Job(connection, name).record()
    check_run(run, pipeline)
    if not run.profile:
        raise BlocksError(
            "lock",
            f"--from-run {name}",
            f"job {name} has no tag with its profile",
            "a job that `tfhub-blocks submit` sent",
            f"Run `tfhub-blocks submit {pipeline}`, and pass that job with --from-run",
        )
    folder, missing = runs_dir / FETCHED, list[str]()
    fetch_job(connection, name, folder, missing.append)
    run = read_run(job_folder(name, folder) / RECORD_NAME)
    record = job._to_dict()
    given = record.get("inputs") or {}
    run.inputs = {
        key: str(it.get("path", "") if isinstance(it, dict) else it) for key, it in given.items()
    }
    run.inputs |= _chosen(run)
    not_given = frozenset(pipeline_ports(pipeline).keys() - run.inputs.keys())
    return JobProof(run, runs_dir, connection, record["jobs"], not_given, tuple(missing))


def _chosen(run: RunRecord) -> dict[str, str]:
    """Return the data versions that the job's steps chose for an open input, by the input."""
    chosen = {}
    for step in run.steps.values():
        for path in step.outputs.values():
            lineage = read_output(Path(path)).lineage
            fact = lineage.provenance.facts.get(CHILD_FACT) if lineage else None
            with suppress(ValueError, AttributeError):  # verify reports what was edited
                if fact is not None:
                    child = read_child(fact)
                    chosen[child.input] = f"azureml:{child.name}:{child.version}"
    return chosen


def _made_reasons(
    node: Node, step: LockedStep, made: Mapping[str, Mapping[str, Output]]
) -> Iterator[str]:
    """Yield each way in which a step's outputs differ from the local step, by their statements."""
    outputs = made[node.name]
    if lacking := sorted(node.output_types.keys() - outputs.keys()):
        yield f"output {', '.join(lacking)} is missing"
    for output in outputs.values():
        if output.problem:
            yield f"output {output.path.name}: {output.problem}"
        elif output.lineage and content_digest(output.path) != output.digest:
            yield f"output {output.path.name} was changed after the step wrote it"
    statements = (it.lineage.provenance for it in outputs.values() if it.lineage)
    provenance = next(statements, None)
    if provenance is None:
        return  # plain files without a statement: the component is the only evidence
    code, environment = snapshot(node)
    if provenance.code_digest != code:
        yield "the step ran different code"
    yield from _environment_reasons(provenance, environment)
    yield from parameter_reasons(provenance, step)
    for port, value in node.inputs.items():
        material = next((it for it in provenance.materials if it.name == port), None)
        given = made[value.node].get(value.port) if isinstance(value, OutputOf) else None
        if given and given.lineage and (material is None or material.digest != given.digest):
            yield f"input {port} is not the output of step {value.node}"


def _environment_reasons(provenance: Provenance, pinned: str) -> Iterator[str]:
    """Yield each way in which a step's environment differs from its local pin, or from its lock."""
    facts = dict(provenance.facts.get("environment") or {})
    if facts.get("environment") != pinned:
        before = facts.get("environment") or "no environment"
        yield f"the step was pinned to {before}, but locally is pinned to {pinned}"
        return
    extra_count = (facts.pop("extra", None) or {}).get("count", 0)
    known = {it.name: facts[it.name] for it in fields(Drift) if it.name in facts}
    found = Drift(**known, extra={}).differences(extra_counts=False)
    if extra_count:
        found.append(f"{extra_count} packages are not in the lock")
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield f"in the step's environment, {found[0]}{more}"
