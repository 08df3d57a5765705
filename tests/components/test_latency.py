"""check_latency as Azure runs it, from an evaluated model to a registered one with a runtime."""

import json
import re

import mlflow
import pytest
from PIL import Image

from tfhub_blocks.records.evidence import read_evidence
from tfhub_blocks.records.lineage import read_lineage
from tfhub_blocks.records.models import bare_digest
from tfhub_blocks.records.runtimes import read_runtime

QUICK = {
    "engines": "own, openvino",
    "precisions": "float32",
    "threads": 1,
    "concurrency": "1, 2",
    "requests": 400,
    "seconds": 0.5,
}


@pytest.fixture(scope="module", autouse=True)
def tracking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(folder / "artifacts"))
        yield folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, execute_step):
    """``run(name, inputs, ports)`` gives the folder of a step's outputs and the process."""

    def execute(name, inputs, ports):
        folder = tmp_path_factory.mktemp(name)
        done = execute_step(name, inputs, {port: folder / port for port in ports})
        return folder, done

    return execute


@pytest.fixture(scope="module")
def evaluated(run, colours_model, coloured_snapshot):
    inputs = {"model": colours_model, "snapshot": coloured_snapshot, "resamples": 100}
    folder, done = run("evaluate", inputs, ["report", "evidence"])
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def given(evaluated, colours_model, coloured_snapshot):
    evaluation = {"evaluation": evaluated / "report"}
    return {"model": colours_model, "snapshot": coloured_snapshot, **evaluation, **QUICK}


def test_model_with_its_fastest_runtime_is_registered_with_both_evidences(
    run, given, evaluated, colours_model
):
    size = "Standard_D2ds_v5"
    budget = {"p99_ms": 60000, "items_per_s": 20, "compute_size": size}
    ports = ["report", "evidence", "served_model"]
    checked, done = run("check_latency", given | budget, ports)
    assert done.returncode == 0, done.stderr
    assert "own, 1 thread" not in done.stdout  # all cores answer for the SavedModel itself
    assert re.search(r"(own|openvino float32), \d threads?, as served: p50", done.stdout)

    model = read_lineage(checked / "served_model")
    assert bare_digest(model) == read_lineage(colours_model).digest != model.digest
    runtime = read_runtime(checked / "served_model")
    assert (runtime.compute_size, runtime.budget.p99_ms) == (size, 60000)
    assert model.provenance.facts["temperature"] > 0  # fine_tune starts from it
    evidence = read_evidence(checked / "evidence", "test")
    assert evidence.passed
    assert (evidence.kind, evidence.facts["compute_size"]) == ("latency", size)
    assert evidence.model_digest == read_lineage(colours_model).digest
    assert evidence.digests["served_model"] == model.digest
    thresholds = {it.name: it for it in evidence.thresholds}
    assert thresholds["max_difference_from_evaluation"].measured <= 1e-5
    assert thresholds["min_items_per_s"].measured >= 20
    interval = evidence.metrics["p99_ms"]
    assert interval["low"] <= interval["value"] <= interval["high"]

    record = json.loads((checked / "report" / "latency.json").read_text())
    assert record["in_process"]["bound_by"] in ("decode", "forward", "serialise")
    assert record["served"]["loads"][0]["offered_per_s"] == 20
    assert record["served"]["loads"][0]["requests"] == 400
    assert "openvino float32, 1 thread" in [it["runtime"] for it in record["candidates"]]
    for name in ("latency-histogram.png", "throughput-curve.png"):
        with Image.open(checked / "report" / name) as image:
            assert min(image.size) > 300
    page = (checked / "report" / "report.html").read_text()
    assert "coordinated omission is avoided" in page
    assert "Passed" in page

    names = {"model_name": "colours", "owner": "ada", "evidence": evaluated / "evidence"}
    names["model"] = checked / "served_model"
    latency = {"latency": checked / "evidence"}
    folder, done = run("register_model", names | latency, ["registration"])
    assert done.returncode == 0, done.stderr
    version = json.loads((folder / "registration").read_text())["version"]
    tags = mlflow.MlflowClient().get_model_version("colours", version).tags
    assert tags["tfhub_blocks.runtime"] == runtime.name
    assert tags["tfhub_blocks.compute_size"] == size


@pytest.mark.slow
def test_budget_that_no_runtime_keeps_fails_the_step_and_leaves_its_report_in_mlflow(
    run, given, tracking
):
    ports = ["report", "evidence", "served_model"]
    folder, done = run("check_latency", given | {"p50_ms": 0.01, "engines": "own"}, ports)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: [check_latency > budget] no runtime keeps it; with own, ")
    assert ": P50 is " in error
    assert "at most 0.01 ms was asked" in error
    assert not (folder / "served_model" / "runtime.toml").exists()
    assert not (folder / "evidence").exists()
    assert list(tracking.glob("artifacts/**/check_latency/latency-histogram.png"))
