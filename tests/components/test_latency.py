"""latency_gate by the command line, from a model to a registered one with a runtime that is served;
and check_latency as Azure runs it."""

import json
import re
import signal
from pathlib import Path

import mlflow
import pytest
from PIL import Image
from serving_process import serving
from test_batch_job import blocks
from toy_chain import decision

from tfhub_blocks.control.lineage.promotion_statements import keep_promotion
from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.formats.evidence import read_evidence
from tfhub_blocks.records.formats.models import bare_digest
from tfhub_blocks.records.formats.runtimes import read_runtime

QUICK = {
    "engines": "own, openvino",
    "precisions": "float32",
    "threads": 1,
    "requests": 400,
    "seconds": 0.5,
}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(folder / "artifacts"))
        yield folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, execute_step, tracking):
    """``run(name, inputs, ports)`` gives the folder of a step's outputs and the process."""

    def execute(name, inputs, ports):
        folder = tmp_path_factory.mktemp(name)
        done = execute_step(name, inputs, {port: folder / port for port in ports})
        return folder, done

    return execute


@pytest.mark.slow
def test_gate_registers_the_fastest_runtime_which_is_back_after_a_kill(
    colours_model, coloured_snapshot, tmp_path
):
    size = "Standard_D2ds_v5"
    # What even a busy machine keeps.
    promised = {"p99_ms": 60000, "items_per_s": 50, "cold_start_s": 600}
    given = QUICK | promised | {"model": colours_model, "snapshot": coloured_snapshot}
    given |= {"compute_size": size, "model_name": "colours", "owner": "ada"}
    words = [word for item in given.items() for word in ("--set", "{}={}".format(*item))]
    record = json.loads(blocks(tmp_path, "run", "latency_gate", "--json", *words))
    made = {name: Path(path) for name, path in record["outputs"].items()}
    told = (tmp_path / ".runs/runs/latest/steps/check/log.txt").read_text()
    assert "own, 1 thread" not in told  # all cores answer for the SavedModel itself
    assert re.search(r"(own|openvino float32), \d threads?, as served: p50", told)

    model = read_lineage(made["model"])
    assert bare_digest(model) == read_lineage(colours_model).digest != model.digest
    runtime = read_runtime(made["model"])
    assert (runtime.compute_size, runtime.budget.p99_ms) == (size, 60000)
    assert runtime.tensorflow == (runtime.engine != "openvino")
    assert model.provenance.facts["temperature"] > 0  # fine_tune starts from it
    evidence = read_evidence(made["latency"], "test")
    assert evidence.passed
    assert (evidence.kind, evidence.facts["compute_size"]) == ("latency", size)
    assert evidence.model_digest == read_lineage(colours_model).digest
    assert evidence.digests["served_model"] == model.digest
    thresholds = {it.name: it for it in evidence.thresholds}
    assert thresholds["max_difference_from_evaluation"].measured <= 1e-5
    assert thresholds["min_items_per_s"].measured >= 50
    assert 0 < thresholds["max_cold_start_s"].measured <= 600
    interval = evidence.metrics["p99_ms"]
    assert interval["low"] <= interval["value"] <= interval["high"]
    _check_report(made["report"])

    version = json.loads(made["registration"].read_text())["version"]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/.runs/mlflow.db")
    tags = client.get_model_version("colours", version).tags
    assert tags["tfhub_blocks.runtime"] == runtime.name
    assert tags["tfhub_blocks.compute_size"] == size
    keep_promotion(*decision(tmp_path, "colours:1"), tmp_path / ".runs")
    blocks(tmp_path, "card", "colours", "--to", "card")  # only of a chain that holds
    card = (tmp_path / "card/card.md").read_text()
    assert f"{runtime.name}, in the serving process, on Standard\\_D2ds\\_v5." in card
    assert "max\\_p99\\_ms | 6e+04 |" in card
    registered = ("colours", "--runs-dir", str(tmp_path / ".runs"))
    for _ in range(2):  # it is killed, and started again
        with serving(*registered) as server:
            told = json.loads(server.ask("GET", "/model")[2])
            assert told["runtime"] == runtime.name
            assert server.end(signal.SIGKILL) == -signal.SIGKILL


def _check_report(folder):
    record = json.loads((folder / "latency.json").read_text())
    assert record["in_process"]["bound_by"] in ("decode", "forward", "serialise")
    assert record["served"]["loads"][0]["offered_per_s"] == 50
    assert record["served"]["loads"][0]["requests"] == 400
    assert "openvino float32, 1 thread" in [it["runtime"] for it in record["candidates"]]
    for name in ("latency-histogram.png", "throughput-curve.png"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 300
    page = (folder / "report.html").read_text()
    assert "avoids coordinated omission" in page
    assert "Passed" in page


@pytest.mark.slow
def test_budget_that_no_runtime_keeps_fails_the_step_and_leaves_its_report_in_mlflow(
    run, colours_model, coloured_snapshot, tracking
):
    ports = ["report", "evidence", "served_model"]
    given = QUICK | {"model": colours_model, "snapshot": coloured_snapshot}
    folder, done = run("check_latency", given | {"p50_ms": 0.01, "engines": "own"}, ports)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: [check_latency > budget] no runtime meets the budget on this ")
    assert "the nearest is own, " in error
    assert "(P50: " in error
    assert "required at most 0.01 ms" in error
    assert not (folder / "served_model" / "runtime.toml").exists()
    assert not (folder / "evidence").exists()
    assert list(tracking.glob("artifacts/**/check_latency/latency-histogram.png"))


@pytest.mark.slow
def test_somebodys_pyfunc_and_an_encoder_come_out_with_a_runtime_too(
    run, brightness_model, imported_encoder, coloured_snapshot
):
    ports = ["report", "evidence", "served_model"]
    for port, given, engine, kind in (
        ("model", brightness_model, "own", "pyfunc/1"),
        ("encoder", imported_encoder, "openvino", "encoder/1"),
    ):
        inputs = QUICK | {port: given, "snapshot": coloured_snapshot, "engines": engine}
        inputs |= {"trust_code": True}
        folder, done = run("check_latency", inputs, ports)
        assert done.returncode == 0, done.stderr
        model = read_lineage(folder / "served_model")
        assert (model.format, read_runtime(folder / "served_model").engine) == (kind, engine)
        evidence = read_evidence(folder / "evidence", "test")
        assert evidence.digests["served_model"] == model.digest
        assert evidence.model_digest == bare_digest(model)
