"""A project whose pipeline writes a snapshot and features without TensorFlow."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_project import forget_project

EMBED = '''"""embed: features that count letters."""

import time

import numpy as np
from mldesigner import Input, Output, command_component

from tfhub_blocks import FEATURES, open_snapshot, step, write_features


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def embed(
    snapshot: Input(type="uri_folder", description="Snapshot"),
    features: Output(type="uri_folder", description="Features"),
    scale: Input(type="number", min=0, max=9, description="Factor") = 1.0,
    pause_s: Input(type="number", description="A pause before the work") = 0.0,
):
    """Count the letters a and b of each item."""
    with step(embed, locals()) as run:
        time.sleep(float(pause_s))
        items = open_snapshot(run.path("snapshot"))
        texts = [item.content.decode() for item in items.items()]
        vectors = np.array([[t.count("a"), t.count("b")] for t in texts]) * float(scale)
        folder = run.begin_output("features", FEATURES)
        write_features(folder, items, [vectors.astype(np.float32)], "0" * 64)
        print("embedded", len(texts))
'''
PIPELINE = '''"""letters: features of texts."""

from azure.ai.ml import dsl

from tfhub_blocks.components import embed, snapshot_data


@dsl.pipeline
def letters(source, scale=2.0, pause_s=0.0):
    data = snapshot_data(source=source, modality="text")
    head = embed(snapshot=data.outputs.snapshot, scale=scale, pause_s=pause_s)
    return {"snapshot": data.outputs.snapshot, "features": head.outputs.features}
'''


@pytest.fixture(scope="module")
def letters_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the project, with twenty texts."""
    folder = tmp_path_factory.mktemp("letters")
    files = {
        "components/embed/component.py": EMBED,
        "pipelines/letters.py": PIPELINE,
        "texts/table.csv": "text,label\n"
        + "".join(f"{w * (n + 1)} {n} end of text,{w}\n" for w in "ab" for n in range(10)),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def letters(letters_project: Path, monkeypatch: Any) -> Iterator[Any]:
    """The pipeline function, in the folder of the project."""
    monkeypatch.chdir(letters_project)
    monkeypatch.setenv("USER", "tester")
    monkeypatch.setattr(sys, "path", [str(letters_project), *sys.path])
    forget_project()
    from tfhub_blocks.control.repository.catalog import load_pipeline

    yield load_pipeline("letters")
    forget_project()
