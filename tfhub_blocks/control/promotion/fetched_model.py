"""The download of a workspace's registered model with its chain."""

# decision 49

import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from tfhub_blocks.control.jobs.job_outputs import fetch_job
from tfhub_blocks.control.lineage.local_registrations import Registration, own_tags
from tfhub_blocks.control.lineage.promotion_statements import TAG, TAG_OF_ASSETS
from tfhub_blocks.control.lineage.run_archive import FETCHED
from tfhub_blocks.control.project.output_store import Store
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.promotion.promotion_case import WHERE
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection, connect
from tfhub_blocks.records.base.errors import BlocksError

_MODEL = re.compile(r"(?P<name>[^/:@]+):(?P<version>[^/:@]+)")
_PORT = "model"


def connect_source(profile: Profile, config: Path | None) -> Connection:
    """Connect to the workspace of a profile, to promote a model from it.

    Args:
        profile: The profile, which may name the workspace.
        config: The workspace's ``config.json``; if None, the file in this folder or above.

    Raises:
        BlocksError: The workspace is another one, or the profile names no workspace.
    """
    wanted = profile.promotion.workspace
    if profile.engine != "azureml" or profile.promotion.registry:
        is_local = profile.engine != "azureml"
        raise BlocksError(
            WHERE,
            f"--from {profile.name}",
            f"the profile's engine is {profile.engine}"
            if is_local
            else "the profile names a registry, which has no jobs",
            "a profile of the workspace in which a job registered the model",
            "Leave out --from to promote a local model"
            if is_local
            else "Pass --from with a profile of the workspace",
        )
    connection = connect(config)
    if wanted and wanted != connection.name:
        raise BlocksError(
            WHERE,
            f"--from {profile.name}",
            f"the workspace is {connection.name}",
            f"workspace {wanted}, from [promotion] of the profile",
            f"Pass the config.json of workspace {wanted} with --from-config",
        )
    return connection


def fetch_model(
    text: str, connection: Connection, runs_dir: Path, tell: Callable[[str], None]
) -> Registration:
    """Download a registered model of a workspace, and the outputs of the job that registered it.

    Nothing is written in the workspace, and the chain is not checked: that is the task of
    ``verify``.

    Args:
        text: The model, as NAME:VERSION.
        connection: The workspace.
        runs_dir: The folder ``.runs``.
        tell: A function that receives a line for each part that cannot be downloaded. Such parts
            are missing in the chain.

    Raises:
        BlocksError: The model does not exist, or could not be downloaded.
    """
    match = _MODEL.fullmatch(text)
    if match is None:
        raise BlocksError(
            WHERE,
            text,
            f"{text} names no exact version",
            "MODEL:VERSION",
            "Pass a version that Studio > Models lists",
        )
    name, version = match["name"], match["version"]
    found = find(WHERE, text, connection.client.models.get, name, version)
    if found is None:
        raise BlocksError(
            WHERE,
            text,
            f"{connection} has no such model",
            "a version that the workspace has",
            "Pass a version that Studio > Models lists, or leave out --from for a local model",
        )
    folder = runs_dir / FETCHED
    source = _files(found, connection, Store(folder / "models"))
    if found.job_name:
        try:
            fetch_job(connection, found.job_name, folder, tell)
        except BlocksError as error:
            tell(f"job {found.job_name}: {error.problem}")
    else:
        tell(f"{connection} does not state which job registered {text}")
    # A promotion inside the workspace says nothing about the new destination.
    said = own_tags(found.tags).items()
    tags = {key: it for key, it in said if not key.startswith((TAG, TAG_OF_ASSETS))}
    return Registration(name, version, source, tags, found.description or "", connection.name)


def _files(model: Any, connection: Connection, store: Store) -> Path:
    """Return the folder of a model's files, downloaded unless an intact copy exists."""
    key = f"{model.name}-{model.version}-{sha256(str(model.id).encode()).hexdigest()[:12]}"
    what = f"{model.name}:{model.version}"
    with store.locked(key):
        if stored := store.find(key):
            return stored.outputs[_PORT].absolute()
        attempt = store.begin(key, {}, take_up=False)
        scratch = attempt / "scratch"
        with told(WHERE, what):
            connection.client.models.download(model.name, model.version, download_path=str(scratch))
        folders = [path.parent for path in sorted(scratch.rglob("MLmodel"))]
        if not folders:
            raise BlocksError(
                WHERE,
                what,
                f"{what} is no MLflow model",
                "a model that the step register_model registered",
                "Pass a version that register_model registered",
            )
        folders[0].rename(attempt / _PORT)
        shutil.rmtree(scratch)
        stored = store.finish(key, attempt, what, {_PORT: "mlflow_model"}, 0.0)
        return stored.outputs[_PORT].absolute()
