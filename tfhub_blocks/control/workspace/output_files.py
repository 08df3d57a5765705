"""Storage addresses of job outputs, and downloads from them.

Models are not downloaded with the SDK's ``jobs.download``, because azure-ai-ml 1.35 does not find
them there (decision 0050).
"""

# decision 50

from pathlib import Path
from typing import Any

from azure.ai.ml._artifacts._artifact_utilities import download_artifact_from_aml_uri

_MODELS = {"CustomModel", "MLFlowModel", "TritonModel"}


def output_address(jobs: Any, job: str, name: str) -> str:
    """Return the datastore address of an output; empty if the run history does not list the output.

    Args:
        jobs: The SDK's operations on jobs.
        job: The job's name.
        name: The output's name.
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
    """Download the file or the files of the folder at an address into ``target``."""
    download_artifact_from_aml_uri(address, str(target), jobs._datastore_operations)
