"""Models that answer without TensorFlow: the same answers, and nothing of TensorFlow is loaded."""

import base64
import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import numpy as np
import pytest
from serving_process import ROOT, serving

from tfhub_blocks.compute.answering import opener
from tfhub_blocks.compute.answering.answerers import BatchAnswerer
from tfhub_blocks.compute.answering.compiled_signature import open_compiled
from tfhub_blocks.compute.answering.graph_answerers import EngineAnswerer
from tfhub_blocks.compute.answering.opener import open_answerer
from tfhub_blocks.compute.inference.engine_interface import UnfitError
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime

MOST_MEMORY_KIB = 350 * 1024
ENTRY = """
import json, sys
from tfhub_blocks.compute.serving import azure_entry
azure_entry.init()
for line in sys.stdin:
    print(json.dumps(azure_entry.run(json.loads(line))))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def near(given, expected):
    assert [np.argmax(row) for row in given] == [np.argmax(row) for row in expected]
    np.testing.assert_allclose(given, expected, atol=1e-5, rtol=0)


def test_azures_entry_answers_like_the_savedmodel_without_tensorflow(
    compiled_model, items, answers
):
    bodies = [
        json.dumps(
            {"inputs": [base64.b64encode(content).decode() for content in items[at : at + 5]]}
        )
        for at in range(0, 40, 5)
    ]
    done = subprocess.run(
        [sys.executable, "-c", ENTRY],
        input="\n".join(map(json.dumps, bodies)),
        env={**os.environ, "PYTHONPATH": str(ROOT), "AZUREML_MODEL_DIR": str(compiled_model)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    *lines, loaded, peak_kib = done.stdout.splitlines()
    given = [
        each["probabilities"]
        for line in lines
        if line.startswith('{"predictions"')
        for each in json.loads(line)["predictions"]
    ]
    near(given, answers[:40])
    lock = ROOT / "components/environments/serving-openvino/requirements.lock"
    locked = set(re.findall(r"^([\w.-]+)==", lock.read_text(), re.M)) | {"tfhub-blocks"}
    known = packages_distributions()
    # OpenVINO imports these if they are installed.
    for package in set(json.loads(loaded)) - {"absl", "packaging"}:
        names = {name.lower().replace("_", "-") for name in known.get(package, ())}
        assert names <= locked, f"{package} is imported, and the environment's lock has no {names}"
    assert int(peak_kib) < MOST_MEMORY_KIB


def test_server_answers_like_the_savedmodel_without_tensorflow(compiled_model, items, answers):
    with serving(str(compiled_model)) as server:
        given = [
            server.score(content)[1]["predictions"][0]["probabilities"] for content in items[:20]
        ]
        status, refused = server.score(b"no picture")
        with open(f"/proc/{server.process.pid}/maps", encoding="utf-8") as maps:
            mapped = maps.read()
        with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as lines:
            peak_kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    near(given, answers[:20])
    assert (status, refused["error"]) == (422, "the file is not an image")
    assert "libopenvino" in mapped
    assert "site-packages/tensorflow/" not in mapped
    assert peak_kib < MOST_MEMORY_KIB


def test_model_that_openvino_cannot_read_answers_through_tensorflow(
    monkeypatch, compiled_model, items, answers
):
    compiled = open_answerer(compiled_model, where="test")
    assert type(compiled) is BatchAnswerer

    def refuse(*_):
        raise UnfitError("the SavedModel's graph contains Loop")

    monkeypatch.setattr(opener, "open_compiled", refuse)
    converted = open_answerer(compiled_model, where="test")
    assert type(converted) is EngineAnswerer
    assert converted.runtime == compiled.runtime
    for answerer in (compiled, converted):
        near(answerer(items[:5]), answers[:5])


@pytest.mark.parametrize("runtime", [Runtime(), Runtime("openvino")], ids=lambda it: it.engine)
def test_environment_without_tensorflow_refuses_what_needs_it(
    monkeypatch, runtime, imported_encoder
):
    monkeypatch.setattr(opener, "find_spec", lambda _: None)
    with pytest.raises(BlocksError, match="it needs TensorFlow, which is not installed"):
        open_answerer(encoder=imported_encoder, where="test", runtime=runtime)


def test_threads_and_batches_are_those_of_the_runtime(compiled_model, items, answers):
    runtime = Runtime("openvino", threads=1, concurrency=2, largest_batch=3)
    near(open_compiled(compiled_model, runtime, "test")(items[:7]), answers[:7])


def test_changed_model_is_refused_before_openvino_reads_it(compiled_model, tmp_path):
    changed = tmp_path / "model"
    for path in compiled_model.rglob("*"):
        if path.is_file():
            copy = changed / path.relative_to(compiled_model)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes() + b" " * (path.name == "saved_model.pb"))
    with pytest.raises(BlocksError, match=r"saved_model\.pb"):
        open_compiled(changed, Runtime("openvino"), "test")
