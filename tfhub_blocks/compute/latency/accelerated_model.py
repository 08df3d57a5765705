"""The model that a latency check outputs: the same files, plus the runtime."""

# decision 43

import shutil
from pathlib import Path

from tfhub_blocks.records.base.digests import files_sha256, folder_files, tree_digest
from tfhub_blocks.records.base.folders import Format, without_remains
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats import models
from tfhub_blocks.records.formats.runtimes import RUNTIME_NAME, Runtime
from tfhub_blocks.records.pins.pins import FORMAT as ENCODER


def format_of(model: Path) -> Format:
    """Return the format of a model's folder; without a lineage the model is third-party."""
    kind = read_lineage(model).format if (model / STATEMENT_NAME).is_file() else ""
    known = {str(each): each for each in (models.MODEL, ENCODER)}
    return known.get(kind, models.PYFUNC)


def copy_with_runtime(model: Path, folder: Path, runtime: Runtime) -> None:
    """Copy a model with another runtime and without its lineage, to a folder with a new lineage."""
    for name, path in without_remains(dict(folder_files(model))).items():
        if name not in (STATEMENT_NAME, RUNTIME_NAME):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    runtime.write(folder)


def output_digest(folder: Path) -> str:
    """Return the digest that a folder will have as an output."""
    return tree_digest(files_sha256(folder))
