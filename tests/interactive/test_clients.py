"""Pipelines from Python: the three lines, what a job and its outputs answer, and its mistakes."""

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import tfhub_blocks
from tfhub_blocks import BlocksError
from tfhub_blocks.control.project.run_records import held_run
from tfhub_blocks.control.project.step_graph import told_inputs
from tfhub_blocks.interactive.output_values import OutputValue
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance, read_lineage
from tfhub_blocks.records.formats.withdrawals import Withdrawal

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


@pytest.fixture
def job(letters):
    client = tfhub_blocks.LocalClient()
    return client.jobs.create_or_update(letters(source="texts")).wait()


def test_three_lines_give_a_table(job, capsys):
    table = job.outputs["features"].to_pandas()
    assert list(table.columns) == ["id", "path", "label", "split", "features"]
    assert len(table) == 20
    assert set(table["label"]) == {"a", "b"}
    assert all(row.dtype == np.float32 and row.shape == (2,) for row in table["features"])
    assert all("table.csv" in path for path in table["path"])
    matrix = job.outputs["features"].to_numpy()
    assert matrix.dtype == np.float32
    assert (np.stack(table["features"]) == matrix).all()
    snapshot = job.outputs["snapshot"].to_pandas()
    assert list(snapshot.columns) == ["id", "path", "label", "split"]
    assert list(snapshot["id"]) == list(table["id"])


def test_table_trains_a_classifier_of_scikit_learn(job):
    from sklearn.linear_model import LogisticRegression

    features = job.outputs["features"]
    table, vectors = features.to_pandas(), features.to_numpy()
    train = table["split"] == "train"
    head = LogisticRegression().fit(vectors[train], table["label"][train])
    assert head.score(vectors, table["label"]) > 0.9


def test_steps_and_explanation(letters, job):
    assert job.status == "Completed"
    assert job.name.startswith("letters-")
    assert list(job.steps) == ["data", "head"]
    again = tfhub_blocks.client("local").jobs.create_or_update(letters(source="texts", scale=3.0))
    reasons = again.wait().explain()
    assert again.steps["data"].reused
    assert not again.steps["head"].reused
    assert "embedded 20" in again.steps["head"].log
    assert reasons["data"].startswith("reused: code, environment and inputs are those of letters-")
    assert "ran: scale changed from '2.0' to '3.0' since letters-" in reasons["head"]
    assert "scale changed" in str(reasons)
    assert "<td>head</td>" in reasons._repr_html_()
    earlier = tfhub_blocks.LocalClient().jobs.get(job.name)
    assert earlier.metrics == job.metrics
    assert earlier.outputs.keys() == job.outputs.keys()


def test_job_shows_its_graph(job):
    page = job._repr_html_()
    assert page.count("<rect") == 2
    assert page.count("<line") == 1
    assert "Completed" in page
    assert "<script" not in page
    assert repr(job) == f"<{job.name}: Completed>"


def test_outputs_refuse_what_they_are_not(job):
    for use in ("to_numpy", "load"):
        with pytest.raises(BlocksError, match=rf"snapshot.{use}\] output snapshot is snapshot, so"):
            getattr(job.outputs["snapshot"], use)()
    with pytest.raises(BlocksError, match=r"it has no report\.html"):
        job.outputs["features"].report  # noqa: B018


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": "nowhere"}, r"\[letters > source\] .*nowhere does not exist"),
        ({}, r"\[letters > source\] source has no value and no default"),
        ({"source": "texts", "scale": 99.0}, r"> head.scale\] scale of step head is 99.0"),
        ({"source": "texts", "scale": "two"}, "'two' is not of type number"),
    ],
)
def test_mistakes_are_sentences_of_the_command_line(letters, given, message):
    with pytest.raises(BlocksError, match=message):
        tfhub_blocks.LocalClient().jobs.create_or_update(letters(**given))


def test_mistake_in_a_call_of_an_installed_pipeline_is_one_sentence(letters):
    from tfhub_blocks.pipelines import transfer_learning

    with pytest.raises(BlocksError, match=r"test_clients\.py:\d+ > .*Did you mean 'source'\?"):
        transfer_learning(sorce="texts")
    job = transfer_learning(source="texts", validation_fraction=2.0)
    with pytest.raises(BlocksError, match=r"\[transfer_learning > "):
        tfhub_blocks.LocalClient().jobs.create_or_update(job)


def test_notebook_shows_the_job_while_it_runs(letters, monkeypatch):
    shown = []

    class Handle:
        def update(self, data: dict, raw: bool) -> None:
            shown.append(data["text/html"])

    def display(data: dict, raw: bool, display_id: bool) -> Handle:
        shown.append(data["text/html"])
        return Handle()

    monkeypatch.setattr("tfhub_blocks.interactive.job_views._notebook_display", lambda: display)
    client = tfhub_blocks.LocalClient()
    client.jobs.create_or_update(letters(source="texts", scale=5.0)).wait()
    assert "Completed" in shown[-1]
    assert len(shown) > 1
    assert all(page.count("<rect") == 2 for page in shown)


@pytest.mark.slow
def test_notebook_is_executed(letters):
    import nbclient
    import nbformat

    lines = (
        "import sys; sys.path.insert(0, 'pipelines')\n"
        "from letters import letters\nimport tfhub_blocks",
        "client = tfhub_blocks.LocalClient()",
        "job = client.jobs.create_or_update(letters(source='texts', scale=6.0))\njob.wait()",
        "job.outputs['features'].to_pandas().head(2)",
        "job.explain()",
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(it) for it in lines])
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute()
    outputs = [it for cell in book.cells for it in cell.outputs]
    assert not [it for it in outputs if it.output_type in ("stream", "error")], outputs
    pages = [it.data.get("text/html", "") for it in outputs]
    assert any("<svg" in page and "Completed" in page for page in pages)
    assert any("features" in page and "<table" in page for page in pages)


def test_inputs_and_graph_are_those_of_the_command_line(letters, tmp_path):
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.project.run_requests import prepare_job
    from tfhub_blocks.interactive.called_pipelines import read_call
    from tfhub_blocks.pipelines import transfer_learning

    source, encoder = "texts", str(tmp_path)  # an unpinned encoder
    profile = load_profile("local")
    name, graph, given = read_call(transfer_learning(source=source, encoder=encoder), profile)
    words = [f"source={source}", f"encoder={encoder}"]
    _, same_graph, same_given = prepare_job(name, words, profile)
    assert given == same_given
    assert given["unpinned"] == "accept"
    assert graph.outputs == same_graph.outputs
    assert told(graph) == told(same_graph)


def told(graph):
    return {
        name: (node.component, node.command, node.environment, told_inputs(node))
        for name, node in graph.nodes.items()
    }


def test_profile_precedes_a_default_and_a_call_precedes_the_profile(letters, monkeypatch):
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.interactive.called_pipelines import read_call

    profile = replace(load_profile("local"), inputs={"scale": 7.0, "model_name": "birds"})
    assert read_call(letters(source="texts"), profile)[2]["scale"] == 7.0
    from tfhub_blocks.pipelines import transfer_learning

    words = {"source": "texts", "encoder": "texts", "owner": "me"}
    assert read_call(transfer_learning(**words), profile)[2]["model_name"] == "birds"
    called = transfer_learning(**words, model_name="transfer-learning")
    assert read_call(called, profile)[2]["model_name"] == "transfer-learning"


def test_job_is_passed_once(letters):
    client, call = tfhub_blocks.LocalClient(), letters(source="texts")
    client.jobs.create_or_update(call).wait()
    with pytest.raises(
        BlocksError, match=r"before\. Call the pipeline again: create_or_update\(lett"
    ):
        client.jobs.create_or_update(call)


def test_run_of_another_process_is_read_as_it_is(job, monkeypatch):
    client = tfhub_blocks.LocalClient()
    folder = Path(".runs/runs") / "letters-elsewhere"
    shutil.copytree(Path(".runs/runs") / job.name, folder, symlinks=True)
    record = replace(job.record, run=folder.name, folder=str(folder.absolute()), status="Running")
    record.write()
    with held_run(folder):
        other = client.jobs.get(folder.name)
        assert other.status == "Running"
        with pytest.raises(BlocksError, match="letters-elsewhere belongs to another process"):
            other.cancel()
        replace(record, status="Completed").write()
        assert other.wait().status == "Completed"
        record.write()
        other = client.jobs.get(folder.name)
    assert other.status == "Interrupted"
    with pytest.raises(BlocksError, match="ended when its process was killed"):
        other.wait()
    shutil.rmtree(folder)


def test_hostile_report_shows_its_pictures_and_nothing_else(job, tmp_path):
    from tfhub_blocks.interactive.job_page import job_page

    (tmp_path / "report.html").write_text(
        '<img src="data:image/png;base64,AAAA" onerror="alert(1)"><svg onload="alert(2)"></svg>'
        '<img src="data:image/svg+xml,<svg onload=alert(3)>"><script>alert(4)</script>'
        '<img alt="&quot; onerror=alert(5)" src="data:image/png;base64,BBBB">'
    )
    page = job_page(replace(job.record, outputs={"report": str(tmp_path)}))
    assert all(f'src="data:image/png;base64,{it}"' in page for it in ("AAAA", "BBBB"))
    assert page.count("<img") == 2
    assert "alert" not in page


def test_changed_files_of_outputs_are_found(letters):
    client = tfhub_blocks.LocalClient()
    job = client.jobs.create_or_update(letters(source="texts", scale=8.0)).wait()
    sources = job.outputs["snapshot"].path / "sources.parquet"
    content = sources.read_bytes()
    sources.unlink()  # the file in the store stays as it is
    sources.write_bytes(content[:-1] + b"?")
    with pytest.raises(BlocksError, match=r"sources\.parquet has sha256"):
        job.outputs["snapshot"].to_pandas()


def test_predictions_are_a_table(job, tmp_path):
    folder, record = tmp_path / "predictions", job.record
    write_predictions(folder, [])
    output = OutputValue("predictions", folder, record)
    assert len(output.to_pandas()) == 0
    assert "path" in output.to_pandas()
    shard = next((folder / "shards").iterdir())
    shard.write_bytes(shard.read_bytes() + b"?")
    with pytest.raises(BlocksError, match=r"00000\.parquet has sha256"):
        output.to_pandas()


def write_predictions(folder, rows):
    from tfhub_blocks.records.formats import predictions

    partial = begin_folder(folder, PROVENANCE)
    schema = predictions.predictions_schema(None)
    with predictions.PredictionWriter(partial, schema, {}) as writer:
        writer.write(pa.Table.from_pylist(rows, schema))
    manifest = predictions.PredictionManifest(
        rows=len(rows),
        scored=0,
        unreadable=0,
        labels=("a",),
        top_k=None,
        model_digest="0" * 64,
        model_version="m:1",
        modality="text",
        engine="own",
        precision="float32",
        shards=tuple(writer.names),
    )
    manifest.write(partial)
    finish_folder(folder, "predictions", predictions.FORMAT, PROVENANCE)


def test_input_that_is_withdrawn_is_refused(letters, job):
    snapshot = job.outputs["snapshot"].path
    digest = read_lineage(snapshot).digest
    written = Withdrawal("output", "it", (digest,), (), "No", ("ada",), "2026-01-02T03:04:05Z")
    folder = Path("pipelines/withdrawals")
    folder.mkdir(parents=True)
    (folder / written.file_name).write_text(written.as_text())
    try:
        with pytest.raises(BlocksError, match="withdrawn on 2026-01-02 by ada: No"):
            tfhub_blocks.LocalClient().jobs.create_or_update(letters(source=str(snapshot)))
    finally:
        shutil.rmtree(folder)  # the project is that of the other tests too


def test_wrong_objects_and_names_are_refused(letters):
    client = tfhub_blocks.LocalClient()
    with pytest.raises(BlocksError, match="function is not a pipeline"):
        client.jobs.create_or_update(letters)
    with pytest.raises(BlocksError, match=r"no run in \.runs is called 'nothing'"):
        client.jobs.get("nothing")
    with pytest.raises(BlocksError, match="profile experiment runs on azureml"):
        tfhub_blocks.LocalClient("experiment")


def test_failed_step_is_an_error_with_its_sentence(letters):
    # The text is checked by the step itself, not by its port.
    job = tfhub_blocks.LocalClient().jobs.create_or_update(letters(source="texts", pause_s=-1.0))
    with pytest.raises(BlocksError, match=r"> head\] .*sleep length must be non-negative"):
        job.wait()
    assert job.status == "Failed"
    assert "Traceback" in job.steps["head"].log


def test_interrupt_ends_the_run_and_the_next_run_continues(letters, monkeypatch):
    client = tfhub_blocks.LocalClient()
    job = client.jobs.create_or_update(letters(source="texts", scale=4.0, pause_s=60.0))

    def interrupt(*_: object) -> None:
        limit = time.monotonic() + 60
        while job.steps["head"].status != "Running" and time.monotonic() < limit:
            time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr("tfhub_blocks.interactive.local_jobs.show_progress", interrupt)
    with pytest.raises(BlocksError, match=r"was canceled\. Create the job again; it continues"):
        job.wait()
    assert job.status == "Canceled"
    assert not [it for it in threading.enumerate() if it.name == job.name]
    assert client.jobs.get(job.name).steps["data"].status == "Completed"
