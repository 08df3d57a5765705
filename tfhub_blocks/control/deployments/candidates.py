"""Models that may be deployed online: registered, unchanged, measured, and pinned for real time."""

# decisions 65 and 68

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from azure.ai.ml.entities import Model

from tfhub_blocks.control.lineage.local_registrations import (
    Registration,
    find_registration,
    own_tags,
    registered,
)
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.lineage.withdrawn_outputs import (
    refuse_withdrawn_model,
    refuse_withdrawn_target,
)
from tfhub_blocks.control.project.assets import DIGEST_TAG, VERSION_DIGITS, Asset
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.tags import TAG
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection, connect
from tfhub_blocks.control.workspace.promoted_models import find_place
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats.foreign_code import check_trusted
from tfhub_blocks.records.formats.models import MODEL
from tfhub_blocks.records.formats.runtimes import Runtime, read_runtime
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

WHERE = "deploy online"
_GATE = "Run the pipeline latency_gate, which measures a model as it is served and registers it"
_ASSET = re.compile(r"azureml:(?P<name>[^/:@]+):(?P<version>[^/:@]+)")


@dataclass(frozen=True)
class DeploymentCandidate:
    """A registered model that may be deployed online.

    ``reference`` is the model's name in Azure ML. ``asset`` must be published first; None if the
    model is published already. ``size`` is the machine on which ``runtime`` was measured.
    """

    label: str
    name: str
    digest: str
    runtime: Runtime
    size: str
    reference: str
    asset: Asset | None = field(repr=False)
    trusted_code: bool = False


@contextmanager
def open_candidate(
    text: str, connection: Connection, profile: Profile, runs_dir: Path, trust_code: bool = False
) -> Iterator[DeploymentCandidate]:
    """Open a model of the local registry (MODEL or MODEL:VERSION), or azureml:NAME:VERSION.

    The model's files are read in full. Files from the workspace are downloaded for that and deleted
    afterwards.

    Raises:
        BlocksError: The model does not exist, changed since its registration, is not pinned for
            real time, or has no latency evidence; or the profile requires a promoted model.
    """
    with TemporaryDirectory() as scratch:
        is_asset = text.startswith("azureml:")
        found = (
            _of_workspace(text, connection, Path(scratch)) if is_asset else _of_here(text, runs_dir)
        )
        _refuse_withdrawn(text, found, runs_dir)
        is_foreign = _is_foreign(found.folder)
        if is_foreign:
            remedy = "Review this code, then pass --trust-code"
            check_trusted(found.folder, trust_code, WHERE, remedy, text)
        runtime = _measured(text, found.folder, found.tags)
        asset = None if found.is_there else _asset(found)
        reference = f"azureml:{found.name}:{found.version}"
        if profile.takes == "locks":
            asset, reference = None, _promoted(text, found, connection, profile)
        size = found.tags.get("compute_size") or runtime.compute_size
        if not size:
            problem = "the model's tags do not state on which machine its latency was measured"
            raise _refused(text, problem, "a machine size", _GATE)
        yield DeploymentCandidate(
            label=found.label,
            name=found.name,
            digest=found.digest,
            runtime=runtime,
            size=size,
            reference=reference,
            asset=asset,
            trusted_code=is_foreign,
        )


@dataclass(frozen=True)
class _Found:
    """A registered model from either registry; ``tags`` are the project's, without their prefix."""

    label: str
    name: str
    version: str
    folder: Path
    tags: Mapping[str, str]
    digest: str
    is_there: bool


def _is_foreign(folder: Path) -> bool:
    """Return True if tfhub-blocks did not build the model, by its statement."""
    statement = folder / STATEMENT_NAME
    return not (statement.is_file() and read_lineage(folder).format == str(MODEL))


def _refuse_withdrawn(text: str, found: _Found, runs_dir: Path) -> None:
    """Refuse a model that depends on something withdrawn, or whose tags state a withdrawal."""
    if not found.is_there:
        refuse_withdrawn_target(WHERE, text, Archive(runs_dir))
        return
    version = Registration(found.name, found.version, found.folder, found.tags)
    refuse_withdrawn_model(WHERE, text, version)


def _of_here(text: str, runs_dir: Path) -> _Found:
    registration = find_registration(runs_dir, text, WHERE)
    if registration is None:
        known = [it.name for it in registered(runs_dir)]
        raise _refused(
            text,
            f"{text} is not a registered model in {runs_dir}",
            "MODEL or MODEL:VERSION, or azureml:NAME:VERSION of the workspace",
            nearest(text, known) or _GATE,
        )
    digest = _check_content(text, registration.source, registration.tags)
    name, version = registration.name, digest[:VERSION_DIGITS]
    label = str(registration)
    return _Found(label, name, version, registration.source, registration.tags, digest, False)


def _of_workspace(text: str, connection: Connection, scratch: Path) -> _Found:
    match = _ASSET.fullmatch(text)
    if match is None:
        problem = f"{text} does not name an exact version"
        remedy = "Pass azureml:NAME:VERSION with a version from Studio > Models"
        raise _refused(text, problem, "", remedy)
    name, version = match["name"], match["version"]
    found = find(WHERE, text, connection.client.models.get, name, version)
    if found is None:
        problem = f"workspace {connection.name} has no model {name}:{version}"
        raise _refused(
            text, problem, "an existing version", "Look up the versions in Studio > Models"
        )
    with told(WHERE, text):
        connection.client.models.download(name, version, download_path=str(scratch))
    folders = [path.parent for path in sorted(scratch.rglob("MLmodel"))]
    tags = own_tags(found.tags)
    digest = _check_content(text, folders[0] if folders else scratch, tags)
    return _Found(f"{name}:{version}", name, version, folders[0], tags, digest, True)


def _check_content(text: str, folder: Path, tags: Mapping[str, str]) -> str:
    """Return the digest of a model's files, which must be the digest of its registration."""
    registered_digest = tags.get("model_digest", "")
    digest = content_digest(folder) if folder.is_dir() else "missing, because its files are gone"
    if digest != registered_digest:
        raise _refused(
            text,
            f"the model's digest is {digest}, but its registration states"
            f" {registered_digest or 'none'}",
            "the files that register_model registered",
            "Find out who changed the files, and register the model again",
        )
    return digest


def _measured(text: str, folder: Path, tags: Mapping[str, str]) -> Runtime:
    """Return the runtime of a model that is pinned for real time and passed its latency check."""
    if (folder / PIN_NAME).is_file():
        decided = read_pin(folder / PIN_NAME).decisions.inference
        if decided != "realtime":
            raise _refused(
                text,
                f"the encoder's pin sets inference = {decided!r}"
                if decided == "batch"
                else "the encoder's pin does not decide between batch and realtime",
                "inference = 'realtime', because an online endpoint costs money even when idle",
                "Deploy a pipeline that scores batches with `tfhub-blocks deploy batch`, or set"
                " inference = 'realtime' in the encoder's pin and build the model again",
            )
    runtime = read_runtime(folder)
    if runtime is None:
        problem = "the model contains no runtime"
        raise _refused(text, problem, "the runtime that passed check_latency", _GATE)
    if not tags.get("latency_digest"):
        problem = "the model has no latency evidence"
        raise _refused(text, problem, "evidence that passed check_latency", _GATE)
    return runtime


def _promoted(text: str, found: _Found, connection: Connection, profile: Profile) -> str:
    """Return the reference of a model's promoted version under a profile, read there in full.

    Raises:
        BlocksError: The model was not promoted there, or the version has other content.
    """
    registry = profile.promotion.registry
    place = find_place(
        connect(registry=registry) if registry else connection, found.name, found.digest
    )
    if not place.decision(profile.name):
        raise _refused(
            text,
            f"{found.label} was not promoted to {place.connection} under {profile.name}, which"
            " accepts only release locks and promoted models",
            "a promoted model",
            f"Run `tfhub-blocks promote {found.label} --profile {profile.name}`",
        )
    if registry:
        return f"azureml://registries/{registry}/models/{place.name}/versions/{place.version}"
    return f"azureml:{place}"


def _asset(found: _Found) -> Asset:
    tags = {f"{TAG}{key}": value for key, value in found.tags.items()} | {DIGEST_TAG: found.digest}

    def entity(address: str) -> Any:
        return Model(
            name=found.name,
            version=found.version,
            path=address,
            type="mlflow_model",
            tags=tags,
        )

    return Asset("model", found.name, found.version, found.digest, entity, found.folder)


def _refused(what: str, problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError(WHERE, what, problem, expected, remedy)
