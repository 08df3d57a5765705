"""Online endpoints: measured models behind Azure ML's server, until an end date."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from azure.ai.ml.entities import (
    CodeConfiguration,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    OnlineRequestSettings,
    ProbeSettings,
)

import tfhub_blocks
from tfhub_blocks.control.deployments.candidates import WHERE
from tfhub_blocks.control.deployments.endpoint_requests import OnlineRequest
from tfhub_blocks.control.deployments.endpoint_settings import OnlineSettings, online_settings
from tfhub_blocks.control.deployments.endpoints import WHAT_TAG
from tfhub_blocks.control.deployments.ownership import check_ours, endpoint_tags, is_so
from tfhub_blocks.control.deployments.reaping import delete_failed
from tfhub_blocks.control.deployments.replayed_requests import asks_of
from tfhub_blocks.control.deployments.rollouts import (
    Rollout,
    end_rollout,
    find_rollout,
    roll_out,
)
from tfhub_blocks.control.deployments.traffic import share_traffic
from tfhub_blocks.control.environments.environment_catalog import find_environments
from tfhub_blocks.control.project.assets import DIGEST_TAG, Asset, environment_asset
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.tags import TAG
from tfhub_blocks.control.workspace.asset_publishing import THERE, Planned, plan, publish
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.patience import again_on_conflict, patiently
from tfhub_blocks.records.base.digests import files_sha256, record_digest, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.environment.code_snapshots import write_program
from tfhub_blocks.records.formats.runtimes import Runtime

SERVING = "tfhub-blocks-serving"
# For models whose runtime needs no TensorFlow (decision 122).
SERVING_OPENVINO = "tfhub-blocks-serving-openvino"
# Read by the entry script, in compute.serving.azure_entry.
TRUST_VARIABLE = "TFHUB_BLOCKS_TRUST_CODE"
_PACKAGE = Path(tfhub_blocks.__file__).parent
_ENTRY = _PACKAGE / "compute" / "serving" / "azure_entry.py"


@dataclass(frozen=True)
class _Prepared:
    """All parts of a deployment, with their digest."""

    request: OnlineRequest
    settings: OnlineSettings
    environment: Asset
    code: Path
    script: str
    digest: str = field(default="")


def serving_environment(profile: Profile, runtime: Runtime) -> Asset:
    """Return the environment of endpoints: the one shipped, or the profile's extension of it.

    A model that needs no TensorFlow gets the environment without TensorFlow, unless the profile
    extends only the other one.

    Raises:
        BlocksError: The environment does not exist, or it extends another one.
    """
    extended = profile.environments
    is_heavy = runtime.tensorflow or (SERVING in extended and SERVING_OPENVINO not in extended)
    shipped = SERVING if is_heavy else SERVING_OPENVINO
    [environment] = find_environments([extended.get(shipped, shipped)])
    definition = environment.definition
    continues = definition.description.continues.rpartition(":")[0]
    if shipped not in (definition.name, continues):
        raise BlocksError(
            "profile",
            f"{profile.name} > environments.{shipped}",
            f"environment {definition.name} extends {continues or 'no environment'}",
            f"an environment that extends {shipped}",
            f"Run `tfhub-blocks env bake ENCODER --onto {shipped}`, and set its name in the"
            " profile",
        )
    return environment_asset(environment)


def deploy_online(
    connection: Connection, request: OnlineRequest, on_change: Callable[[str, str], None]
) -> None:
    """Create or update an endpoint and its deployment as requested.

    The endpoint comes first, with its end date, so that everything that costs money belongs to an
    endpoint with an end. All names derive from the request, so a call that is repeated after a
    failure continues where it stopped.

    Args:
        connection: The workspace.
        request: The request.
        on_change: Called with each item and its new state.

    Raises:
        BlocksError: An endpoint of that name was not deployed by tfhub-blocks or belongs to another
            owner, or Azure refused a request.
    """
    operations = connection.client.online_endpoints
    found = find(WHERE, request.endpoint, operations.get, request.endpoint)
    check_ours(WHERE, request.endpoint, found, request.profile)
    _check_share(request, found)
    with TemporaryDirectory() as scratch:
        prepared = _prepare(request, Path(scratch) / "scoring")
        assets = [prepared.environment]
        if request.candidate.asset is not None:
            assets.append(request.candidate.asset)
        _publish(connection, assets, on_change)
        state = _bring_endpoint(connection, request, found)
        on_change(f"endpoint {request.endpoint}", state)
        _bring_deployment(connection, prepared, on_change)
    rollout = _find_rollout(connection, request) if request.replayed else None
    if rollout is None:
        _bring_traffic(connection, request, on_change)
        return
    ask = asks_of(connection, request.endpoint, WHERE)
    roll_out(connection, rollout, request.replayed, ask, on_change)


def _check_share(request: OnlineRequest, found: Any) -> None:
    """Check that production's traffic does not move to an unchecked deployment at once.

    Raises:
        BlocksError: The profile accepts only release locks, and no requests were passed.
    """
    now = {name: it for name, it in ((found.traffic if found else None) or {}).items() if it}
    others = set(now) - {request.deployment}
    is_more = (request.traffic or 0) > now.get(request.deployment, 0)
    if request.profile.takes == "locks" and others and is_more and not request.replayed:
        raise BlocksError(
            WHERE,
            "--traffic",
            f"profile {request.profile.name} moves traffic from one deployment to another only in"
            " checked steps",
            "requests that both deployments answer",
            "Pass a file of requests with --requests FILE",
        )


def _find_rollout(connection: Connection, request: OnlineRequest) -> Rollout | None:
    target = 100 if request.traffic is None else request.traffic
    if not target:
        return None
    wanted = Rollout(
        endpoint=request.endpoint,
        new=request.deployment,
        target=target,
        limits=request.profile.deployments.rollout,
        budget_ms=request.candidate.runtime.budget.p99_ms,
    )
    operations = connection.client.online_endpoints
    with told(WHERE, f"traffic of {request.endpoint}"):
        endpoint = patiently(lambda: operations.get(request.endpoint), is_new=True)
    rollout = find_rollout(endpoint, wanted)
    if rollout is None or rollout.passed.share >= target:  # less traffic needs no check
        return None
    of_deployments = connection.client.online_deployments
    what = f"deployment {rollout.before}"
    there = find(WHERE, what, of_deployments.get, rollout.before, request.endpoint)
    return rollout if there is not None else None


def _prepare(request: OnlineRequest, folder: Path) -> _Prepared:
    script = write_program(_ENTRY, _PACKAGE, folder)
    environment = serving_environment(request.profile, request.candidate.runtime)
    settings = online_settings(request.candidate.runtime)
    record = {
        "model": request.candidate.reference,
        "digest": request.candidate.digest,
        "environment": environment.reference,
        "code": tree_digest(files_sha256(folder)),
        "machines": [request.size, request.instances],
        "settings": repr(settings),
        **({"trusted_code": True} if request.candidate.trusted_code else {}),
    }
    prepared = _Prepared(request, settings, environment, folder, script)
    return replace(prepared, digest=record_digest(record))


def _publish(
    connection: Connection, assets: list[Asset], on_change: Callable[[str, str], None]
) -> None:
    def tell(item: Planned, state: str) -> None:
        on_change(f"{item.asset.kind} {item.asset.name}:{item.asset.version}", state)

    planned = list(plan(connection, assets))
    for item in planned:
        if item.action == THERE:
            tell(item, item.action)
    publish(connection, planned, tell)


def _bring_endpoint(connection: Connection, request: OnlineRequest, found: Any) -> str:
    tags = endpoint_tags(request.profile, request.end)
    if found is not None and tags.items() <= (found.tags or {}).items():
        return "up to date"
    entity = found or ManagedOnlineEndpoint(name=request.endpoint, auth_mode="aad_token")
    operations = connection.client.online_endpoints

    def change() -> None:
        current = find(WHERE, request.endpoint, operations.get, request.endpoint) or entity
        current.tags = {**(current.tags or {}), **tags}
        operations.begin_create_or_update(current).result()

    with told(WHERE, f"endpoint {request.endpoint}"):
        again_on_conflict(change)
    return "created" if found is None else "changed"


def _bring_deployment(
    connection: Connection, prepared: _Prepared, on_change: Callable[[str, str], None]
) -> None:
    request, operations = prepared.request, connection.client.online_deployments
    what = f"deployment {request.deployment}"
    found = find(WHERE, what, operations.get, request.deployment, request.endpoint)
    if is_so(found, prepared.digest):
        on_change(what, "up to date")
        return
    on_change(what, "in progress, which takes some minutes")
    try:
        with told(WHERE, what):
            entity = _entity(prepared)
            again_on_conflict(lambda: operations.begin_create_or_update(entity).result())
    except BlocksError:
        # Azure bills a failed deployment until it is deleted (decision 88).
        if delete_failed(connection, request.endpoint, request.deployment):
            on_change(what, "failed, and deleted")
        raise
    on_change(what, "created" if found is None else "changed")


def _entity(prepared: _Prepared) -> Any:
    request, settings = prepared.request, prepared.settings
    candidate = request.candidate
    often_s, tries = 10, 6
    return ManagedOnlineDeployment(
        name=request.deployment,
        endpoint_name=request.endpoint,
        model=candidate.reference,
        environment=prepared.environment.reference,
        code_configuration=CodeConfiguration(
            code=str(prepared.code), scoring_script=prepared.script
        ),
        environment_variables=_variables(settings, candidate.trusted_code),
        instance_type=request.size,
        instance_count=request.instances,
        request_settings=OnlineRequestSettings(
            max_concurrent_requests_per_instance=settings.requests,
            request_timeout_ms=settings.timeout_ms,
            max_queue_wait_ms=settings.queue_ms,
        ),
        # The server listens once the model is loaded, so both probes use the same address.
        readiness_probe=ProbeSettings(
            initial_delay=settings.start_s,
            period=often_s,
            timeout=5,
            success_threshold=1,
            failure_threshold=-(-settings.ready_within_s // often_s),
        ),
        liveness_probe=ProbeSettings(
            initial_delay=settings.start_s + settings.ready_within_s,
            period=often_s,
            timeout=5,
            success_threshold=1,
            failure_threshold=tries,
        ),
        tags={
            **endpoint_tags(request.profile, request.end),
            WHAT_TAG: candidate.label,
            DIGEST_TAG: prepared.digest,
            f"{TAG}model_digest": candidate.digest,
            f"{TAG}runtime": candidate.runtime.name,
            **({f"{TAG}trusted_code": "true"} if candidate.trusted_code else {}),
        },
    )


def _variables(settings: OnlineSettings, trusted_code: bool) -> dict[str, str]:
    """Return the variables of one process that loads the model once, with a thread per request.

    Threads let the program batch requests. The server's own workers are processes, each with its
    own model and one request at a time.
    """
    trust = {TRUST_VARIABLE: "true"} if trusted_code else {}
    return {"WORKER_COUNT": "1", "GUNICORN_CMD_ARGS": f"--threads {settings.requests}", **trust}


def _bring_traffic(
    connection: Connection, request: OnlineRequest, on_change: Callable[[str, str], None]
) -> None:
    operations = connection.client.online_endpoints

    def change() -> dict[str, int]:
        endpoint = patiently(lambda: operations.get(request.endpoint), is_new=True)
        now = {name: share for name, share in (endpoint.traffic or {}).items() if share}
        wanted = share_traffic(now, request.deployment, request.traffic)
        is_meant = request.traffic is not None or bool(request.replayed)
        is_ended = is_meant and end_rollout(endpoint, request.deployment)
        if wanted != now or is_ended:
            endpoint.traffic = wanted
            operations.begin_create_or_update(endpoint).result()
        return wanted

    with told(WHERE, f"traffic of {request.endpoint}"):
        wanted = again_on_conflict(change)
    shown = ", ".join(f"{name} {share} %" for name, share in sorted(wanted.items()))
    on_change("traffic", shown or "none yet")
