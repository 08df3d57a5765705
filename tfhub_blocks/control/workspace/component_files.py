"""Steps as files for ``az ml component create``."""

import shutil
from pathlib import Path

import yaml

from tfhub_blocks.control.project.assets import (
    DIGEST_TAG,
    component_asset,
    component_interface,
    load_components,
)
from tfhub_blocks.control.repository.catalog import component_files
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.environment.code_snapshots import copy_code

SCHEMA = "https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json"


def write_component_files(folder: Path) -> list[Path]:
    """Write ``NAME.yaml`` and the code in ``NAME/`` for each step; return the YAML files.

    The same steps produce the same bytes, and the same versions when published from the files.
    """
    written = []
    for component in load_components(component_files()):
        name = component.name
        asset = component_asset(component)
        code = folder / name
        shutil.rmtree(code, ignore_errors=True)
        copy_code(Path(component.code), code)
        interface = dict(component_interface(component))
        record = {
            "$schema": SCHEMA,
            "type": interface.pop("type"),
            "name": interface.pop("name"),
            **interface,
            "version": asset.version,
            "tags": component.tags | {DIGEST_TAG: asset.digest},
            "code": f"./{name}",
        }
        path = folder / f"{name}.yaml"
        text = yaml.safe_dump(record, sort_keys=False, width=100, allow_unicode=True)
        write_file(path, text.encode())
        written.append(path)
    return written
