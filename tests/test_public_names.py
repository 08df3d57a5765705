"""The public names: documented, typed, lazily imported, and enough for a step of one's own."""

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tfhub_blocks
from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.environment.code_snapshots import step_modules

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tfhub_blocks"
PAGE = ROOT / "docs" / "public-names.md"


def test_each_name_is_found_and_listed():
    for name in tfhub_blocks.__all__:
        assert getattr(tfhub_blocks, name) is not None, name
    assert dir(tfhub_blocks) == sorted(tfhub_blocks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tfhub_blocks.nothing  # noqa: B018


def test_page_lists_the_names_and_nothing_else():
    listed = re.findall(r"^\| `(\w+)`", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(tfhub_blocks.__all__)


def test_types_are_declared_for_each_name():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    declared = {
        (alias.asname, node.module)
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module != "types"
        for alias in node.names
    }
    assert declared == set(tfhub_blocks._HOMES.items())
    others = {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}
    assert others == set(tfhub_blocks.__all__) - set(tfhub_blocks._HOMES)
    assert (PACKAGE / "py.typed").is_file()


def test_import_brings_no_other_module():
    script = (
        "import sys; before = set(sys.modules); import tfhub_blocks; dir(tfhub_blocks);"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - "
        "set(sys.stdlib_module_names), [n for n in sys.modules if n.startswith('tfhub_blocks.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "{'tfhub_blocks'} []\n"


@pytest.mark.parametrize(
    "source",
    [
        "from tfhub_blocks import step",
        "import tfhub_blocks\ntfhub_blocks.step",
        "import tfhub_blocks as blocks\ndef f():\n    blocks.step",
        "import tfhub_blocks.records.base.errors\ntfhub_blocks.step",
    ],
)
def test_snapshot_of_a_step_follows_a_public_name(source, tmp_path):
    component = tmp_path / "component.py"
    component.write_text(source)
    modules = step_modules(component, PACKAGE)
    component.write_text("import tfhub_blocks.compute.step.step_frame")
    home = step_modules(component, PACKAGE)
    assert set(home) <= set(modules)
    assert "tfhub_blocks/compute/heads/linear_head.py" not in modules


def test_snapshot_does_not_follow_names_of_other_modules(tmp_path):
    component = tmp_path / "component.py"
    component.write_text("import os\nimport tfhub_blocks\nos.step\n")
    assert list(step_modules(component, PACKAGE)) == ["tfhub_blocks/__init__.py"]


PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
EXAMPLE = ROOT / "tests" / "examples" / "drop_duplicates" / "component.py"
PICTURES = ROOT / "tests" / "examples" / "drop_near_duplicates" / "component.py"


@pytest.mark.parametrize("example", [EXAMPLE, PICTURES])
def test_example_step_imports_public_names_only(example):
    tree = ast.parse(example.read_text(encoding="utf-8"))
    imported = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    ours = {name for module, name in imported if str(module).startswith("tfhub_blocks")}
    assert {module for module, name in imported if name in ours} == {"tfhub_blocks"}
    assert ours <= set(tfhub_blocks.__all__)


def test_homes_define_the_names():
    for name, module in tfhub_blocks._HOMES.items():
        tree = ast.parse(Path(str(import_module(module).__file__)).read_text(encoding="utf-8"))
        defined = {
            getattr(node, "name", None) or ast.unparse(getattr(node, "targets", [node])[0])
            for node in tree.body
        }
        assert name in defined, (name, module)


def kept_by(example, tmp_path):
    """The snapshot that an example step writes of the data in ``source``."""
    snapshot = tmp_path / "snapshot"
    options = SnapshotOptions(validation_fraction=0.0, test_fraction=0.0)
    take_snapshot(tmp_path / "source", begin_folder(snapshot, PROVENANCE), options, lambda *_: None)
    finish_folder(snapshot, "snapshot", tfhub_blocks.SNAPSHOT, PROVENANCE)
    code = tmp_path / "code"
    modules = step_modules(example, PACKAGE)
    for relative, path in modules.items():
        (code / relative).parent.mkdir(parents=True, exist_ok=True)
        (code / relative).write_bytes(path.read_bytes())
    (code / "component.py").write_bytes(example.read_bytes())
    name = example.parent.name
    script = f"import sys; from component import {name}; {name}.__wrapped__(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, snapshot, tmp_path / "kept"],
        cwd=code,
        env=os.environ | {"PYTHONPATH": str(PACKAGE / "control" / "step_site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return tfhub_blocks.open_snapshot(tmp_path / "kept")


def test_example_step_drops_pictures_that_look_the_same(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        levels = np.stack([rng.permutation(9) for _ in range(8)]).astype(np.uint8) * 30
        picture = Image.fromarray(levels).resize((90, 80), Image.Resampling.NEAREST)
        (tmp_path / "source" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        for quality in (95, 85):
            path = tmp_path / "source" / "ab"[number % 2] / f"{number}-{quality}.jpg"
            picture.save(path, quality=quality)
    assert sum(kept_by(PICTURES, tmp_path).manifest.counts["train"].values()) == 4


def test_example_step_runs_from_its_snapshot_alone(tmp_path):
    texts = [f"{word}{end}" for word in ("a", "b") for end in ("x", "X ", "y", "z")]
    (tmp_path / "source").mkdir()
    rows = "".join(f"{text},{text[0]}\n" for text in texts)
    (tmp_path / "source" / "table.csv").write_text(f"text,label\n{rows}")
    kept = kept_by(EXAMPLE, tmp_path)
    assert sorted(item.content.decode().strip().lower() for item in kept.items()) == [
        f"{word}{end}" for word in ("a", "b") for end in ("x", "y", "z")
    ]
    assert kept.manifest.counts["train"] == {"a": 3, "b": 3}
    sources = pq.read_table(kept.folder.file("sources.parquet")).to_pylist()
    assert {row["id"] for row in sources} == {item.id for item in kept.items()}
