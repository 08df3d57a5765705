"""The doors of a model: every way from a content to an answer, each asked as its users ask it."""

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc import scoring_server

from tfhub_blocks.compute.answering.compiled_signature import open_compiled
from tfhub_blocks.compute.answering.opener import open_answerer
from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.models.model_writing import read_head
from tfhub_blocks.compute.models.served_model import load_served
from tfhub_blocks.compute.predictions.batch_scoring import Scoring
from tfhub_blocks.compute.predictions.prediction_output import write_predictions
from tfhub_blocks.compute.predictions.scorers import of_model
from tfhub_blocks.compute.predictions.scoring_rows import open_places
from tfhub_blocks.compute.serving import azure_entry
from tfhub_blocks.compute.serving.bodies import ANY_FILE, JSON_TYPE, TEXT_TYPE
from tfhub_blocks.compute.serving.limits import usual_limits
from tfhub_blocks.compute.serving.scoring_program import Program
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.models import SAVED_MODEL_NAME, open_model
from tfhub_blocks.records.formats.predictions import FORMAT, open_predictions
from tfhub_blocks.records.formats.runtimes import Runtime
from tfhub_blocks.records.formats.snapshots import REJECTED_NAME, SNAPSHOT, open_snapshot

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")

Outcome = np.ndarray | str
"""The probabilities of the classes, or the sentence of a refusal."""


class Doors:
    """The doors of a model. Each function returns an outcome for each content, asked alone."""

    def __init__(self, model: Path, encoder: Path, scratch: Path) -> None:
        self.model, self.encoder, self.scratch = model, encoder, scratch
        self.served = load_served(model, "test")
        self.is_text = self.served.input.served_as == "string"
        self.pyfunc = mlflow.pyfunc.load_model(str(model))
        self.app = scoring_server.init(self.pyfunc)
        self.saved = tf.saved_model.load(str(model / SAVED_MODEL_NAME))
        runtime = Runtime(threads=1, concurrency=1, largest_batch=4)
        answerer = open_answerer(model, where="test", runtime=runtime)
        # On a busy machine, a large encoder answers later than a person would wait.
        limits = replace(usual_limits(model), budget_ms=600_000.0)
        self.program = Program(answerer, limits)
        self.compiled = None
        if self.served.input.name == "image":
            fast = open_compiled(model, replace(runtime, engine="openvino"), "test")
            self.compiled = Program(fast, limits)

    def extraction(self, contents: dict[str, bytes]) -> dict[str, Outcome]:
        """A snapshot of all contents, its features, and the head that `evaluate` applies."""
        source = self._table(contents) if self.is_text else self._files(contents, "snapshot_source")
        options = SnapshotOptions(
            modality=self.served.input.name, max_rejected_fraction=1.0, near_duplicates="off"
        )
        partial = begin_folder(self.scratch / "snapshot", PROVENANCE)
        take_snapshot(source, partial, options, lambda *_: None)
        finish_folder(self.scratch / "snapshot", "snapshot", SNAPSHOT, PROVENANCE)
        taken = open_snapshot(self.scratch / "snapshot", "test")
        import pyarrow.parquet as pq

        rejected = pq.read_table(taken.folder.file(REJECTED_NAME)).to_pylist()
        reasons = {self._name(row["path"]): row["reason"] for row in rejected}
        encoder = load_encoder(self.encoder, "test")
        head = read_head(*open_model(self.model, "test"))
        features = {
            row["content"]: encoder.encode([row["content"]])[0]
            for batch in taken.batches()
            for row in batch.to_pylist()
        }
        return {
            name: reasons[name]
            if name in reasons
            else head.probabilities(features[content][None])[0]
            for name, content in contents.items()
        }

    def score_batch(self, contents: dict[str, bytes]) -> dict[str, Outcome]:
        """A batch of all contents."""
        source = self._table(contents) if self.is_text else self._files(contents, "batch_source")
        scorer = of_model(self.served)
        places = open_places(source, scorer.modality, Limits(50_000_000, 600.0))
        options = InferenceOptions("tensorflow")
        scoring = Scoring(scorer, places, scorer.digest, options, max_unreadable=1.0)
        share = Share(self.scratch / "work")
        plan = scoring.compute(share, lambda *_: None)
        folder = self.scratch / "predictions"
        partial = begin_folder(folder, PROVENANCE)
        write_predictions(scoring, plan, share, partial, lambda *_: None)
        finish_folder(folder, "predictions", FORMAT, PROVENANCE)
        batches = open_predictions(folder, "test").batches()
        rows = {self._name(it["path"]): it for batch in batches for it in batch.to_pylist()}
        return {
            name: rows[name]["error"] or np.array(rows[name]["probabilities"]) for name in contents
        }

    def entry(
        self, body: bytes, kind: str, program: Program | None = None
    ) -> Outcome | list[Outcome]:
        """Ask the entry script of Azure ML's server, which runs the program of `serve`."""
        azure_entry._program = program or self.program  # as `init` sets it
        return _outcomes(azure_entry.run(Request(body, kind)))

    def mlflow_server(self, body: bytes) -> Outcome | list[Outcome]:
        """Ask MLflow's own scoring server."""
        status, answer = asyncio.run(_asgi(self.app, "/invocations", body))
        given = json.loads(answer)
        if status == 200:
            return _outcomes(given)
        trace = str(given.get("stack_trace") or given["message"])
        return _sentence(trace)

    def predict(self, given: Any) -> Outcome | list[Outcome]:
        """Ask the model as a pyfunc."""
        try:
            table = self.pyfunc.predict(given)
        except Exception as error:
            return _sentence(str(error))
        return [np.array(row) for row in table["probabilities"]]

    def signature(self, content: bytes) -> Outcome:
        """Ask the signature of the SavedModel, as TensorFlow Serving does."""
        call = self.saved.signatures["serving_default"]
        try:
            return call(contents=tf.constant([content]))["probabilities"].numpy()[0]
        except tf.errors.OpError:
            return "TensorFlow's own message"

    def _files(self, contents: dict[str, bytes], name: str) -> Path:
        for index, (file, content) in enumerate(contents.items()):
            folder = self.scratch / name / ("even" if index % 2 else "odd")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        return self.scratch / name

    def _table(self, contents: dict[str, bytes]) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        labels = ["even" if index % 2 else "odd" for index in range(len(contents))]
        self._rows = list(contents)
        path = self.scratch / "texts.parquet"
        texts = pa.array([it.decode() for it in contents.values()])
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
        return path

    def _name(self, place: str) -> str:
        """Return the name of a content from the place of its file or its row."""
        if self.is_text:
            return self._rows[int("".join(filter(str.isdigit, place.rpartition("t")[2]))) - 1]
        return Path(place).name


class Request:
    """A request as Azure ML's inference server passes it."""

    def __init__(self, body: bytes, kind: str) -> None:
        self._body, self.headers = body, {"content-type": kind}

    def get_data(self) -> bytes:
        return self._body


def as_json(values: Sequence[Any], shape: str = "inputs") -> bytes:
    """Return values as one of the five shapes of JSON that MLflow and Azure ML take."""
    shapes: dict[str, Any] = {
        "inputs": values,
        "instances": values,
        "dataframe_split": {"columns": ["contents"], "data": [[it] for it in values]},
        "dataframe_records": [{"contents": it} for it in values],
        "input_data": {"columns": ["contents"], "data": [[it] for it in values]},
    }
    return json.dumps({shape: shapes[shape]}).encode()


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def body_of(content: bytes, is_text: bool) -> tuple[bytes, str]:
    """Return the request with one file or one text, as it is."""
    return content, TEXT_TYPE if is_text else ANY_FILE


def json_body(values: Sequence[Any], shape: str = "inputs") -> tuple[bytes, str]:
    return as_json(values, shape), JSON_TYPE


def one(outcome: Outcome | list[Outcome]) -> Outcome:
    """Return the outcome for the only item."""
    if isinstance(outcome, list):
        [outcome] = outcome
    return outcome


def _outcomes(given: Any) -> Outcome | list[Outcome]:
    if not isinstance(given, dict):  # an AMLResponse
        given = json.loads(given.get_data())
    if "predictions" in given:
        return [np.array(it["probabilities"]) for it in given["predictions"]]
    place = f"item {given['item']}: " if "item" in given else ""
    return place + str(given["error"])


def _sentence(message: str) -> str:
    """Return the model's own sentence in a message of MLflow."""
    lines = [it for it in message.splitlines() if it.strip()]
    return lines[-1].partition("Error: ")[2] or lines[-1]


async def _asgi(app: Callable[..., Any], path: str, body: bytes) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", JSON_TYPE.encode()), (b"host", b"model")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(it.get("body", b"") for it in sent[1:])
