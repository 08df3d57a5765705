"""The folder of a named model, for commands that run the model."""

from pathlib import Path

from tfhub_blocks.control.lineage.lineage_targets import find_target
from tfhub_blocks.control.lineage.local_registrations import Registration
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.project.run_records import RunRecord
from tfhub_blocks.records.base.errors import BlocksError

_MODEL_FILE = "MLmodel"


def find_model_folder(text: str, archive: Archive, where: str) -> tuple[str, Path]:
    """Return the name and the folder of a model: a registered one, that of a run, or a folder.

    Raises:
        BlocksError: The text names nothing, or a run without a model or with several models.
    """
    found = find_target(text, archive, where)
    if isinstance(found, RunRecord):
        return found.run, _of_run(found, where)
    if isinstance(found, Registration):
        if not found.source.is_dir():
            raise BlocksError(
                where,
                text,
                f"the registry names {found.source}, and no such folder exists",
                "the folder of the model",
                f"Restore {found.source}, or pass the folder of the model instead of {text}",
            )
        return str(found), found.source
    return found.absolute().name, found


def _of_run(run: RunRecord, where: str) -> Path:
    models = {
        name: Path(path)
        for name, path in run.outputs.items()
        if (Path(path) / _MODEL_FILE).is_file()
    }
    if len(models) == 1:
        return next(iter(models.values()))
    raise BlocksError(
        where,
        run.run,
        f"the run wrote several models: {', '.join(models)}"
        if models
        else "the run wrote no model",
        "a run with one output that is a model",
        f"Pass the folder of one model, such as {next(iter(models.values()))}"
        if models
        else "Pass a run of a pipeline that trains a model, or a registered model",
    )
