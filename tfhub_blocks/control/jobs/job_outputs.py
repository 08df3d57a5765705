"""Outputs of a job's steps, downloaded with the record of the user who started the job."""

# decisions 49 and 52

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfhub_blocks.control.costs.job_records import job_folder
from tfhub_blocks.control.jobs.submitted_jobs import Job
from tfhub_blocks.control.lineage.recorded_output import read_output
from tfhub_blocks.control.project.output_store import Store, Stored
from tfhub_blocks.control.project.run_records import COMPLETED, RunRecord
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

WHERE = "fetch"
# Azure ML's name for a component that was not published.
_ANONYMOUS = "azureml_anonymous"


def fetch_job(connection: Connection, run: str, folder: Path, tell: Callable[[str], None]) -> None:
    """Download each output of a job's steps once, and record who started the job.

    A reused output belongs to the job that wrote it; that job is recorded too.

    Args:
        connection: The workspace.
        run: The job, or a step of it.
        folder: The folder of downloads; like ``.runs`` it contains a store and records of jobs.
        tell: Called with a line for each step whose outputs could not be downloaded.

    Raises:
        BlocksError: The job does not exist, or the workspace did not answer.
    """
    root = _run(connection, run).root_run_id or run
    records = {root: _record(connection, root, folder)}
    for name, child in Job(connection, root).runs().items():
        if child.status != COMPLETED or not child.outputs:
            continue
        try:
            reused = (child.properties or {}).get("azureml.reusedrunid")
            maker = _run(connection, reused) if reused else child
            origin = maker.root_run_id or root
            if origin not in records:
                records[origin] = _record(connection, origin, folder)
            stored = _fetch(connection, maker, Store(folder / "store"))
        except BlocksError as error:
            tell(f"step {name} of job {root}: {error.problem}")
            continue
        _tell_outputs(records[root], name, stored)
        _tell_outputs(records[origin], maker.display_name, stored)
    for record in records.values():
        record.write()


def _run(connection: Connection, name: str) -> Any:
    """Return a job or a step from the run history."""
    with told(WHERE, f"job {name}"):
        return connection.client.jobs._runs_operations.get_run(name)


def _record(connection: Connection, name: str, folder: Path) -> RunRecord:
    """Return a job's record, with every name that Azure knows for the user who started the job."""
    record = Job(connection, name).record()
    who = _run(connection, name).created_by
    names = (who.user_name, who.upn, who.user_object_id) if who else ()
    record.started_by = list(dict.fromkeys([*record.started_by, *(it for it in names if it)]))
    record.folder = str(job_folder(name, folder).absolute())
    return record


def _fetch(connection: Connection, run: Any, store: Store) -> Stored:
    """Download a step's outputs, unless they exist locally and every byte is unchanged."""
    with store.locked(run.run_id):
        found = store.find(run.run_id)
        if found is not None:
            return found
        attempt = store.begin(run.run_id, {}, take_up=False)
        types = {port: _type(output) for port, output in run.outputs.items()}
        for port, kind in types.items():
            Job(connection, run.run_id).download(port, kind, attempt)
        return store.finish(run.run_id, attempt, run.display_name, types, 0.0)


def _type(output: Any) -> str:
    """Return a type in the spelling of ports; the run history has several spellings."""
    written = str(output.type).replace("_", "").casefold()
    if written.endswith("model"):
        return "mlflow_model"
    return "uri_file" if written == "urifile" else "uri_folder"


def _tell_outputs(record: RunRecord, name: str, stored: Stored) -> None:
    step = record.steps.get(name)
    if step is None:
        return
    step.outputs = {port: str(path.absolute()) for port, path in stored.outputs.items()}
    if _ANONYMOUS in step.component:  # only the outputs record the component's name
        found = (read_output(path).lineage for path in stored.outputs.values())
        step.component = next((it.provenance.step for it in found if it), name)
