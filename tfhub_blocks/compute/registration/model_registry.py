"""The model registry, through MLflow: on this machine SQLite, on Azure ML the workspace."""

from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tfhub_blocks.records.base.digests import file_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.formats.evidence import Evidence

TAG = "tfhub_blocks."
# What is told of a check of latency.
SPEED_TAGS = ("latency_digest", "runtime", "compute_size")


def register(
    model: Folder,
    metadata: Mapping[str, Any],
    evidence: Evidence,
    name: str,
    owner: str,
    trigger_time: str | None = None,
    latency: Evidence | None = None,
) -> dict[str, str]:
    """Register a model; name, version, digest and source of it.

    The same model under the same name is registered once: its version is given again.
    ``trigger_time`` is when the schedule fired that had it made, if one did.
    That the evidence holds, ``registrations`` has checked.
    """
    client = MlflowClient()
    version = _find(client, name, model.digest)
    if version is None:
        tags = _tags(model, metadata, evidence, owner)
        if latency:
            tags |= _speed_tags(latency)
        if trigger_time:
            tags[f"{TAG}trigger_time"] = trigger_time
        version = _create(client, name, model, tags)
    return {
        "name": name,
        "version": str(version.version),
        "digest": model.digest,
        "source": version.source,
        "owner": version.tags.get(f"{TAG}owner", owner),
    }


def version_of(name: str, digest: str) -> str:
    """A registered model as ``name:version``, by its name and its digest.

    Raises:
        BlocksError: No version of that name is this model.
    """
    found = _find(MlflowClient(), name, digest)
    if found is None:
        raise BlocksError(
            "registry",
            name,
            f"it has no version that is the model with digest {digest}",
            "a model that was registered under this name",
            "register it with register_model, or leave the name out",
        )
    return f"{name}:{found.version}"


def _find(client: MlflowClient, name: str, digest: str) -> Any:
    try:
        versions = client.search_model_versions(f"name = '{name}'")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return next((v for v in versions if v.tags.get(f"{TAG}model_digest") == digest), None)


def _create(client: MlflowClient, name: str, model: Folder, tags: Mapping[str, str]) -> Any:
    with mlflow.start_run(run_name=f"register {name}") as run:
        mlflow.set_tags(tags)
        mlflow.log_artifacts(str(model.path), "model")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{run.info.artifact_uri}/model"
    return client.create_model_version(name, source, run.info.run_id, tags=dict(tags))


def _tags(
    model: Folder, metadata: Mapping[str, Any], evidence: Evidence, owner: str
) -> dict[str, str]:
    made = model.lineage.provenance
    digests = {
        "model_digest": model.digest,
        "encoder_digest": metadata["encoder_digest"],
        "snapshot_digest": metadata["snapshot_digest"],
        "code_digest": made.code_digest,
        "environment_digest": made.environment_digest,
        "evidence_digest": evidence.as_statement()["digest"],
        # The end of the chain of statements, which no later statement names.
        "statement_digest": file_sha256(model.path / STATEMENT_NAME),
        "making": model.lineage.making,
    }
    if evidence.comparison:
        digests["champion_digest"] = evidence.comparison.champion
    return {f"{TAG}{key}": value for key, value in digests.items()} | {
        f"{TAG}owner": owner,
        f"{TAG}made_by": made.step,
        f"{TAG}made": made.finished,
    }


def _speed_tags(latency: Evidence) -> dict[str, str]:
    told = {"latency_digest": latency.as_statement()["digest"], **latency.facts}
    return {f"{TAG}{key}": str(told[key]) for key in SPEED_TAGS if told.get(key)}
