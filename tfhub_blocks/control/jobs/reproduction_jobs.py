"""A model made again on Azure ML: what is missing for that, its job, and what the job made."""

from collections.abc import Iterator, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from azure.ai.ml import Input, dsl

from tfhub_blocks.control.environments.environment_bakes import move_steps, moved
from tfhub_blocks.control.jobs.submission import TAG, Prepared, SubmissionRequest, prepare_made
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
from tfhub_blocks.control.project.step_graph import OutputOf, read_graph
from tfhub_blocks.control.repository.catalog import component_files
from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan, Work
from tfhub_blocks.control.workspace.asset_publishing import published_digest
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.output_files import fetch_files, output_address
from tfhub_blocks.records.base.digests import files_sha256, record_digest, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME

PLAN_TAG = f"{TAG}reproduces"
STATEMENTS_NAME = "statements"


def missing_there(
    connection: Connection, plan: ReproductionPlan, profile: Profile
) -> Iterator[str]:
    """What a plan needs and a workspace, or this checkout, does not have, a line each.

    Jobs are made of the components of this checkout, so that published ones can be named: they have
    to be of the code that is recorded.

    Raises:
        BlocksError: The workspace could not be asked.
    """
    components: dict[str, Any] = {}
    for work in plan.works.values():
        if work.code is None:
            continue
        component = _own_component(work)
        if component is None:
            yield (
                f"code of {work.name} ({work.step}) in this checkout: it is another than that of "
                f"{work.code.origin}; check out the commit that had it"
            )
            continue
        components[work.step] = moved(component, profile.environments)
        if work.code.role not in profile.roles:
            yield f"role {work.code.role}, which {work.name} has, in profile {profile.name}"
    for component in components.values():
        yield from _missing_for(connection, component, profile)
    roles = {it.code.role for it in plan.works.values() if it.code} & profile.roles.keys()
    for compute in sorted({profile.roles[role].compute for role in roles} - {SERVERLESS}):
        if find("reproduce", f"compute {compute}", connection.client.compute.get, compute) is None:
            remedy = f"tfhub-blocks compute apply --profile {profile.name}"
            yield f"compute {compute} in {connection}: {remedy}"


def _missing_for(connection: Connection, component: Any, profile: Profile) -> Iterator[str]:
    asset, environments = component_asset(component), connection.client.environments
    digest = published_digest(connection, asset)
    is_inline = profile.job is not None and profile.job.components == "inline"
    if digest is None and not is_inline:
        yield f"component {asset.name}:{asset.version} in {connection}: tfhub-blocks publish"
    elif digest not in (None, asset.digest):
        yield f"component {asset.name}:{asset.version} in {connection}: it has other content there"
    name, _, version = str(component.environment).removeprefix("azureml:").partition(":")
    what = f"environment {name}:{version}"
    if find("reproduce", what, environments.get, name, version) is None:
        yield f"{what} in {connection}: tfhub-blocks publish"


def _own_component(work: Work) -> Any:
    """The component of this checkout, if its code is the recorded one; else None."""
    if work.code is None or work.step not in component_files():
        return None
    [component] = load_components([work.step])
    recorded = tree_digest(files_sha256(work.code.folder))
    return component if component_code_digest(component) == recorded else None


def plan_digest(plan: ReproductionPlan) -> str:
    """The digest of all that a plan does, by which a job is known to be of it."""
    works = {
        name: {
            "step": work.step,
            "code": tree_digest(files_sha256(work.code.folder)) if work.code else "",
            "texts": work.texts,
            "inputs": {port: str(value) for port, value in work.inputs.items()},
            "recorded": {port: it.digest for port, it in work.recorded.items()},
        }
        for name, work in plan.works.items()
    }
    return record_digest(works)


def prepare_plan(connection: Connection, plan: ReproductionPlan, profile: Profile) -> Prepared:
    """The job of a plan from which nothing is missing: each step runs, whatever is cached there.

    What no step made is sent, as ``submit`` sends data of this machine.

    Raises:
        BlocksError: As ``prepare_made``.
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
    if profile.environments:
        move_steps(job, profile.environments)
    request = SubmissionRequest(name, (), {}, reuse=False, tags={PLAN_TAG: plan_digest(plan)})
    return prepare_made(connection, request, profile, job, read_graph(job, name, given), given)


def _build(
    name: str, plan: ReproductionPlan, components: Mapping[str, Any], types: Mapping[str, str]
) -> Any:
    """The pipeline of a plan, with an input for all data that no step makes."""

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
    # What the decorator reads: it knows no inputs that are only counted when it is called.
    steps.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(key, Parameter.KEYWORD_ONLY, annotation=port) for key, port in ports.items()]
    )
    steps.__annotations__ = ports
    return dsl.pipeline(name=name)(steps)


def check_job(job: Job, plan: ReproductionPlan) -> None:
    """See that a job is one that makes the model of a plan again.

    Raises:
        BlocksError: It is another, or there is none.
    """
    with told("reproduce", job.name):
        tags = job.connection.client.jobs.get(job.name).tags or {}
    if tags.get(PLAN_TAG) != plan_digest(plan):
        raise BlocksError(
            "reproduce",
            f"--job {job.name}",
            f"it does not do what makes {plan.title} again",
            "a job that this command sent for the same model, of which nothing changed here since",
            "leave --job out, to send another",
        )


def fetch_made(job: Job, plan: ReproductionPlan, record: RunRecord, folder: Path) -> RunRecord:
    """The record of a job that has ended, with where its outputs are here, if it completed.

    Of each only its statement is fetched, below ``folder/statements``; all of it if it is not what
    was recorded, or carries no statement.

    Raises:
        BlocksError: An output cannot be fetched.
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
    """Fetch what an output says of itself into ``folder/NAME``; None if it carries no statement."""
    jobs, target = job.connection.client.jobs, folder / name
    with told("reproduce", f"{job.name} > {name}"):
        if address := output_address(jobs, job.name, name):
            fetch_files(jobs, f"{address.rstrip('/')}/{STATEMENT_NAME}", target)
    return target if (target / STATEMENT_NAME).is_file() else None


def _steps(plan: ReproductionPlan) -> set[str]:
    return {work.step for work in plan.works.values()}


def _name(node: str, port: str) -> str:
    return f"{node}__{port}"
