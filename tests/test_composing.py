"""Composing pipelines belongs to the control half: quick, and without what steps compute with."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tfhub_blocks.records.base.errors import BlocksError

ROOT = Path(__file__).parents[1]
COMPOSE = """
import sys
from tfhub_blocks.control.repository.catalog import pipeline_files
from tfhub_blocks.control.project.run_requests import draft_graph
from tfhub_blocks import components
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


def test_pipelines_offer_what_their_steps_take():
    """A pipeline says its choices in words of its own, for composing it imports no engines."""
    from tfhub_blocks import components
    from tfhub_blocks.control.project.run_requests import draft_graph, pipeline_ports
    from tfhub_blocks.control.repository.catalog import pipeline_files

    compared = set()
    for name in pipeline_files():
        steps = {node.component for node in draft_graph(name).nodes.values()}
        for port, offered in pipeline_ports(name).items():
            for step in steps:
                taken = getattr(components, step).inputs.get(port)
                if offered.enum and taken is not None:
                    assert list(offered.enum) == list(taken.enum), (name, port, step)
                    compared.add((name, port))
    assert ("transfer_learning", "engine") in compared


def test_gain_over_no_champion_is_refused_before_anything_runs(tmp_path):
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.project.run_requests import prepare_job

    local = load_profile("local")
    words = [f"source={tmp_path}", "owner=us", "min_accuracy_gain=0.01"]
    with pytest.raises(BlocksError, match=r"min_accuracy_gain\].* champion is missing"):
        prepare_job("transfer_learning", words, local)
    _, graph, _ = prepare_job("transfer_learning", [*words, f"champion={tmp_path}"], local)
    assert graph.nodes["evaluation"].inputs["champion"] == tmp_path


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("components/**/component.py")), ids=lambda path: path.parent.name
)
def test_component_imports_its_layer_and_nothing_beside_or_above_it(path):
    """import-linter does not see these files: their folders hold nothing else, no __init__.py."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    ]
    allowed = {"compute", "records"}
    if path.parents[1].name == "operations":
        # Of compute it takes the frame of a step, which needs no TensorFlow.
        assert not [n for n in names if n.startswith("tfhub_blocks.compute") and ".step." not in n]
        allowed |= {"control"}
    strangers = [
        name
        for name in names
        if name.split(".")[:2] not in [["tfhub_blocks", part] for part in allowed]
        and name.partition(".")[0] not in {"mldesigner", *sys.stdlib_module_names}
    ]
    assert names
    assert strangers == []
