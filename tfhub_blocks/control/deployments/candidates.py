"""Models that may be deployed online: registered, unchanged, for real time, and measured there."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from azure.ai.ml.entities import Model

from tfhub_blocks.control.lineage.local_registrations import find_registration, own_tags, registered
from tfhub_blocks.control.project.assets import DIGEST_TAG, VERSION_DIGITS, Asset
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.tags import TAG
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection, connect
from tfhub_blocks.control.workspace.promoted_models import find_place
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.formats.runtimes import Runtime, read_runtime
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

WHERE = "deploy online"
_GATE = "run the pipeline latency_gate, which measures a model as it is served, and registers it"
_ASSET = re.compile(r"azureml:(?P<name>[^/:@]+):(?P<version>[^/:@]+)")


@dataclass(frozen=True)
class DeploymentCandidate:
    """A registered model that may be deployed online.

    ``reference`` names it as Azure ML does; ``asset`` is what has to be published for that, None if
    it is there. ``size`` is the machine that ``runtime`` was measured on.
    """

    label: str
    name: str
    digest: str
    runtime: Runtime
    size: str
    reference: str
    asset: Asset | None = field(repr=False)


@contextmanager
def open_candidate(
    text: str, connection: Connection, profile: Profile, runs_dir: Path
) -> Iterator[DeploymentCandidate]:
    """A model of this machine's registry (MODEL or MODEL:VERSION), or azureml:NAME:VERSION.

    Its files are read in full; those of the workspace are fetched for that, and gone afterwards.

    Raises:
        BlocksError: It is none, was changed since, is not meant for real time, or was not measured;
            or the profile takes promoted models and this is none.
    """
    with TemporaryDirectory() as scratch:
        is_asset = text.startswith("azureml:")
        found = (
            _of_workspace(text, connection, Path(scratch)) if is_asset else _of_here(text, runs_dir)
        )
        runtime = _measured(text, found.folder, found.tags)
        asset = None if found.is_there else _asset(found)
        reference = f"azureml:{found.name}:{found.version}"
        if profile.takes == "locks":
            asset, reference = None, _promoted(text, found, connection, profile)
        size = found.tags.get("compute_size") or runtime.compute_size
        if not size:
            raise _refused(text, "nobody said what it was measured on", "a size of machine", _GATE)
        yield DeploymentCandidate(
            label=found.label,
            name=found.name,
            digest=found.digest,
            runtime=runtime,
            size=size,
            reference=reference,
            asset=asset,
        )


@dataclass(frozen=True)
class _Found:
    """A registered model, wherever it was; ``tags`` are ours, without their prefix."""

    label: str
    name: str
    version: str
    folder: Path
    tags: Mapping[str, str]
    digest: str
    is_there: bool


def _of_here(text: str, runs_dir: Path) -> _Found:
    registration = find_registration(runs_dir, text, WHERE)
    if registration is None:
        known = [it.name for it in registered(runs_dir)]
        raise _refused(
            text,
            f"it is no registered model in {runs_dir}",
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
        raise _refused(text, "it names no exact version", "azureml:NAME:VERSION", "correct it")
    name, version = match["name"], match["version"]
    found = find(WHERE, text, connection.client.models.get, name, version)
    if found is None:
        problem = f"workspace {connection.name} has no such model"
        raise _refused(text, problem, "a version that is there", "see Studio > Models")
    with told(WHERE, text):
        connection.client.models.download(name, version, download_path=str(scratch))
    folders = [path.parent for path in sorted(scratch.rglob("MLmodel"))]
    tags = own_tags(found.tags)
    digest = _check_content(text, folders[0] if folders else scratch, tags)
    return _Found(f"{name}:{version}", name, version, folders[0], tags, digest, True)


def _check_content(text: str, folder: Path, tags: Mapping[str, str]) -> str:
    """The digest of a model's files, which is the one that it was registered with."""
    said = tags.get("model_digest", "")
    digest = content_digest(folder) if folder.is_dir() else "of nothing, its files are gone"
    if digest != said:
        raise _refused(
            text,
            f"its content is {digest}, and it was registered with {said or 'none that was told'}",
            "the very files that register_model was given",
            "see who changed it, and register it again",
        )
    return digest


def _measured(text: str, folder: Path, tags: Mapping[str, str]) -> Runtime:
    """The runtime of a model that is meant for real time, and has evidence that it is fit."""
    if (folder / PIN_NAME).is_file():
        decided = read_pin(folder / PIN_NAME).decisions.inference
        if decided != "realtime":
            raise _refused(
                text,
                f"its pin decides for {decided}"
                if decided == "batch"
                else "its pin does not decide between batch and realtime",
                "inference = 'realtime', since an online endpoint is paid for while it idles",
                "deploy a pipeline that scores in batches: tfhub-blocks deploy batch; or decide",
            )
    runtime = read_runtime(folder)
    if runtime is None:
        raise _refused(text, "it has no runtime", "the one that passed check_latency", _GATE)
    if not tags.get("latency_digest"):
        raise _refused(text, "it has no evidence of its latency", "evidence that passed", _GATE)
    return runtime


def _promoted(text: str, found: _Found, connection: Connection, profile: Profile) -> str:
    """The reference of a model where it was promoted to under a profile, read there in full.

    Raises:
        BlocksError: Nobody promoted it there, or something else is there.
    """
    registry = profile.promotion.registry
    place = find_place(
        connect(registry=registry) if registry else connection, found.name, found.digest
    )
    if not place.decision(profile.name):
        raise _refused(
            text,
            f"nobody promoted it to {place.connection} under {profile.name}, which takes locks and "
            "promoted models alone",
            "a model that somebody let go there",
            f"tfhub-blocks promote {found.label} --profile {profile.name}",
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
