"""Whatever is planted in a finished folder is named by every reader, before anything is run."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from bytecode import plant_bytecode

import tfhub_blocks
from tfhub_blocks.cli import main
from tfhub_blocks.compute.answering.opener import find_answering, open_answerer
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.encoders.encoder_policy import tunable_pin
from tfhub_blocks.compute.evaluation.champion import Model, open_champion
from tfhub_blocks.compute.latency.accelerated_model import copy_with_runtime
from tfhub_blocks.compute.latency.latency_subject import open_subject
from tfhub_blocks.compute.models.served_model import load_served
from tfhub_blocks.compute.predictions.scorers import open_scorer
from tfhub_blocks.compute.serving.limits import usual_limits
from tfhub_blocks.compute.serving.scoring_program import open_program
from tfhub_blocks.compute.step.step_frame import _material
from tfhub_blocks.compute.tf.pyfunc_loading import load_pyfunc
from tfhub_blocks.control.project.assets import data_asset, encoder_asset
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.workspace.uploads import staged
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder, stage_content
from tfhub_blocks.records.base.lineage import Provenance, read_lineage
from tfhub_blocks.records.formats.models import MODEL, open_model
from tfhub_blocks.records.formats.runtimes import Runtime

V01 = Path(__file__).parent / "compat/v0.1"


def plant_pyc(folder: Path, name: str) -> None:
    plant_bytecode(folder / "scoring.py", folder / name, folder.parent / "marker")


# By what is told of it: what somebody puts into the folder.
PLANTED = {
    "__pycache__/scoring.cpython-311.pyc": plant_pyc,
    "artifacts/__pycache__/x.cpython-311.pyc": plant_pyc,
    "numpy.pyc": plant_pyc,
    "scoring.cpython-311-x86_64-linux-gnu.so": lambda folder, name: write(folder / name),
    "sitecustomize.py": lambda folder, name: write(folder / name),
    ".hidden": lambda folder, name: write(folder / name),
    ".partial/a": lambda folder, name: write(folder / name),
    ".partial.names": lambda folder, name: write(folder / name),
    ".lineage.json": lambda folder, name: shutil.copy(folder / "lineage.json", folder / name),
    ".work/workers/0.json": lambda folder, name: write(folder / name),
    "registered_model_meta": lambda folder, name: write(folder / name),
    "empty": lambda folder, name: (folder / name).mkdir(),
    "deep/empty": lambda folder, name: (folder / name).mkdir(parents=True),
    ".work": lambda folder, name: (folder / name).mkdir(),
    "link": lambda folder, name: (folder / name).symlink_to(folder / "lineage.json"),
    "link to a folder": lambda folder, name: (folder / name).symlink_to(folder.parent),
    "broken link": lambda folder, name: (folder / name).symlink_to("nowhere"),
    "pipe": lambda folder, name: os.mkfifo(folder / name),
}
CHECKS = {
    "model": {
        "load_model": tfhub_blocks.load_model,
        "open_model": lambda path: open_model(path, "test"),
        "open_answerer": lambda path: open_answerer(path, where="test"),
        "serve": lambda path: open_program(path, usual_limits(path), "serve"),
        "load_served": lambda path: load_served(path, "score_batch"),
        "open_scorer": lambda path: open_scorer(path, None),
        "digest": lambda path: find_answering(path, None, "test").digest(),
        "check_latency": lambda path: open_subject(path, None),
        "copy_with_runtime": lambda path: copy_with_runtime(
            path, path.with_name("copy"), Runtime()
        ),
        "champion": lambda path: open_champion(path, Model(*open_model(V01 / "model", "test"))),
        "load_pyfunc": lambda path: load_pyfunc(path, "evaluate"),
    },
    "encoder": {
        "load_encoder": lambda path: load_encoder(path, "test"),
        "encoder_asset": encoder_asset,
        "tunable_pin": lambda path: tunable_pin(path, "fine_tune"),
        "check_latency": lambda path: open_subject(None, path),
    },
    "snapshot": {"open_snapshot": tfhub_blocks.open_snapshot},
    "features": {"open_features": tfhub_blocks.open_features},
}
OF_ANY = {
    "material": lambda path: _material("test", "port", path, False),
    "stage": lambda path: stage_content(path, path.with_name("copy")),
    "content_digest": content_digest,
    "data_asset": lambda path: data_asset("x", path),
    "upload": lambda path: staged(path, read_lineage(path).digest).__enter__(),
}
READERS = [
    pytest.param(kind, read, id=f"{kind} {name}")
    for kind, checks in CHECKS.items()
    for name, read in {**checks, **OF_ANY}.items()
]


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


@pytest.fixture
def folder(request, tmp_path):
    """A copy of an output of release 0.1, named by the test's ``kind``."""
    kind = request.getfixturevalue("kind")
    return Path(shutil.copytree(V01 / kind, tmp_path / kind))


@pytest.mark.parametrize(("kind", "read"), READERS)
def test_reader_names_what_was_planted(kind, read, folder, tmp_path):
    for name, plant in PLANTED.items():
        plant(folder, name)
        with pytest.raises(BlocksError) as refusal:
            read(folder)
        assert name in str(refusal.value), refusal.value
        assert refusal.value.remedy.startswith(("Delete ", "Pass "))
        assert "\n" not in str(refusal.value)
        remove(folder, name)
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    assert not (tmp_path / "marker").exists()


def remove(folder: Path, name: str) -> None:
    top = folder / name.partition("/")[0]
    if top.is_dir() and not top.is_symlink() and top.name != "artifacts":
        shutil.rmtree(top)
    elif top.name == "artifacts":
        shutil.rmtree((folder / name).parent)
    else:
        top.unlink()
    for parent in (folder / "artifacts",):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("kind", ["model", "snapshot"])
def test_verify_names_what_was_planted(kind, name, folder, capsys):
    PLANTED[name](folder, name)
    assert main(["verify", str(folder), "--partial"]) == 1
    assert name in capsys.readouterr().out


PACKED = {name: plant for name, plant in PLANTED.items() if name != "registered_model_meta"}


@pytest.mark.parametrize("name", PACKED)
def test_model_refuses_to_be_loaded_by_mlflow_alone(name, colours_model, tmp_path):
    import mlflow

    folder = shutil.copytree(colours_model, tmp_path / "model")
    PACKED[name](folder, name)
    with pytest.raises(ValueError, match=r"\[load_model > ") as refusal:
        mlflow.pyfunc.load_model(str(folder))
    assert name in str(refusal.value)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["lineage.json", "program.zip", "encoder.toml"])
@pytest.mark.parametrize("change", ["missing", "edited"])
def test_model_with_a_changed_file_is_not_loaded_by_mlflow(name, change, colours_model, tmp_path):
    import mlflow

    folder = shutil.copytree(colours_model, tmp_path / "model")
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if change == "edited":
        (folder / name).write_bytes(content + b"\n" if name != "lineage.json" else b"{}")
    with pytest.raises((ValueError, ModuleNotFoundError)):
        mlflow.pyfunc.load_model(str(folder))


def test_file_that_mlflow_adds_to_what_it_downloads_is_allowed(colours_model, tmp_path):
    import mlflow

    folder = shutil.copytree(colours_model, tmp_path / "model")
    (folder / "registered_model_meta").write_text("model_name: x\nmodel_version: '1'\n")
    assert mlflow.pyfunc.load_model(str(folder)).unwrap_python_model() is not None


def test_loading_a_model_leaves_the_folder_as_it_was(colours_model, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = shutil.copytree(colours_model, tmp_path / "model")
    mlflow.pyfunc.load_model(str(folder))
    open_model(folder, "test")


PYFUNC = """
import mlflow
from mlflow.pyfunc import PythonModel

class Ones(PythonModel):
    def predict(self, context, model_input, params=None):
        return [[1.0, 0.0]] * len(model_input)

mlflow.models.set_model(Ones())
"""


@pytest.fixture
def pyfunc(tmp_path):
    """Somebody's pyfunc, which no step wrote."""
    import mlflow

    (tmp_path / "ones.py").write_text(PYFUNC)
    folder = tmp_path / "pyfunc"
    mlflow.pyfunc.save_model(
        str(folder), python_model=str(tmp_path / "ones.py"), pip_requirements=[]
    )
    return folder


@pytest.mark.parametrize("name", ["__pycache__/ones.cpython-311.pyc", "numpy.pyc", "a/b.pyc"])
@pytest.mark.parametrize(
    "read",
    [
        lambda path: open_scorer(path, None, trust_code=True),
        lambda path: open_answerer(path, where="serve", trust_code=True),
    ],
    ids=["score_batch", "serve"],
)
def test_bytecode_in_somebodys_model_is_named_and_not_run(name, read, pyfunc, tmp_path):
    plant_bytecode(pyfunc / "ones.py", pyfunc / name, tmp_path / "marker")
    with pytest.raises(BlocksError, match=r"contains bytecode") as refusal:
        read(pyfunc)
    assert name in str(refusal.value)
    assert not (tmp_path / "marker").exists()


def test_somebodys_model_stays_as_it_was_when_it_is_loaded(pyfunc, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = find_answering(pyfunc, None, "test", trust_code=True).digest()
    answerer = open_answerer(pyfunc, where="serve", trust_code=True)
    assert answerer([b"x"]).tolist() == [[1.0, 0.0]]
    assert find_answering(pyfunc, None, "test", trust_code=True).digest() == before
    assert not list(pyfunc.rglob("__pycache__"))


def test_changed_pyfunc_with_a_statement_is_not_run(pyfunc, tmp_path):
    from tfhub_blocks.records.formats.models import PYFUNC as PYFUNC_FORMAT

    made = Provenance("check_latency", {}, (), "0" * 64, "0" * 64, "", "")
    content = begin_folder(tmp_path / "made", made)
    shutil.copytree(pyfunc, content, dirs_exist_ok=True)
    finish_folder(tmp_path / "made", "served_model", PYFUNC_FORMAT, made)
    program = tmp_path / "made/ones.py"
    program.write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n{program.read_text()}")
    for read in (
        lambda path: open_scorer(path, None, trust_code=True),
        lambda path: open_answerer(path, where="serve", trust_code=True),
    ):
        with pytest.raises(BlocksError, match=r"file ones\.py has sha256"):
            read(tmp_path / "made")
    assert not (tmp_path / "marker").exists()


def test_scratch_of_a_model_that_is_written_lies_on_the_local_disk(
    imported_encoder, coloured_snapshot, write_test_model, tmp_path, monkeypatch
):
    """What a kill would leave: nothing next to .partial, so that the next attempt succeeds."""
    from tfhub_blocks.compute.models import model_writing

    output = tmp_path / "model"
    seen = []

    def killed(*_args, **_kwargs):
        seen.extend(path.relative_to(output).as_posix() for path in output.iterdir())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_writing, "copy_files", killed)
        with pytest.raises(KeyboardInterrupt):
            write_test_model(output, imported_encoder, coloured_snapshot)
    assert seen == [".partial"]
    write_test_model(output, imported_encoder, coloured_snapshot)
    open_model(output, "test")
    assert read_lineage(output).format == str(MODEL)
