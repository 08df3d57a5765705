"""A registered model of a workspace, fetched with all that stands behind it."""

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
    """The workspace of a profile, from which a model is to be promoted.

    Args:
        profile: The one that says which it is, if any does.
        config: Its ``config.json``; else the one in this folder or above.

    Raises:
        BlocksError: It is another one, or what the profile names is none.
    """
    wanted = profile.promotion.workspace
    if profile.engine != "azureml" or profile.promotion.registry:
        is_local = profile.engine != "azureml"
        raise BlocksError(
            WHERE,
            f"--from {profile.name}",
            f"its engine is {profile.engine}" if is_local else "it is of a registry, without jobs",
            "a profile of the workspace in which a job registered the model",
            "leave --from out for a model of this machine" if is_local else "name that one",
        )
    connection = connect(config)
    if wanted and wanted != connection.name:
        raise BlocksError(
            WHERE,
            f"--from {profile.name}",
            f"the workspace is {connection.name}",
            f"workspace {wanted}, as [promotion] says",
            "name its config.json with --from-config",
        )
    return connection


def fetch_model(
    text: str, connection: Connection, runs_dir: Path, tell: Callable[[str], None]
) -> Registration:
    """A model of a workspace, its files and what the job made that registered it, below ``.runs``.

    Nothing is written in the workspace. Whether it holds is for ``verify`` to say.

    Args:
        text: NAME:VERSION.
        connection: The workspace.
        runs_dir: ``.runs``.
        tell: Told of what could not be fetched, which the chain then lacks.

    Raises:
        BlocksError: There is no such model, or it could not be fetched.
    """
    match = _MODEL.fullmatch(text)
    if match is None:
        raise BlocksError(
            WHERE, text, "it names no exact version", "MODEL:VERSION", "see Studio > Models"
        )
    name, version = match["name"], match["version"]
    found = find(WHERE, text, connection.client.models.get, name, version)
    if found is None:
        raise BlocksError(
            WHERE,
            text,
            f"{connection} has no such model",
            "a version that is there",
            "see Studio > Models; leave --from out for a model of this machine",
        )
    folder = runs_dir / FETCHED
    source = _files(found, connection, Store(folder / "models"))
    if found.job_name:
        try:
            fetch_job(connection, found.job_name, folder, tell)
        except BlocksError as error:
            tell(f"job {found.job_name}: {error.problem}")
    else:
        tell(f"{connection} does not say which job registered {text}")
    # What was decided about it there is not about where it goes.
    said = own_tags(found.tags).items()
    tags = {key: it for key, it in said if not key.startswith((TAG, TAG_OF_ASSETS))}
    return Registration(name, version, source, tags, found.description or "", connection.name)


def _files(model: Any, connection: Connection, store: Store) -> Path:
    """The files of a model; those that are here already, if every byte of them still is."""
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
                WHERE, what, "it is no MLflow model", "what register_model registered", "name it"
            )
        folders[0].rename(attempt / _PORT)
        shutil.rmtree(scratch)
        stored = store.finish(key, attempt, what, {_PORT: "mlflow_model"}, 0.0)
        return stored.outputs[_PORT].absolute()
