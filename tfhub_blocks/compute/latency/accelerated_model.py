"""The model that a latency check outputs: the same files, plus the runtime."""

# decision 43

from pathlib import Path

from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.base.folders import Format, stage_content
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
    """Copy a model with another runtime and without its lineage, to a folder with a new lineage.

    Args:
        model: The model. Each file is checked while it is copied.
        folder: An empty folder.
        runtime: The runtime to write into the copy.
    """
    stage_content(model, folder)
    for name in (STATEMENT_NAME, RUNTIME_NAME):
        (folder / name).unlink(missing_ok=True)
    runtime.write(folder)


def output_digest(folder: Path) -> str:
    """Return the digest that a folder will have as an output."""
    return tree_digest(files_sha256(folder))
