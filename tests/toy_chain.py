"""A small real chain, made by the command line: snapshot_data, a toy encoder, a toy model, its
evidence, and register_model; twice, with another parameter."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_once import Once
from PIL import Image
from toy_project import ROOT, ToyProject

PIN = '''"""pin_toy: an encoder without a SavedModel that computes."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.pins import pins


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def pin_toy(
    source: Input(type="custom_model", description="A SavedModel"),
    encoder: Output(type="custom_model", description="Pinned"),
):
    """Doc."""
    with step(pin_toy, locals()) as run:
        folder = run.begin_output("encoder", pins.FORMAT)
        pinned = Path(source) / pins.SAVED_MODEL_FOLDER
        files = pins.copy_files(pinned if pinned.is_dir() else Path(source), folder / pinned.name)
        pins.Pin(
            name="toy-encoder",
            handle="https://tfhub.dev/toy/encoder/1",
            digest=pins.files_digest(files),
            loaded_class="reusable",
            modality="image",
            licence="Apache-2.0",
            input={},
            output=pins.EncoderOutput(4),
            training=pins.Training(1),
            operations=pins.Operations(("Add",)),
            golden=pins.Golden(((0.5,),), 0.1, "2.21.0"),
            files=files,
            decisions=pins.Decisions("mounted", "forbidden", "batch"),
        ).write(folder / pins.PIN_NAME)
'''
TRAIN = '''"""train_toy: a model that remembers what it was made of."""

import json
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.formats.models import MODEL
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin
from tfhub_blocks.records.formats.snapshots import open_snapshot


@command_component(version="1.0.0", environment="ENVIRONMENT", tags={"role": "cpu"})
def train_toy(
    snapshot: Input(type="uri_folder", description="Items"),
    encoder: Input(type="custom_model", description="Pinned"),
    model: Output(type="mlflow_model", description="A model"),
    strength: Input(type="number", description="A parameter") = 1.0,
    balanced: Input(type="boolean", description="Another") = True,
    rounds: Input(type="integer", optional=True, description="A third") = None,
):
    """Doc."""
    with step(train_toy, locals()) as run:
        items = open_snapshot(Path(snapshot), "train_toy").manifest
        pin = read_pin(Path(encoder) / PIN_NAME)
        metadata = {
            "encoder_digest": pin.digest,
            "snapshot_digest": items.digest,
            "labels": list(items.labels),
        }
        folder = run.begin_output("model", MODEL)
        pin.write(folder / PIN_NAME)
        (folder / "MLmodel").write_text(json.dumps({"metadata": metadata}))
        (folder / "weights").write_text(f"{strength} {balanced} {rounds}")
        run.facts["loss"] = 1 / strength
'''
MEASURE = '''"""measure_toy: evidence, whose accuracy is what the model has for weights."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.formats.evidence import Evidence, Threshold
from tfhub_blocks.records.base.folders import Format
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.snapshots import open_snapshot


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def measure_toy(
    model: Input(type="mlflow_model", description="A model"),
    snapshot: Input(type="uri_folder", description="Items"),
    report: Output(type="uri_folder", description="Numbers"),
    evidence: Output(type="uri_file", description="What was measured"),
    least: Input(type="number", description="A threshold") = 0.0,
):
    """Doc."""
    with step(measure_toy, locals()) as run:
        folder, metadata = open_model(Path(model), "measure_toy")
        made = folder.lineage.provenance
        accuracy = float((folder.path / "weights").read_text().split()[0]) / 10
        proof = Evidence(
            folder.digest,
            {
                "snapshot": open_snapshot(Path(snapshot), "measure_toy").manifest.digest,
                "training_snapshot": metadata["snapshot_digest"],
                "encoder": metadata["encoder_digest"],
                "training_code": made.code_digest,
                "training_environment": made.environment_digest,
                "code": run.provenance.code_digest,
                "environment": run.provenance.environment_digest,
            },
            {"accuracy": {"value": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05}},
            (Threshold("min_accuracy", least, accuracy, accuracy >= least),),
        )
        output = run.begin_output("report", Format("report", 1))
        (output / "metrics.json").write_text("{}")
        proof.write(run.path("evidence"))
'''
TOY_MODEL = '''"""toy_model: a snapshot, an encoder, a model, its evidence, and its registration."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import measure_toy, pin_toy, register_model, snapshot_data, train_toy


@dsl.pipeline(name="toy_model")
def toy_model(
    source: Input(type="uri_folder", description="Pictures"),
    saved: Input(type="custom_model", description="A SavedModel"),
    owner: Input(type="string", description="Who answers for it"),
    strength: Input(type="number", description="A parameter") = 1.0,
):
    encoder = pin_toy(source=saved)
    snapshot = snapshot_data(source=source)
    trained = train_toy(
        snapshot=snapshot.outputs.snapshot, encoder=encoder.outputs.encoder, strength=strength
    )
    measured = measure_toy(model=trained.outputs.model, snapshot=snapshot.outputs.snapshot)
    registered = register_model(
        model=trained.outputs.model,
        evidence=measured.outputs.evidence,
        model_name="toy",
        owner=owner,
    )
    return {"model": trained.outputs.model, "registration": registered.outputs.registration}
'''


# Who makes the chain, whoever runs the tests.
ADA = {
    "LOGNAME": "ada",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "PYTHONPATH": str(ROOT),
}


class Chain(ToyProject):
    """A project in which two models were made and registered; a command runs in it."""

    @property
    def runs(self) -> list[str]:
        """The runs, the first one first: with strength 7, then with strength 9."""
        return [path.parent.name for path in sorted(self.folder.glob(".runs/runs/toy*/run.json"))]

    @property
    def made_in(self) -> Path:
        """Where it was made, as the records name it."""
        return Path(self.record(self.runs[0])["folder"]).parents[2]

    def record(self, run: str) -> dict[str, Any]:
        return json.loads(self.read(f".runs/runs/{run}/run.json"))

    def output(self, step: str, port: str, run: int = 1) -> Path:
        path = Path(self.record(self.runs[run])["steps"][step]["outputs"][port])
        return Path(".runs/store", path.parent.name, path.name)

    def normal(self, text: str) -> str:
        """Text without what differs from one making to the next."""
        for number, run in enumerate(self.runs):
            for name in (run, run.replace("_", r"\_")):  # as Markdown has it
                text = text.replace(name, f"RUN{number}")
        for folder in (self.folder, self.made_in):
            text = text.replace(str(folder), "PROJECT")
        text = re.sub(r"store/[0-9a-f]{40}", "store/KEY", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", text)
        text = re.sub(r"\b([0-9a-f]{64}|[0-9a-f]{12})\b", "DIGEST", text)
        text = re.sub(r"mlflow/1/[0-9a-f]{32}", "mlflow/1/ID", text)
        return re.sub(r"\b\d+ s\b", "N s", text)

    def verify(self, what: str | None = None, *words: str) -> Any:
        return self.main("verify", what or self.runs[1], "--json", *words, anew=False)

    def kinds(self, what: str | None = None) -> set[str]:
        """The kinds of all faults."""
        outcome = self.verify(what)
        faults = json.loads(outcome.out)["faults"]
        assert outcome.status == (1 if faults else 0), outcome.out
        return {fault["kind"] for fault in faults}


@pytest.fixture
def place_of_sources(made_chain: Path) -> Iterator[None]:
    """Hold the folder that the records name as that of the sources, against other processes.

    A test needs it whose outcome depends on whether the sources are there.
    """
    with (made_chain.parent / "place.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def sources(chain: Chain, place_of_sources: None) -> Iterator[Path]:
    """Put the sources, which no step made, where they were when the chain was made."""
    for name in ("pictures", "saved"):
        shutil.copytree(chain.folder / name, chain.made_in / name)
    yield chain.made_in
    shutil.rmtree(chain.made_in)


def decision(folder: Path, what: str = "toy:2", **parts: Any) -> tuple[Any, Any]:
    """A registered model as it is, and a decision about it, which promote would write."""
    from tfhub_blocks.control.lineage.lineage_targets import find_chain
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.records.formats.promotions import Promotion

    archive = Archive(folder / ".runs")
    found = find_chain(what, archive, "test")
    version = found.registration
    model = found.knots[version.source].output
    said = {
        "model": what,
        "model_digest": model.digest,
        "statement": model.statement,
        "evidence": version.tags["evidence_digest"],
        "destination": "workspace ours",
        "asset": f"toy:{model.digest[:12]}",
        "profile": "team",
        "profile_digest": "1" * 64,
        "promoters": ("bob",),
        "authors": ("ada",),
        "two_persons": True,
        "owner": "ada",
        "reason": "It held",
        "decided": "2026-01-02T03:04:05Z",
    }
    return version, Promotion(**said | parts)


def write_project(folder: Path) -> None:
    """The project, in which nothing was made yet."""
    project = ToyProject(folder, None)
    # Whose lock the step then carries.
    pinned = re.search(
        r'environment="(\S+)"', (ROOT / "components/train_head/component.py").read_text()
    )
    assert pinned
    train = TRAIN.replace("ENVIRONMENT", pinned[1])
    for name, text in (("pin_toy", PIN), ("train_toy", train), ("measure_toy", MEASURE)):
        project.write(f"components/{name}/component.py", text)
    project.write("pipelines/toy_model.py", TOY_MODEL)
    project.write("saved/saved_model.pb", "graph")
    random = np.random.default_rng(3)
    for label in ("cat", "dog & <b>"):
        (folder / "pictures" / label).mkdir(parents=True)
        for index in range(20):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / label / f"{index}.bmp")
    project.write("pictures/ATTRIBUTION.txt", "Drawn by Ada. License: CC BY 4.0")


@pytest.fixture(scope="session")
def made_chain(made_once: Once) -> Path:
    return made_once("chain", _make_chain) / "kept"


def _make_chain(parent: Path) -> None:
    folder = parent / "project"
    write_project(folder)
    project = Chain(folder, None)
    for strength in ("7", "9"):
        given = {"source": "pictures", "saved": "saved", "owner": "ada", "strength": strength}
        words = [word for item in given.items() for word in ("--set", "=".join(item))]
        process = project.start("run", "toy_model", *words, env=os.environ | ADA)
        told = process.communicate()
        assert process.returncode == 0, told
    folder.rename(parent / "kept")


@pytest.fixture
def chain(made_chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Chain:
    """A copy of the chain, to be tampered with; MLflow keeps a database open, so each is its own.

    Records name the folder in which it was made, which is gone.
    """
    folder = tmp_path / "project"
    shutil.copytree(made_chain, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return Chain(folder, capfd)
