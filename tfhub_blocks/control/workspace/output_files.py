"""Where an output of a job is in storage, and its files from there.

Of models not by the SDK's ``jobs.download``, which in azure-ai-ml 1.35 does not find them (decision
0050).
"""

from pathlib import Path
from typing import Any

from azure.ai.ml._artifacts._artifact_utilities import download_artifact_from_aml_uri

_MODELS = {"CustomModel", "MLFlowModel", "TritonModel"}


def output_address(jobs: Any, job: str, name: str) -> str:
    """The address of an output in its datastore; nothing if the run history tells of none.

    Args:
        jobs: The SDK's operations on jobs.
        job: The job's name.
        name: The output's.
    """
    outputs = jobs._runs_operations.get_run_data(job).run_metadata.outputs or {}
    if name not in outputs:
        return ""
    if outputs[name].type not in _MODELS:
        return str(jobs._get_named_output_uri(job, name).get(name, ""))
    models, asset = jobs._model_dataplane_operations, outputs[name].asset_id
    scope = models._operation_scope
    found = models._operation.batch_get_resolved_uris(
        scope.subscription_id,
        scope.resource_group_name,
        models._workspace_name,
        body={"values": [asset]},
    )
    return str(found["values"].get(asset, {}).get("path") or "")


def fetch_files(jobs: Any, address: str, target: Path) -> None:
    """Fetch what is at an address: a folder's files, or a file of its name, into ``target``."""
    download_artifact_from_aml_uri(address, str(target), jobs._datastore_operations)
