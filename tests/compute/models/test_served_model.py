"""A model's two halves: what an engine makes fast is what the model answers."""

import mlflow
import numpy as np
import pandas as pd
import pytest

from tfhub_blocks.compute.inference.computations import batched
from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.models.served_model import load_served
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.snapshots import open_snapshot


@pytest.mark.parametrize("engine", ENGINES)
def test_halves_by_any_engine_give_what_the_model_answers(engine, colours_model, coloured_snapshot):
    items = [
        (row["id"], row["content"])
        for batch in open_snapshot(coloured_snapshot, "test").batches()
        for row in batch.to_pylist()
    ][:21]
    scorer = mlflow.pyfunc.load_model(str(colours_model)).unwrap_python_model()
    table = pd.DataFrame({"contents": [content for _, content in items]})
    answers = np.stack(scorer.predict(None, table)["probabilities"])

    computation = load_served(colours_model, "test").computation(8, "test")
    forward = ENGINES[engine].compiled(computation.forward, "float32")
    batches = enumerate(batched(items, 8))
    given = list(computation.vectors(batches, forward))

    assert [name for _, names, _ in given for name in names] == [name for name, _ in items]
    np.testing.assert_allclose(np.concatenate([rows for *_, rows in given]), answers, atol=1e-5)
    assert len(np.unique(answers.argmax(axis=1))) > 1


def test_changed_model_is_not_loaded(colours_model, tmp_path):
    changed = tmp_path / "model"
    changed.mkdir()
    for path in colours_model.rglob("*"):
        copy = changed / path.relative_to(colours_model)
        copy.mkdir() if path.is_dir() else copy.write_bytes(path.read_bytes())
    (changed / "encoder.toml").write_text("name = 'another'")
    with pytest.raises(BlocksError, match=r"encoder\.toml"):
        load_served(changed, "score_batch")
