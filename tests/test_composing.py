"""Composing pipelines belongs to the control half: quick, and without what steps compute with."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPOSE = """
import sys
from tfhub_blocks.control.catalog import pipeline_files
from tfhub_blocks.control.requests import draft_graph
import components
for name in pipeline_files():
    assert draft_graph(name).nodes
for name in components.names():
    getattr(components, name)
print([m for m in ("tensorflow", "mlflow", "tensorflow_hub", "matplotlib") if m in sys.modules])
"""


def test_composing_every_pipeline_imports_nothing_that_computes():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPOSE], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
