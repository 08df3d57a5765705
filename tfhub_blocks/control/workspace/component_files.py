"""Steps and their environments as files for ``az ml``."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tfhub_blocks.control.environments.environment_catalog import Environment
from tfhub_blocks.control.project.assets import (
    DIGEST_TAG,
    component_asset,
    component_interface,
    component_tags,
    environment_asset,
)
from tfhub_blocks.control.project.profiles import Publishing
from tfhub_blocks.control.workspace.asset_publishing import published_steps
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.environment.code_snapshots import copy_code

_SCHEMAS = "https://azuremlschemas.azureedge.net/latest"
SCHEMA = f"{_SCHEMAS}/commandComponent.schema.json"
ENVIRONMENT_SCHEMA = f"{_SCHEMAS}/environment.schema.json"
ENVIRONMENTS = "environments"


def write_files(
    folder: Path,
    steps: Sequence[str] = (),
    environments: Mapping[str, str] | None = None,
    publishing: Publishing | None = None,
) -> Iterator[Path]:
    """Write steps with the environments that they need; yield the YAML files, environments first.

    An environment is ``environments/NAME.yaml`` with the build context in ``environments/NAME/``,
    and a step is ``NAME.yaml`` with its code in ``NAME/``. The same steps produce the same bytes,
    and ``az ml`` creates the same versions from the files as ``publish``.

    Args:
        folder: The target. What it contains under other names stays.
        steps: The names of steps; without names, all steps and environments.
        environments: Maps the name of an environment to one that extends it, as in a profile.
        publishing: The prefix of the names of steps, and their metadata.

    Raises:
        BlocksError: A step is unknown, or an environment is incomplete.
    """
    components, defined = published_steps(steps, environments)
    for environment in defined:
        yield _write_environment(folder / ENVIRONMENTS, environment)
    for component in components:
        yield _write_component(folder, component, publishing or Publishing())


def _write_environment(folder: Path, environment: Environment) -> Path:
    asset = environment_asset(environment)
    entity, name = asset.entity(str(asset.content)), asset.name
    _replace_code(Path(str(asset.content)), folder / name)
    record: dict[str, Any] = {
        "$schema": ENVIRONMENT_SCHEMA,
        "name": name,
        "version": asset.version,
        "description": entity.description,
        "tags": dict(entity.tags),
        "build": {"path": f"./{name}"},
    }
    if entity.inference_config:
        record["inference_config"] = entity.inference_config
    return _write(folder / f"{name}.yaml", record)


def _write_component(folder: Path, component: Any, publishing: Publishing) -> Path:
    asset, interface = component_asset(component, publishing), dict(component_interface(component))
    name = asset.name
    _replace_code(Path(component.code), folder / name)
    interface.pop("name")
    record = {
        "$schema": SCHEMA,
        "type": interface.pop("type"),
        "name": name,
        **interface,
        "version": asset.version,
        "tags": component_tags(component, publishing) | {DIGEST_TAG: asset.digest},
        "code": f"./{name}",
    }
    return _write(folder / f"{name}.yaml", record)


def _replace_code(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    copy_code(source, target)


def _write(path: Path, record: Mapping[str, Any]) -> Path:
    text = yaml.safe_dump(dict(record), sort_keys=False, width=100, allow_unicode=True)
    write_file(path, text.encode())
    return path
