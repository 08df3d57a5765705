"""A threshold that the test items cannot reach is refused before features are computed."""

import json
import shutil
from pathlib import Path

GATED = '''"""gated: a snapshot, and a gate that judges a model by it."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import evaluate, register_model, snapshot_data


@dsl.pipeline(name="gated")
def gated(
    model: Input(type="mlflow_model", description="A model"),
    source: Input(type="uri_folder", description="Texts"),
    min_test_items: Input(type="integer", description="The least") = 20,
):
    data = snapshot_data(source=source)
    judged = evaluate(
        model=model, snapshot=data.outputs.snapshot, min_test_items=min_test_items
    )
    entered = register_model(
        model=model, evidence=judged.outputs.evidence, model_name="x", owner="me"
    )
    return {"snapshot": data.outputs.snapshot, "registration": entered.outputs.registration}
'''


def write_texts(folder: Path, items: int) -> None:
    rows = [{"text": f"text number {row}", "label": "ab"[row % 2]} for row in range(items)]
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_threshold_out_of_reach_is_refused_once_the_snapshot_is_there(project):
    project.write("pipelines/gated.py", GATED)
    (project.folder / "model").mkdir()
    write_texts(project.folder / "texts", 40)
    outcome = project.main(
        *("run", "gated", "--json", "--set", "model=model", "--set", "source=texts")
    )
    assert outcome.status == 1
    steps = outcome.record["steps"]
    assert [steps[name]["status"] for name in ("data", "judged", "entered")] == [
        "Completed",
        "Failed",
        "NotStarted",
    ]
    assert steps["judged"]["log"] == ""  # no process was started
    assert steps["judged"]["error"] == (
        "[run > judged.min_test_items] the test split has 6 items, fewer than 20. Add data, raise "
        "test_fraction of snapshot_data, or set min_test_items to 6 or less."
    )
    # The same snapshot as an input of another pipeline is refused before anything is run.
    [made] = project.folder.glob(".runs/store/*/snapshot")
    shutil.copytree(made, project.folder / "made")
    again = project.main(
        *("run", "latency_gate", "--set", "model=model", "--set", "snapshot=made"),
        *("--set", "owner=me", "--set", "compute_size=Standard_DS3_v2", "--runs-dir", "other"),
    )
    assert again.status == 2
    assert "[run > evaluation.min_test_items] the test split has 6 items" in again.err
    assert not (project.folder / "other").exists()
