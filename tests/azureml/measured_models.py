"""Registered models without weights, of which some may be deployed online, and a call that does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import pytest

from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Provenance
from tfhub_blocks.records.formats.models import MODEL, PYFUNC
from tfhub_blocks.records.formats.runtimes import Runtime, Speeds
from tfhub_blocks.records.pins import pins

SIZE = "Standard_DS3_v2"
RUNTIME = Runtime(
    engine="openvino",
    threads=2,
    concurrency=2,
    batch_window_ms=2.0,
    largest_batch=4,
    compute_size=SIZE,
    budget=Speeds(p99_ms=60.0, items_per_s=250.0, cold_start_s=4.2),
)
PRICES = f"""format_version = 1
currency = "USD"
region = "eastus"
[regions.eastus]
date = "{datetime.now(UTC).date()}"
source = "a test"
[regions.eastus.sizes]
{SIZE} = {{ dedicated = 9.0 }}
[regions.westeurope]
date = "{datetime.now(UTC).date()}"
source = "a test"
[regions.westeurope.sizes]
{SIZE} = {{ dedicated = 0.25 }}
"""
TERMS = """
[budget]
currency = "USD"
run = 5.0
endpoints = 60.0
[deployments]
longest_days = 10
"""


def write_model(folder, inference, runtime):
    """The folder of a model that nobody computes here, with its statement; its digest."""
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "weights").write_text(folder.name)
    write_pin(folder, inference)
    if runtime:
        runtime.write(folder)
    return state(folder, MODEL)


def write_foreign_model(folder):
    """The folder of an MLflow model of others as check_latency leaves it; its digest."""
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: theirs}}\n")
    RUNTIME.write(folder)
    return state(folder, PYFUNC)


def state(folder, written):
    """Write the statement of a folder's files; return their digest."""
    files = files_sha256(folder)
    Lineage(
        "model", str(written), files, Provenance("test", {}, (), *["0" * 64] * 2, "", "")
    ).write(folder)
    return content_digest(folder)


def write_pin(folder, inference):
    files = {"saved_model.pb": pins.PinnedFile("0" * 64, 1)}
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
        decisions=pins.Decisions(
            inference=inference, latency_budget_ms=100.0 if inference == "realtime" else None
        ),
        files=files,
    ).write(folder / pins.PIN_NAME)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``.runs`` with registered models, of which one may be deployed."""
    runs = tmp_path_factory.mktemp("registry")
    client = mlflow.MlflowClient(*[f"sqlite:///{runs}/mlflow.db"] * 2)
    for name, inference, runtime, told in (
        ("animals", "realtime", RUNTIME, {"latency_digest": "1" * 64, "compute_size": SIZE}),
        ("nightly", "batch", RUNTIME, {"latency_digest": "1" * 64}),
        ("open", "undecided", RUNTIME, {"latency_digest": "1" * 64}),
        ("bare", "realtime", None, {"latency_digest": "1" * 64}),
        ("claimed", "realtime", RUNTIME, {}),
        ("placeless", "realtime", replace(RUNTIME, compute_size=None), {"latency_digest": "1"}),
        ("edited", "realtime", RUNTIME, {"latency_digest": "1" * 64}),
        ("unstated", "realtime", RUNTIME, {"latency_digest": "1" * 64}),
    ):
        tags = {"model_digest": write_model(runs / name, inference, runtime), **told}
        client.create_registered_model(name)
        named = {f"tfhub_blocks.{key}": value for key, value in tags.items()}
        client.create_model_version(name, str(runs / name), tags=named)
    tags = {"model_digest": write_foreign_model(runs / "foreign"), "latency_digest": "1" * 64}
    client.create_registered_model("foreign")
    named = {f"tfhub_blocks.{key}": value for key, value in tags.items()}
    client.create_model_version("foreign", str(runs / "foreign"), tags=named)
    (runs / "unstated" / STATEMENT_NAME).unlink()
    (runs / "edited" / "weights").write_text("others")
    return runs


@pytest.fixture
def served(project, registry):
    """A project whose profile has a budget for endpoints; ``served("animals")`` deploys."""
    project.write("pipelines/prices.toml", PRICES)
    profile = project.read("pipelines/profiles/toy.toml")
    project.write("pipelines/profiles/toy.toml", profile + TERMS)

    def deploy(model="animals", *words, days=3):
        given = ("--profile", "toy", "--runs-dir", str(registry), "--until", day(days))
        return project.main("deploy", "online", model, *given, *words, anew=False)

    return deploy


def day(days):
    return (datetime.now(UTC).date() + timedelta(days)).isoformat()
