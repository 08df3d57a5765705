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


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("pipelines/[!_]*.py")), ids=lambda path: path.stem
)
def test_pipeline_declares_no_port_that_a_step_declares(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    annotations = [ast.unparse(argument.annotation) for argument in function.args.args]
    assert annotations
    assert [text for text in annotations if not text.startswith("like(")] == []
    assert function.args.defaults == []


def test_pipelines_offer_what_their_steps_take():
    from tfhub_blocks import components
    from tfhub_blocks.control.project.run_requests import pipeline_ports

    offered = pipeline_ports("transfer_learning")
    assert offered["engine"]._to_dict() == components.extract_features.inputs["engine"]._to_dict()
    assert offered["model_name"].default == "transfer-learning"
    assert components.register_model.inputs["model_name"].default is None


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


MOST_LINES = 30


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("components/**/component.py")), ids=lambda path: path.parent.name
)
def test_body_of_a_component_fits_a_screen(path):
    """What a step does is a function of tfhub_blocks.compute, which tests and tools can call."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == [path.parent.name]
    body = functions[0].body[1:]
    assert 0 < body[-1].end_lineno - body[0].lineno + 1 <= MOST_LINES
