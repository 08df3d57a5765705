"""Reproduction of a model on Azure ML: missing parts, the job, and its outputs."""

from collections.abc import Iterator, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from azure.ai.ml import Input, dsl

from tfhub_blocks.control.environments.environment_bakes import moved
from tfhub_blocks.control.jobs.submission import Prepared, SubmissionRequest, prepare_made
from tfhub_blocks.control.jobs.submitted_jobs import Job
from tfhub_blocks.control.lineage.recorded_output import read_output
from tfhub_blocks.control.project.assets import (
    component_asset,
    component_code_digest,
    load_components,
    typed,
)
from tfhub_blocks.control.project.profiles import SERVERLESS, Profile
from tfhub_blocks.control.project.run_records import COMPLETED, RunRecord
from tfhub_blocks.control.project.run_requests import read_prepared
from tfhub_blocks.control.project.step_graph import OutputOf
from tfhub_blocks.control.project.tags import TAG
from tfhub_blocks.control.repository.catalog import component_files
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan, Work
from tfhub_blocks.control.workspace.asset_publishing import published_digest
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.output_files import fetch_files, output_address
from tfhub_blocks.records.base.digests import (
    CACHE_FOLDERS,
    record_digest,
    sources_sha256,
    tree_digest,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME

PLAN_TAG = f"{TAG}reproduces"
STATEMENTS_NAME = "statements"


def missing_there(
    connection: Connection, plan: ReproductionPlan, profile: Profile
) -> Iterator[str]:
    """Yield a line for each part that a plan needs and the workspace or this checkout lacks.

    Jobs are built from the components of this checkout, so that published ones can be named. Their
    code must be the recorded code.

    Raises:
        BlocksError: The workspace did not answer.
    """
    components: dict[str, Any] = {}
    for work in plan.works.values():
        if work.code is None:
            continue
        component = _own_component(work)
        if component is None:
            yield (
                f"code of {work.name} ({work.step}) in this checkout differs from that of "
                f"{work.code.origin}; check out the commit with that code"
            )
            continue
        components[work.step] = moved(component, profile.environments)
        if work.code.role not in profile.roles:
            yield f"role {work.code.role} of {work.name} in profile {profile.name}"
    for component in components.values():
        yield from _missing_for(connection, component, profile)
    roles = {it.code.role for it in plan.works.values() if it.code} & profile.roles.keys()
    for compute in sorted({profile.roles[role].compute for role in roles} - {SERVERLESS}):
        if find("reproduce", f"compute {compute}", connection.client.compute.get, compute) is None:
            remedy = f"run `tfhub-blocks compute apply --profile {profile.name}`"
            yield f"compute {compute} in {connection}; {remedy}"


def _missing_for(connection: Connection, component: Any, profile: Profile) -> Iterator[str]:
    asset = component_asset(component, profile.publish)
    environments = connection.client.environments
    digest = published_digest(connection, asset)
    is_inline = profile.job is not None and profile.job.components == "inline"
    if digest is None and not is_inline:
        remedy = "run `tfhub-blocks publish`"
        yield f"component {asset.name}:{asset.version} in {connection}; {remedy}"
    elif digest not in (None, asset.digest):
        problem = "the version there has different content"
        yield f"component {asset.name}:{asset.version} in {connection}; {problem}"
    name, _, version = str(component.environment).removeprefix("azureml:").partition(":")
    what = f"environment {name}:{version}"
    if find("reproduce", what, environments.get, name, version) is None:
        yield f"{what} in {connection}; run `tfhub-blocks publish`"


def _own_component(work: Work) -> Any:
    """Return the component of this checkout if its code is the recorded code; else None."""
    if work.code is None or work.step not in component_files():
        return None
    [component] = load_components([work.step])
    recorded = tree_digest(sources_sha256(work.code.folder, omit=CACHE_FOLDERS))
    return component if component_code_digest(component) == recorded else None


def plan_digest(plan: ReproductionPlan) -> str:
    """Return the digest of a complete plan, by which its job is recognized."""
    works = {
        name: {
            "step": work.step,
            "code": tree_digest(sources_sha256(work.code.folder, omit=CACHE_FOLDERS))
            if work.code
            else "",
            "texts": work.texts,
            "inputs": {port: str(value) for port, value in work.inputs.items()},
            "recorded": {port: it.digest for port, it in work.recorded.items()},
        }
        for name, work in plan.works.items()
    }
    return record_digest(works)


def prepare_plan(connection: Connection, plan: ReproductionPlan, profile: Profile) -> Prepared:
    """Return the job of a complete plan, in which each step runs even if its output is cached.

    Inputs that no step writes are uploaded, as ``submit`` uploads local data.

    Raises:
        BlocksError: The profile does not fit, or the workspace lacks an asset or a cluster.
    """
    name = f"reproduce_{plan.works[plan.model.node].step}"
    components = {step: load_components([step])[0] for step in _steps(plan)}
    given = {
        _name(work.name, port): value
        for work in plan.works.values()
        for port, value in work.inputs.items()
        if isinstance(value, Path)
    }
    types = {
        _name(work.name, port): components[work.step].inputs[port].type
        for work in plan.works.values()
        for port in work.inputs
    }
    job = _build(name, plan, components, {key: types[key] for key in given})(
        **{key: Input(type=types[key], path=str(value)) for key, value in given.items()}
    )
    request = SubmissionRequest(name, (), {}, reuse=False, tags={PLAN_TAG: plan_digest(plan)})
    graph = read_prepared(job, name, given, profile)
    return prepare_made(connection, request, profile, job, graph, given)


def _build(
    name: str, plan: ReproductionPlan, components: Mapping[str, Any], types: Mapping[str, str]
) -> Any:
    """Return the pipeline of a plan, with an input for all data that no step writes."""

    def steps(**given: Any) -> dict[str, Any]:
        nodes: dict[str, Any] = {}
        for work in plan.works.values():
            ports = components[work.step].inputs
            inputs = {port: typed(ports[port].type, text) for port, text in work.texts.items()}
            for port, value in work.inputs.items():
                inputs[port] = (
                    nodes[value.node].outputs[value.port]
                    if isinstance(value, OutputOf)
                    else given[_name(work.name, port)]
                )
            nodes[work.name] = components[work.step](**inputs)
            nodes[work.name].name = work.name
        return {
            _name(work.name, port): nodes[work.name].outputs[port]
            for work in plan.works.values()
            for port in work.recorded
        }

    ports = {key: Input(type=kind) for key, kind in types.items()}
    # The decorator reads the inputs from the signature, so they must be known before the call.
    steps.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(key, Parameter.KEYWORD_ONLY, annotation=port) for key, port in ports.items()]
    )
    steps.__annotations__ = ports
    return dsl.pipeline(name=name)(steps)


def check_job(job: Job, plan: ReproductionPlan) -> None:
    """Check that a job reproduces the model of a plan.

    Raises:
        BlocksError: The job is another one, or does not exist.
    """
    with told("reproduce", job.name):
        tags = job.connection.client.jobs.get(job.name).tags or {}
    if tags.get(PLAN_TAG) != plan_digest(plan):
        raise BlocksError(
            "reproduce",
            f"--job {job.name}",
            f"job {job.name} does not reproduce {plan.title}",
            "a job that this command sent for the same model, from unchanged records",
            "Leave out --job to submit a new job",
        )


def fetch_made(job: Job, plan: ReproductionPlan, record: RunRecord, folder: Path) -> RunRecord:
    """Return the record of a job that has ended, with local paths of its outputs if it completed.

    For each output only the statement is downloaded, below ``folder/statements``. The complete
    output is downloaded if its digest differs from the recorded one or if it has no statement.

    Raises:
        BlocksError: An output cannot be downloaded.
    """
    for work in plan.works.values():
        for port, then in work.recorded.items() if record.status == COMPLETED else ():
            name = _name(work.name, port)
            path = _fetch_statement(job, name, folder / STATEMENTS_NAME)
            if path is None or then.output is None or read_output(path).digest != then.digest:
                kind = work.code.output_types[port] if work.code else "uri_folder"
                path = job.download(name, kind, folder)
            record.steps[work.name].outputs[port] = str(path)
    return record


def _fetch_statement(job: Job, name: str, folder: Path) -> Path | None:
    """Download an output's statement into ``folder/NAME``; return None if the output has none."""
    jobs, target = job.connection.client.jobs, folder / name
    with told("reproduce", f"{job.name} > {name}"):
        if address := output_address(jobs, job.name, name):
            fetch_files(jobs, f"{address.rstrip('/')}/{STATEMENT_NAME}", target)
    return target if (target / STATEMENT_NAME).is_file() else None


def _steps(plan: ReproductionPlan) -> set[str]:
    return {work.step for work in plan.works.values()}


def _name(node: str, port: str) -> str:
    return f"{node}__{port}"
