"""Self-contained MLflow models: preprocessing, encoder and head in one SavedModel."""

# decisions 5, 58, 75 and 96

import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import yaml
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array

from tfhub_blocks.compute.encoders.encoder import Encoder
from tfhub_blocks.compute.encoders.item_check import HALF_TOLERANCE, item_fault
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.models import item_contents, packed_scorer
from tfhub_blocks.compute.models.program_archive import program_name, write_archive
from tfhub_blocks.compute.tf.saved_model_writing import save_module
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.digests import folder_files
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder
from tfhub_blocks.records.formats.models import (
    PREPARED,
    PROBABILITIES,
    PROGRAM_NAME,
    SAVED_MODEL_NAME,
)
from tfhub_blocks.records.pins.pins import PIN_NAME, copy_files

REQUIREMENTS = ("mlflow", "numpy", "pandas", "tensorflow")


class ServingModule(tf.Module):  # type: ignore[misc]
    """The module that is saved: from prepared items, or from strings, to label and probabilities.

    ``serve`` takes strings: see ``Modality.preprocess``. ``prepared`` takes the results of
    ``Modality.prepare``, so a program that prepares items and calls ``prepared`` returns the
    answers that were evaluated.
    """

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self._modules = encoder.loaded.modules  # so that the encoder's variables are saved as well
        self._encoder = encoder
        self._weights = tf.Variable(head.weights, trainable=False, name="head/weights")
        self._bias = tf.Variable(head.bias, trainable=False, name="head/bias")
        self._labels = head.labels
        self._temperature = head.temperature

    def __call__(self, contents: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return labels, string [n], and probabilities, float32 [n, classes], of string [n]."""
        return self._answer(self._encoder.input.preprocess(contents))

    def trace(self) -> dict[str, Any]:
        """Trace the functions to save, and return the signatures by name.

        The part after the preparation of items is saved as ``classify`` too, so that an engine can
        replace it (see ``ServedModel``).
        """
        strings = tf.TensorSpec([None], tf.string, name="contents")
        items = self._encoder.input.spec(None)
        self.classify = traced(self._classify, input_signature=[items])
        self.prepared = traced(
            self._answer, input_signature=[tf.TensorSpec(items.shape, items.dtype, name="items")]
        )
        self.serve = traced(self.__call__, input_signature=[strings])
        return {"serving_default": self.serve, PREPARED: self.prepared}

    def _answer(self, items: Any) -> dict[str, tf.Tensor]:
        probabilities = self._classify(items)
        best = tf.argmax(probabilities, axis=-1)
        return {"label": tf.gather(self._labels, best), PROBABILITIES: probabilities}

    def _classify(self, items: Any) -> tf.Tensor:
        features = self._encoder.features(items)
        logits = tf.matmul(features, self._weights) + self._bias
        return tf.nn.softmax(logits / self._temperature)


def write_model(folder: Path, encoder: Encoder, head: Head, facts: Mapping[str, Any]) -> None:
    """Write an MLflow model that loads without the encoder and without tfhub-blocks.

    Equal encoders and heads give equal bytes, whatever the time and the folder.

    Args:
        folder: An empty folder.
        encoder: The encoder, which is copied into the model together with its pin.
        head: The head on the encoder's features.
        facts: The metadata of the model in addition to its labels.
    """
    module = ServingModule(encoder, head)
    signatures = module.trace()
    _check_answers(module, encoder)
    is_text = encoder.input.served_as == "string"
    signature = ModelSignature(
        # A column of type binary would be decoded by MLflow's server in some shapes of JSON only.
        Schema([ColSpec(DataType.string if is_text else AnyType())]),
        Schema(
            [
                ColSpec(DataType.string, "label"),
                ColSpec(DataType.double, "probability"),
                ColSpec(Array(DataType.double), PROBABILITIES),
            ]
        ),
    )
    decoder = encoder.input.decoder
    packages = (*REQUIREMENTS, *encoder.input.requirements, *encoder.pin.operations.packages)
    modules = {"scorer": packed_scorer, "contents": item_contents}
    sources = {kind: Path(str(it.__file__)).read_bytes() for kind, it in modules.items()}
    if decoder:
        sources["decoder"] = decoder.program.read_bytes()
    names = {kind: program_name(kind, source) for kind, source in sources.items()}
    mlflow.pyfunc.save_model(
        str(folder),
        loader_module=names["scorer"],
        model_config={
            "contents": f"{names['contents']}.py",
            "is_text": is_text,
            "decoder": f"{names['decoder']}.py" if decoder else None,
            "decoder_options": dict(decoder.options) if decoder else {},
            "imports": list(encoder.pin.operations.packages),
        },
        signature=signature,
        input_example=pd.DataFrame({"contents": [_example(encoder)]}),
        pip_requirements=[f"{name}=={version(name)}" for name in packages],
        metadata={"labels": list(head.labels), **_signature_note(encoder), **facts},
        # Fixed, so that equal models have equal bytes; the lineage contains the time.
        mlflow_model=Model(model_uuid="0" * 32, utc_time_created="1970-01-01 00:00:00.000000"),
    )
    archive = {f"{names[kind]}.py": source for kind, source in sources.items()}
    write_archive(folder / PROGRAM_NAME, archive)
    # TensorFlow writes temporary files, which belong on the local disk and not into the output.
    with tempfile.TemporaryDirectory() as scratch:
        saved_model = Path(scratch) / "saved_model"
        save_module(module, saved_model, signatures)
        copy_files(saved_model, folder / SAVED_MODEL_NAME)
    encoder.pin.write(folder / PIN_NAME)
    _name_program(folder)


def _check_answers(module: ServingModule, encoder: Encoder) -> None:
    """Check that the model's probabilities for an item do not depend on other items.

    Raises:
        BlocksError: A probability depends on the other items of a batch, or on the call.
    """

    def probabilities(contents: Sequence[bytes]) -> Any:
        prepared = tf.convert_to_tensor(encoder.prepare(contents))
        return module.prepared(prepared)[PROBABILITIES].numpy()

    if fault := item_fault(probabilities, encoder.input.samples(), tolerance=HALF_TOLERANCE):
        raise BlocksError(
            "model",
            encoder.name,
            fault.replace("the encoder", "the model").replace("features", "probabilities"),
            "probabilities that depend on one item only",
            "Choose another encoder, or pin this one with a signature for inference",
        )


def read_head(folder: Folder, metadata: Mapping[str, Any]) -> Head:
    """Read the head of a model that ``write_model`` wrote, from its variables; nothing is run.

    Args:
        folder: The finished model.
        metadata: The metadata of the model.
    """
    prefix = f"{SAVED_MODEL_NAME}/variables/variables"
    for suffix in (".index", ".data-00000-of-00001"):
        folder.file(prefix + suffix)
    stored = tf.train.load_checkpoint(str(folder.path / prefix))
    weights, bias = (
        stored.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE") for name in ("_weights", "_bias")
    )
    temperature = float(folder.lineage.provenance.facts["temperature"])
    return Head(weights, bias, tuple(metadata["labels"]), temperature)


def _signature_note(encoder: Encoder) -> dict[str, str]:
    """Return the limits of the SavedModel's signature for files, for the metadata."""
    limits = encoder.input.bare_limits
    return {"serving_default": limits} if limits else {}


def _example(encoder: Encoder) -> bytes | str:
    example = encoder.input.samples()[0]
    return example.decode() if encoder.input.served_as == "string" else example


def _name_program(folder: Path) -> None:
    """Write the zip file with the program, and the size of all files, into MLmodel."""
    path = folder / "MLmodel"
    record = yaml.safe_load(path.read_text(encoding="utf-8"))
    record["flavors"]["python_function"]["code"] = PROGRAM_NAME
    others = (file for name, file in folder_files(folder).items() if name != path.name)
    record["model_size_bytes"] = sum(file.stat().st_size for file in others)
    path.write_text(yaml.safe_dump(record, sort_keys=True), encoding="utf-8")
