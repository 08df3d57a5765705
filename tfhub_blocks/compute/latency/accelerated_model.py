"""The model that a check gives: the same files, and the runtime beside them."""

import shutil
from pathlib import Path

from tfhub_blocks.records.base.digests import files_sha256, folder_files, tree_digest
from tfhub_blocks.records.base.folders import Format, without_remains
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats import models
from tfhub_blocks.records.formats.runtimes import RUNTIME_NAME, Runtime
from tfhub_blocks.records.pins.pins import FORMAT as ENCODER


def format_of(model: Path) -> Format:
    """The format of what is given as a model; without a lineage it is somebody's."""
    kind = read_lineage(model).format if (model / STATEMENT_NAME).is_file() else ""
    known = {str(each): each for each in (models.MODEL, ENCODER)}
    return known.get(kind, models.PYFUNC)


def copy_with_runtime(model: Path, folder: Path, runtime: Runtime) -> None:
    """Copy a model without its lineage, for a folder that gets one of its own."""
    for name, path in without_remains(dict(folder_files(model))).items():
        if name not in (STATEMENT_NAME, RUNTIME_NAME):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    runtime.write(folder)


def output_digest(folder: Path) -> str:
    """The digest that a folder will have as an output."""
    return tree_digest(files_sha256(folder))
