"""Submission: the job of a pipeline and a profile, sent exactly once."""

# decisions 18 and 65

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from azure.ai.ml import Output

from tfhub_blocks.control.costs.cost_budgets import refuse_above_budget
from tfhub_blocks.control.costs.job_records import JobCosts, begin_record
from tfhub_blocks.control.costs.prices import load_prices
from tfhub_blocks.control.costs.reuse_forecast import step_keys
from tfhub_blocks.control.jobs.open_data import open_data
from tfhub_blocks.control.jobs.release_checks import check_assets
from tfhub_blocks.control.lineage.local_registrations import Registration, own_tags
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.lineage.withdrawn_outputs import (
    refuse_withdrawn_inputs,
    refuse_withdrawn_lock,
    refuse_withdrawn_tags,
)
from tfhub_blocks.control.project.assets import Asset, component_asset
from tfhub_blocks.control.project.instance_counts import instance_count
from tfhub_blocks.control.project.job_furnishing import Furnishing, furnish_job
from tfhub_blocks.control.project.job_reading import lost_outputs
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.profiles import SERVERLESS, JobSettings, Profile
from tfhub_blocks.control.project.reachable_thresholds import check_given_snapshots
from tfhub_blocks.control.project.run_requests import prepare_draft, prepare_job
from tfhub_blocks.control.project.step_graph import Graph, Node, job_nodes, refuse_secrets
from tfhub_blocks.control.project.tags import OPEN_TAG, TAG
from tfhub_blocks.control.project.withdrawal_files import withdrawn_variables
from tfhub_blocks.control.releases.release_names import replay_settings
from tfhub_blocks.control.releases.release_replay import check_resolution, expectations
from tfhub_blocks.control.releases.sent_jobs import check_sent
from tfhub_blocks.control.repository.catalog import MODEL_TYPES
from tfhub_blocks.control.workspace.asset_publishing import published_digest
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.intents import intent
from tfhub_blocks.control.workspace.owners import check_asset_owner, check_owner, owner_in
from tfhub_blocks.control.workspace.uploads import Uploads, staged
from tfhub_blocks.control.workspace.workspace_clusters import check_fixed
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.formats.locked_expectations import VARIABLE as EXPECTED_VARIABLE
from tfhub_blocks.records.formats.releases import ReleaseLock

# A tag of a workspace: "locks" makes it accept only release locks, whichever profile is used.
TAKES_TAG = f"{TAG}takes"
INTENTS_NAME = "intents"
# The chains of local outputs that are inputs of a job.
_RUNS = Path(".runs")


@dataclass(frozen=True)
class SubmissionRequest:
    """A request to submit a pipeline, with its settings and the names to register outputs under.

    With a release ``lock`` all values come from the lock. In a request that ``is_open`` missing
    inputs stay open, to be passed to each job later. ``tags`` are added to the job.
    """

    pipeline: str
    settings: tuple[str, ...]
    register: Mapping[str, str]
    reuse: bool = True
    lock: ReleaseLock | None = None
    is_open: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_lock(cls, lock: ReleaseLock, reuse: bool = True) -> "SubmissionRequest":
        """Return the request that replays a lock.

        A job with an open input runs every step: Azure ML would reuse the outputs of an earlier
        version, because the address of the versions stays the same.
        """
        return cls(lock.pipeline, replay_settings(lock), {}, reuse and not lock.open, lock)


@dataclass(frozen=True)
class Prepared:
    """A job ready to be sent: the SDK's object, and the digest of everything that it depends on.

    ``registered`` maps each output to register to its type and the asset's name. ``given`` contains
    each input's value; open inputs are absent. ``costs`` is the basis of the job's cost record.
    """

    pipeline: str
    job: Any
    registered: Mapping[str, tuple[str, str]]
    digest: str
    costs: JobCosts
    given: Mapping[str, Any] = field(default_factory=dict)

    def with_outputs(self, version: str | None) -> Any:
        """Return the job, registering its outputs under a version; None lets Azure ML count."""
        for output, (kind, asset) in self.registered.items():
            self.job.outputs[output] = Output(type=kind, name=asset, version=version)
        return self.job


def prepare(connection: Connection, request: SubmissionRequest, profile: Profile) -> Prepared:
    """Return the job of a pipeline and a profile, after finding all its assets in the workspace.

    Raises:
        BlocksError: The request or the profile is invalid, or the workspace lacks an asset or a
            cluster.
    """
    lock = request.lock
    _job_settings(profile)  # report a local profile before any fault of the inputs
    if lock is None:
        profile.refuse_unlocked("submit", request.pipeline)
    else:
        profile = replace(profile, inputs={})
    make = prepare_draft if request.is_open else prepare_job
    job, graph, given = make(request.pipeline, request.settings, profile)
    if lock:
        refuse_withdrawn_lock("submit", lock)
        check_resolution(lock, job, graph)
    return prepare_made(connection, request, profile, job, graph, given)


def prepare_made(
    connection: Connection,
    request: SubmissionRequest,
    profile: Profile,
    job: Any,
    graph: Graph,
    given: dict[str, Any],
) -> Prepared:
    """Prepare a job from a pipeline job that was already built, with its graph and its inputs.

    Raises:
        BlocksError: The profile does not fit, or the workspace lacks an asset or a cluster.
    """
    lock, settings = request.lock, _job_settings(profile)
    _refuse_unsent(job, request.pipeline)
    refuse_secrets(graph)
    refuse_withdrawn_inputs("submit", graph, Archive(_RUNS))
    if lock:
        settings = _settings_of(lock, settings)
    refuse_above_budget(graph, profile)
    check_given_snapshots(graph, "submit")
    # Before the nodes get their resources, because these may show up in their components.
    steps = {node.component: node.entity for node in graph.nodes.values()}
    assets = {name: component_asset(step, profile.publish) for name, step in steps.items()}
    registered = dict(_registered(graph, request))
    tags = request.tags
    furnish_job(job, graph, Furnishing(request.pipeline, profile, settings, request.reuse, tags))
    if lock:
        _promise(job, lock, graph, profile)
    with told("submit", request.pipeline):
        job._validate(raise_error=True)
    if lock:
        check_sent(lock, job, profile)
    _check_computes(connection, profile, graph, clusters_only=lock is not None)
    if profile.takes != "locks":
        refuse_locks_only(connection, profile)
    for kind, name in registered.values():
        asset_kind = "model" if kind in MODEL_TYPES else "data"
        check_asset_owner(connection, "submit", asset_kind, name, settings.owner)
    if lock:
        check_assets(connection, lock, steps, profile.publish.prefix)
        published = dict.fromkeys(assets, True)
    else:
        _check_inputs(connection, job, given)
        published = {n: _is_published(connection, it, settings) for n, it in assets.items()}
    _name_components(connection, job, graph, assets, published)
    uploads, content = Uploads(connection), cache(content_digest)
    if lock and lock.open:
        open_data(connection, uploads, lock, job)
    for name, value in given.items():
        if isinstance(value, Path):
            with staged(value, content(value)) as copy:
                given[name] = job.inputs[name].path = uploads.send(copy, content(value))
    record = {
        "workspace": [connection.client.subscription_id, connection.name],
        "pipeline": request.pipeline,
        "profile": repr(profile),
        "reuse": request.reuse,
        "given": {key: str(value) for key, value in given.items()},
        "register": dict(request.register),
        "components": {name: assets[node.component].digest for name, node in graph.nodes.items()},
        "instances": {name: instance_count(node, profile) for name, node in graph.nodes.items()},
        "lock": lock.digest if lock else "",
        **({"open": True} if request.is_open else {}),
        **({"client_id": settings.client_id} if settings.client_id else {}),
        **({"prefix": profile.publish.prefix} if profile.publish.prefix else {}),
        **({"tags": dict(request.tags)} if request.tags else {}),
        **({"withdrawn": it} if (it := withdrawn_variables("submit")) else {}),
    }
    digests = {name: asset.digest for name, asset in assets.items()}
    costs = JobCosts(graph, profile, step_keys(graph, profile, digests, content))
    return Prepared(request.pipeline, job, registered, record_digest(record), costs, given)


def _refuse_unsent(job: Any, pipeline: str) -> None:
    """Check that Azure ML gets the whole pipeline, and writes each of its outputs."""
    inner = sorted({name.partition(".")[0] for name in job_nodes(job) if "." in name})
    if inner:
        raise BlocksError(
            "submit",
            pipeline,
            f"{', '.join(inner)} of pipeline {pipeline} is a pipeline itself, which tfhub-blocks"
            " runs locally and does not submit yet",
            "a pipeline of steps",
            f"Run it with `tfhub-blocks run {pipeline}`, or submit it with azure-ai-ml",
        )
    if lost := lost_outputs(job):
        raise BlocksError(
            "submit",
            ", ".join(lost),
            f"pipeline {pipeline} returns an output of a step twice, and Azure ML writes it under"
            f" the last name only, so {', '.join(lost)} would be empty",
            "one name for each output of a step",
            f"Remove {', '.join(lost)} from what {pipeline} returns",
        )


def _job_settings(profile: Profile) -> JobSettings:
    if profile.engine != "azureml" or profile.job is None:
        raise BlocksError(
            "profile",
            profile.name,
            f"profile {profile.name} has engine {profile.engine}",
            'a profile with engine = "azureml"',
            "Pass one with --profile, or run the pipeline locally with `tfhub-blocks run`",
        )
    return profile.job


def _settings_of(lock: ReleaseLock, settings: JobSettings) -> JobSettings:
    """Return the settings of a job that replays a lock; the lock names the owner."""
    return replace(settings, owner=lock.owner, cost_centre=lock.cost_centre or settings.cost_centre)


def _promise(job: Any, lock: ReleaseLock, graph: Graph, profile: Profile) -> None:
    """Pass every step its expectations from the lock, and tag the job with the lock."""
    job.tags |= {f"{TAG}lock": lock.name, f"{TAG}lock_digest": lock.digest}
    job.tags |= {f"{TAG}commit": lock.commit}
    for opened in (lock.open or {}).values():
        job.tags[OPEN_TAG] = f"{opened.name}:{opened.rule}"
    withdrawn = withdrawn_variables("submit")
    for name, expected in expectations(lock, graph, profile).items():
        variables = {EXPECTED_VARIABLE: expected.as_text()}
        own = dict(graph.nodes[name].environment_variables)
        given = {**own, **profile.policies, **withdrawn, **variables}
        job_nodes(job)[name].environment_variables = given


def _registered(graph: Graph, request: SubmissionRequest) -> Iterator[tuple[str, tuple[str, str]]]:
    for output, name in request.register.items():
        if output not in graph.outputs:
            raise BlocksError(
                "submit",
                f"--register {output}={name}",
                f"pipeline {request.pipeline} has no output {output!r}",
                "one of " + ", ".join(graph.outputs),
                nearest(output, graph.outputs) or f"Pass --register OUTPUT={name}",
            )
        source = graph.outputs[output]
        yield output, (graph.nodes[source.node].output_types[source.port], name)


def _check_computes(
    connection: Connection, profile: Profile, graph: Graph, clusters_only: bool
) -> None:
    """Check that each cluster exists and has enough nodes for its largest step."""
    wanted: dict[str, Node] = {}
    for node in sorted(graph.nodes.values(), key=lambda node: instance_count(node, profile)):
        wanted[profile.roles[node.role].compute] = node
    wanted.pop(SERVERLESS, None)
    for name, node in sorted(wanted.items()):
        found = find("submit", f"compute {name}", connection.client.compute.get, name)
        if found is None:
            raise BlocksError(
                "submit",
                f"compute {name}",
                f"workspace {connection.name} has no compute {name!r}",
                "a cluster of that name",
                f"Run `tfhub-blocks compute apply --profile {profile.name}`",
            )
        check_owner("submit", f"cluster {name}", found, owner_in(profile))
        if clusters_only and found.type.lower() == "computeinstance":
            raise BlocksError(
                "submit",
                f"compute {name}",
                f"{name} is a compute instance, a user's own machine that does not end by itself",
                "a cluster",
                f"Delete or rename the instance, or rename the compute {name} in {profile.path};"
                f" then run `tfhub-blocks compute apply --profile {profile.name}`",
            )
        count, most = instance_count(node, profile), getattr(found, "max_instances", None)
        if most is not None and count > int(most):
            raise BlocksError(
                "submit",
                f"compute {name}",
                f"step {node.name} needs {count} nodes, but {name} has at most {most}",
                f"max_nodes of {count} or more, or a smaller instance_count",
                f"Edit {profile.path}, and run"
                f" `tfhub-blocks compute apply --profile {profile.name}`",
            )
        if profile.budget and name in profile.clusters:
            # Otherwise the ceiling that met the budget was computed for another machine.
            check_fixed("submit", name, profile.clusters[name], found)
            _check_region(name, profile, found)


def refuse_locks_only(connection: Connection, profile: Profile) -> None:
    """Check that the workspace's tag does not restrict it to release locks.

    Raises:
        BlocksError: The workspace accepts only release locks, or Azure did not answer.
    """
    if takes_locks(connection, "submit"):
        raise BlocksError(
            "submit",
            f"workspace {connection.name}",
            f"workspace {connection.name} accepts only release locks, but profile {profile.name}"
            f" sends {profile.takes}",
            'a profile with takes = "locks"',
            "Pass one with --profile, or another workspace with --workspace-config",
        )


def takes_locks(connection: Connection, where: str) -> bool:
    """Return True if the workspace's tag restricts it to release locks.

    Raises:
        BlocksError: Azure did not answer.
    """
    found = find(where, connection.name, connection.client.workspaces.get, connection.name)
    return found is not None and (found.tags or {}).get(TAKES_TAG) == "locks"


def _check_region(name: str, profile: Profile, found: Any) -> None:
    """Check that a cluster is in the region whose prices were used."""
    priced = profile.clusters[name].location or load_prices().region
    actual = str(found.location or priced)
    if actual.replace(" ", "").casefold() != priced.replace(" ", "").casefold():
        raise BlocksError(
            "submit",
            f"compute {name}",
            f"cluster {name} is in {actual}, but its cost was computed with prices of {priced}",
            f"prices of {actual}",
            f"Run `tfhub-blocks cost refresh --region {actual} --default`",
        )


def _check_inputs(connection: Connection, job: Any, given: Mapping[str, Any]) -> None:
    """Check that each data or model asset among the inputs exists where the SDK looks for it."""
    client = connection.client
    for name, value in given.items():
        reference = str(value).removeprefix("azureml:")
        if not str(value).startswith("azureml:") or reference.startswith("//"):
            continue
        asset, colon, version = reference.rpartition(":")
        if not colon:
            raise BlocksError(
                "submit",
                name,
                f"{value} does not name a version",
                "azureml:NAME:VERSION",
                f"Set {name} to {value}:VERSION, with a version from Studio > Data or Models",
            )
        operations = client.models if job.inputs[name].type in MODEL_TYPES else client.data
        found = find("submit", name, operations.get, asset, version)
        if found is not None and operations is client.models:
            tags = own_tags(found.tags)
            model = Registration(asset, version, Path(asset), tags, "", connection.name)
            refuse_withdrawn_tags("submit", name, model)
        if found is None:
            raise BlocksError(
                "submit",
                name,
                f"workspace {connection.name} has no {value}",
                "an existing version",
                "Look up the version in Studio > Data or Models, or publish data with"
                " `tfhub-blocks publish --data NAME=PATH`",
            )


def _name_components(
    connection: Connection,
    job: Any,
    graph: Graph,
    assets: Mapping[str, Asset],
    published: Mapping[str, bool],
) -> None:
    """Replace nodes' components by references to published ones; others travel with the job."""
    for name, node in graph.nodes.items():
        if published[node.component]:
            job_nodes(job)[name]._component = assets[node.component].reference
    pinned = {node.environment for node in graph.nodes.values() if not published[node.component]}
    for environment in sorted(pinned):
        name, _, version = environment.removeprefix("azureml:").partition(":")
        with told("submit", f"environment {name}:{version}"):
            connection.client.environments.get(name, version)


def _is_published(connection: Connection, asset: Asset, settings: JobSettings) -> bool:
    digest = published_digest(connection, asset)
    if digest == asset.digest:
        return True
    if digest is None and settings.components == "inline":
        return False
    what = f"component {asset.name}:{asset.version}"
    problem = "is not published" if digest is None else "has different content"
    raise BlocksError(
        "submit",
        what,
        f"{what} {problem} in workspace {connection.name}",
        "the local content",
        "Run `tfhub-blocks publish`",
    )


def submit(connection: Connection, prepared: Prepared, runs_dir: Path) -> Any:
    """Send a job, and return Azure ML's object of it.

    If the outcome of an interrupted submission is unknown, the same request within an hour
    continues it, so that only one job exists.

    Raises:
        BlocksError: Azure refused a request.
    """
    new = f"{prepared.pipeline}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
    kept = intent(runs_dir / INTENTS_NAME, prepared.digest[:40], new)
    with kept as (name, is_new):
        jobs = connection.client.jobs
        if not is_new and (found := find("submit", name, jobs.get, name)):
            begin_record(name, prepared.costs, runs_dir)
            return found
        # A separate version for the registered outputs, known before the job exists.
        job = prepared.with_outputs(name.removeprefix(f"{prepared.pipeline}-"))
        job.name = name
        with told("submit", name):
            # The SDK's validation has run already, and would query each node's compute again.
            made = jobs.create_or_update(job, skip_validation=True)
        begin_record(name, prepared.costs, runs_dir)
        return made
