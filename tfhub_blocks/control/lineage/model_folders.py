"""The folder of the model that a person names, to be put to work."""

from pathlib import Path

from tfhub_blocks.control.lineage.lineage_targets import find_target
from tfhub_blocks.control.lineage.local_registrations import Registration
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.project.run_records import RunRecord
from tfhub_blocks.records.base.errors import BlocksError

_MODEL_FILE = "MLmodel"


def find_model_folder(text: str, archive: Archive, where: str) -> tuple[str, Path]:
    """What a model is called, and its folder: a registered one, that of a run, or any folder.

    Raises:
        BlocksError: There is no such thing, or a run has no model, or several.
    """
    found = find_target(text, archive, where)
    if isinstance(found, RunRecord):
        return found.run, _of_run(found, where)
    if isinstance(found, Registration):
        if not found.source.is_dir():
            raise BlocksError(
                where,
                text,
                f"its files are not where the registry says, {found.source}",
                "the folder of the model",
                "register it again, or name the folder",
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
        f"this run gave several models: {', '.join(models)}" if models else "it gave no model",
        "a run with one output that is a model",
        f"name the folder, such as {next(iter(models.values()))}"
        if models
        else "give a run of a pipeline that trains, or a registered model",
    )
