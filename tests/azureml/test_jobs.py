import subprocess
import sys

import pytest
from azure.core.exceptions import HttpResponseError
from loopback.contract import ROOT

NODES = {"imported", "snapshot", "features", "head", "evaluation", "registration"}


def test_component_is_registered_with_its_code(furnished):
    from tfhub_blocks.components import snapshot_data

    made = furnished.client.components.create_or_update(snapshot_data)
    code = furnished.plane.workspace.find_by_id(made.code.removeprefix("azureml:"))
    names = furnished.plane.storage.names(code["properties"]["codeUri"])
    assert any(name.endswith("/component.py") for name in names)
    assert any(name.endswith("/tfhub_blocks/compute/step/step_frame.py") for name in names)
    found = furnished.client.components.get("snapshot_data", made.version)
    assert found.inputs["source"]["type"] == "uri_folder"


def test_version_of_a_component_never_changes(toys):
    for _ in range(2):
        toys.client.components.create_or_update(toys.component("make"))
    (toys.folder / "make" / "step.py").write_text("print()")
    with pytest.raises(HttpResponseError, match="immutable"):
        toys.client.components.create_or_update(toys.component("make"))


def test_job_is_submitted_found_and_cancelled(toys):
    jobs = toys.client.jobs
    made = jobs.create_or_update(toys.job())
    assert made.status == "NotStarted"
    assert made.studio_url
    assert set(jobs.get(made.name).jobs) == {"left", "right", "joined"}
    assert [job.name for job in jobs.list()] == [made.name]
    jobs.begin_cancel(made.name).result()
    assert jobs.get(made.name).status == "Canceled"


def test_second_submit_of_the_main_pipeline_uploads_nothing(furnished):
    first = furnished.client.jobs.create_or_update(furnished.job())
    assert set(first.jobs) == NODES
    assert furnished.plane.recorder.uploaded_bytes > 100_000
    furnished.plane.recorder.clear()
    furnished.plane.client().jobs.create_or_update(furnished.job())
    assert furnished.plane.recorder.uploaded_bytes == 0
    assert not [r for r in furnished.plane.recorder.requests if r.is_storage]


def test_submit_from_another_machine_uploads_no_code(furnished):
    furnished.client.jobs.create_or_update(furnished.job())
    furnished.plane.recorder.clear()
    program = (
        "from azure.ai.ml import MLClient, Input\n"
        "from azure.identity import DefaultAzureCredential\n"
        "from tfhub_blocks.pipelines.transfer_learning import transfer_learning\n"
        "data = Input(type='uri_folder', path='azureml:images:1')\n"
        "job = transfer_learning(source=data, encoder=data, owner='me')\n"
        "job.settings.default_compute = 'cpu-cluster'\n"
        "client = MLClient.from_config(DefaultAzureCredential(), path='config.json')\n"
        "client.jobs.create_or_update(job)\n"
    )
    components = furnished.plane.workspace.versions("components")
    furnished.plane.write_config(furnished.folder)
    # The SDK remembers there what it submitted.
    cache = furnished.folder / "cache"
    cache.mkdir()
    variables = {"PYTHONPATH": str(ROOT), "PATH": "", "TMPDIR": str(cache)}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=furnished.folder,
        env=furnished.plane.environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert furnished.plane.recorder.uploaded_bytes == 0
    assert len(furnished.plane.workspace.versions("jobs")) == 2
    assert furnished.plane.workspace.versions("components") == components
