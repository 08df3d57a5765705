"""The entry script of Azure ML's server, from the very files that a deployment would get."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from serving_process import ROOT, ask
from toy_project import PATIENCE_S, wait_for

from tfhub_blocks.records.environment.code_snapshots import step_modules

ENTRY = ROOT / "tfhub_blocks/compute/serving/azure_entry.py"
PROGRAM = """
import json, runpy, sys
entry = runpy.run_path("tfhub_blocks/compute/serving/azure_entry.py")
entry["init"]()
for line in sys.stdin:
    print("answer", json.dumps(entry["run"](json.loads(line))))
print("others", [name for name in ("azure.ai.ml", "starlette") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """A folder with the modules that the entry script imports, and nothing else."""
    folder = tmp_path_factory.mktemp("code")
    modules = step_modules(ENTRY, ROOT / "tfhub_blocks")
    for relative, path in {**modules, str(ENTRY.relative_to(ROOT)): ENTRY}.items():
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        (folder / relative).write_bytes(path.read_bytes())
    assert not any("/control/" in name or "/commands/" in name for name in modules)
    return folder


def test_init_loads_the_mounted_model_and_run_answers_or_refuses(code, colours_model, items):
    good = base64.b64encode(items[0]).decode()
    bodies = [
        json.dumps({"input_data": {"columns": ["contents"], "index": [0], "data": [[good]]}}),
        json.dumps({"inputs": [good, "aGVsbG8="]}),
        "[" * 100_000,
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(map(json.dumps, bodies)),
        cwd=code,
        # As Azure ML mounts it: the folder that holds the model's folder.
        env={**os.environ, "PYTHONPATH": str(code), "AZUREML_MODEL_DIR": str(colours_model.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    answers = [json.loads(line[7:]) for line in lines if line.startswith("answer ")]
    assert answers[0]["predictions"][0]["label"] in ("red", "green", "blue")
    assert answers[1:] == [
        {"error": "the file is not an image", "item": 1},
        {"error": "the JSON is nested too deeply"},
    ]
    assert lines[-1] == "others []"


@pytest.mark.slow
def test_mlflow_serves_it_without_code_of_ours_and_answers_alike(colours_model, items, server):
    """The no-code way: MLflow's own scoring server, on the model's folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    process = subprocess.Popen(
        [*command, "--model-uri", str(colours_model), "--port", str(port)],
        cwd=colours_model.parent,
        # It starts uvicorn by its name.
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        data = [[base64.b64encode(item).decode()] for item in items[:5]]
        body = json.dumps({"dataframe_split": {"columns": ["contents"], "data": data}})

        def answered():
            assert process.poll() is None
            with suppress(ConnectionError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
                return ask(connection, "POST", "/invocations", body, "application/json")

        answer = wait_for(answered, poll_s=0.2)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    ours = [server.score(item)[1]["predictions"][0] for item in items[:5]]
    for there, here in zip(json.loads(answer[2])["predictions"], ours, strict=True):
        assert there["label"] == here["label"]
        assert there["probabilities"] == pytest.approx(here["probabilities"], abs=1e-6)
