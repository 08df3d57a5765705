"""The model registry of MLflow: SQLite in a local run, the workspace on Azure ML."""

# decisions 57 and 73

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tfhub_blocks.compute.step.tracking import tracking_locked
from tfhub_blocks.records.base.digests import file_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder
from tfhub_blocks.records.base.lineage import ALLOWED_FACT, STATEMENT_NAME, TRUSTED_FACT
from tfhub_blocks.records.formats.evidence import Evidence

TAG = "tfhub_blocks."
MOST_CHARACTERS = 4000
# The facts of a latency check that become tags.
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
    """Register a model, and return its name, version, digest and source.

    A model is registered once under a name: for the same model, the existing version is returned.
    ``trigger_time`` is the time at which a schedule started the run, if a schedule did. The caller
    has checked the evidence with ``registration_conditions``.

    Raises:
        BlocksError: The name belongs to another owner.
    """
    # A copy of the version under another name carries a tag that contradicts its name.
    tags = {**_tags(model, metadata, evidence, owner), f"{TAG}registered_as": name}
    if latency:
        tags |= _speed_tags(latency)
    if trigger_time:
        tags[f"{TAG}trigger_time"] = trigger_time
    # The version keeps a copy of its own, so that it stays when the job's outputs are deleted.
    stored = sum((model.path / it).stat().st_size for it in (*model.lineage.files, STATEMENT_NAME))
    tags[f"{TAG}stored_bytes"] = str(stored)
    client = MlflowClient()
    with tracking_locked():
        _check_owner(client, name, owner)
        version = _find(client, name, model.digest) or _create(client, name, model, tags)
    return {
        "name": name,
        "version": str(version.version),
        "digest": model.digest,
        "source": version.source,
        **{
            name: version.tags[f"{TAG}{name}"]
            for name in (ALLOWED_FACT, TRUSTED_FACT)
            if f"{TAG}{name}" in version.tags
        },
        **({"untested": json.dumps(list(evidence.untested))} if evidence.untested else {}),
        "owner": version.tags.get(f"{TAG}owner", owner),
        "stored_bytes": version.tags.get(f"{TAG}stored_bytes", str(stored)),
    }


def version_of(name: str, digest: str) -> str:
    """Return a registered model as ``name:version``, by its name and its digest.

    Raises:
        BlocksError: No version of the name has this digest.
    """
    found = _find(MlflowClient(), name, digest)
    if found is None:
        raise BlocksError(
            "registry",
            name,
            f"no registered version of {name} has digest {digest}",
            "a model that was registered under this name",
            "Register the model with register_model, or leave the name out",
        )
    return f"{name}:{found.version}"


def _find(client: MlflowClient, name: str, digest: str) -> Any:
    versions = _versions(client, name)
    return next((v for v in versions if v.tags.get(f"{TAG}model_digest") == digest), None)


def _versions(client: MlflowClient, name: str) -> list[Any]:
    try:
        return list(client.search_model_versions(f"name = '{name}'"))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return []


def _check_owner(client: MlflowClient, name: str, owner: str) -> None:
    """Check that no version of a model belongs to another owner."""
    # decision 63
    owners = {version.tags.get(f"{TAG}owner", "") for version in _versions(client, name)}
    if others := sorted(owners - {"", owner}):
        raise BlocksError(
            "register_model",
            "owner",
            f"model {name} belongs to owner {others[0]}, and this run is of owner {owner}",
            f"a name that {owner} owns, or a new name",
            f"Set another model_name, or agree with {others[0]} on one owner",
        )


def _create(client: MlflowClient, name: str, model: Folder, tags: Mapping[str, str]) -> Any:
    with mlflow.start_run(run_name=f"register {name}") as run:
        mlflow.set_tags(tags)
        # Exactly the files that the evidence describes, whatever happens to the folder meanwhile.
        with tempfile.TemporaryDirectory() as scratch:
            model.stage(Path(scratch) / "model")
            mlflow.log_artifacts(str(Path(scratch) / "model"), "model")
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
        # No later statement names this one, because it is the end of the chain.
        "statement_digest": file_sha256(model.path / STATEMENT_NAME),
        "making": model.lineage.making,
    }
    if evidence.comparison:
        digests["champion_digest"] = evidence.comparison.champion
    if evidence.items is not None:
        digests["test_items"] = str(evidence.items)
    if operations := made.facts.get(ALLOWED_FACT):
        digests[ALLOWED_FACT] = ", ".join(map(str, operations))[:MOST_CHARACTERS]
    if made.facts.get(TRUSTED_FACT) is True:
        digests[TRUSTED_FACT] = "true"
    # MLflow stores a tag of at most 5,000 characters.
    for key, texts in (("untested", evidence.untested), ("data_warnings", evidence.warnings)):
        if texts:
            digests[key] = json.dumps(list(texts), ensure_ascii=False)[:MOST_CHARACTERS]
    return {f"{TAG}{key}": value for key, value in digests.items()} | {
        f"{TAG}owner": owner,
        f"{TAG}made_by": made.step,
        f"{TAG}made": made.finished,
    }


def _speed_tags(latency: Evidence) -> dict[str, str]:
    facts = {"latency_digest": latency.as_statement()["digest"], **latency.facts}
    return {f"{TAG}{key}": str(facts[key]) for key in SPEED_TAGS if facts.get(key)}
